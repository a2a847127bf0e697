"""Processes that are killed or told to stop, and then started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax.checkpoints.store import CheckpointStore
from tests.train.fake import history

ROOT = Path(__file__).parents[2]
EXPERIMENT = Path(__file__).with_name("tiny_experiment.py")
KILLS = 20


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def _states(workdir: Path) -> dict[int, Any]:
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    found = {step: store.read_tree(step)[1] for step in store.steps()}
    store.close()
    return found


def _assert_same_run(found: Path, expected: Path) -> None:
    assert history(found) == history(expected)
    name = "final_metrics.json"
    assert (found / name).read_bytes() == (expected / name).read_bytes()
    for each in (found, expected):  # neither leftovers nor damage
        assert all(path.name.isdigit() for path in (each / "checkpoints").iterdir())
        assert not (each / "damaged").exists()
    states = [_states(path) for path in (found, expected)]
    assert len(states[0]) > 2
    jax.tree.map(np.testing.assert_array_equal, states[0], states[1])


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path, environment: dict[str, str]) -> None:
    """SIGKILL, also during a save; all checkpoints that are there at the end are the same."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.lives", str(tmp_path), str(KILLS), "7"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)
    assert len(left) == KILLS
    during_a_save = [names for names in left if any("checkpoint-tmp" in name for name in names)]
    assert len(during_a_save) >= 3, left
    _assert_same_run(tmp_path / "killed", tmp_path / "whole")


def _train(workdir: Path, environment: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "perceiver_jax.train", f"--config={EXPERIMENT}",
         f"--workdir={workdir}", "--config.trainer.num_steps=400",
         "--config.trainer.num_epochs=none", "--config.trainer.eval_every=100",
         "--config.trainer.checkpoint_every=40", "--config.trainer.keep.last=4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_sigterm_saves_and_asks_to_be_resumed(tmp_path: Path, environment: dict[str, str]) -> None:
    process = _train(tmp_path / "whole", environment)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")

    workdir = tmp_path / "stopped"
    metrics = workdir / "metrics.jsonl"
    for step in (2, 53):
        process = _train(workdir, environment)
        while process.poll() is None and not (
            metrics.exists() and f'"step": {step},' in metrics.read_text()
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
        assert process.returncode == 75, err  # EX_TEMPFAIL
        assert "and saved. Run the same command again to go on" in err and "Traceback" not in err
        stopped_at = int(err.partition("Stopped at step ")[2].split()[0])
        assert step < stopped_at < 400
        assert (workdir / "checkpoints" / str(stopped_at)).is_dir()
        assert history(workdir)[-1]["step"] == stopped_at  # logged up to there
    process = _train(workdir, environment)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert f"resuming    at step {stopped_at} of 400" in out
    _assert_same_run(workdir, tmp_path / "whole")
