"""Two processes that save and restore together, over loopback."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from perceiver_jax.checkpoints.store import CheckpointStore
from tests.checkpoints.two_processes import values

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_save_restore_and_fail_together(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("XLA_FLAGS", None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.checkpoints.two_processes", port, str(rank), tmp_path],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    done = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], done[0][1] + done[1][1]
    found = [json.loads(out.splitlines()[-1]) for out, _ in done]
    told = [each.pop("told") for each in found]
    assert found[0] == found[1] == {
        "processes": 2,
        "nothing": True,
        "steps": [2, 3, 4],
        "restored": True,
        "checksums": True,
        "after a failure": [3, 4, 6],
        "fell back": [4, True],
        "damaged": ["checkpoint-6"],
        "vanished": True,
    }  # fmt: skip
    assert len(told[0]) == 1 and "Saving checkpoint 5 in" in told[0][0] and told[1] == []
    assert "Traceback" not in done[0][1] + done[1][1]
    # What two processes wrote, one reads.
    store = CheckpointStore(tmp_path / "moved", read_only=True)
    _, tree, config = store.read_tree(4)
    store.close()
    assert config == {"step": 4}
    jax.tree.map(np.testing.assert_array_equal, tree, values(4))
