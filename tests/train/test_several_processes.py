"""Two processes with two devices each train what one device trains, and hand over to it."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.checkpoints.load import load_checkpoint
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.diverged import replay
from perceiver_jax.train.loop import train
from tests.compiling import QUICK
from tests.train.equivalent import assert_equal, experiment, five_steps
from tests.train.jobs_training import run_of
from tests.train.processes import run_processes, start_processes
from tests.train.test_diverged import BreaksAtStep

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compilation")]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared") / "run"


@pytest.fixture(scope="module")
def both(workdir: Path) -> list[dict[str, Any]]:
    """What each of the two processes found."""
    return run_processes(
        "tests.train.jobs_training:everything", {"workdir": str(workdir)}, processes=2, devices=2,
        environment=QUICK,
    )  # fmt: skip


@pytest.mark.core
def test_they_compute_what_one_device_does(both: list[dict[str, Any]]) -> None:
    expected = five_steps(assemble(experiment(), devices=jax.devices()[:1]))
    for found in both:
        losses, params = found["steps"]
        params = {path: np.asarray(value) for path, value in params.items()}
        assert_equal((losses, params), expected)


@pytest.mark.core
def test_a_signal_to_one_stops_both_and_one_process_goes_on(
    both: list[dict[str, Any]], workdir: Path, tmp_path: Path
) -> None:
    # One step after the signal, with the status that means "start me again".
    for found in both:
        assert (
            found["stopped"][0] == 75
            and "Stopped at step 6 of 12, and saved" in found["stopped"][1]
        )
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    assert store.steps() == [4, 6]
    store.close()
    assert sorted(path.name for path in workdir.iterdir() if path.name != ".lock") == [
        "checkpoints", "class_names.json", "config.json", "environment.jsonl",
        "initial_weights.json", "metrics.jsonl",
    ]  # fmt: skip

    # One process, one device: the same examples in the same order, so the same curve.
    (final,) = run_processes(
        "tests.train.jobs_training:finish", {"workdir": str(workdir)}, processes=1,
        environment=QUICK,
    )  # fmt: skip
    whole = train(run_of(12), tmp_path / "whole")
    for name in ("step", "split", "examples", "num_params"):
        assert final[name] == whole[name]
    found, expected = (
        read_metrics(each / "metrics.jsonl") for each in (workdir, tmp_path / "whole")
    )
    assert [(e["step"], e["split"]) for e in found] == [(e["step"], e["split"]) for e in expected]
    assert len(found) == 14
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("loss", "top_1", "learning_rate"):
            if name in theirs:
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_both_are_refused_another_experiment(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert "Error" in found["refused"][0]
        assert "trainer.num_steps: 12 there, 13 now" in found["refused"][1]


def test_one_that_fails_alone_ends_at_once(tmp_path: Path) -> None:
    """After a checkpoint: closing must not ask the other, which waits for it in the next step."""
    with start_processes(
        "tests.train.jobs_training:fail_on_one", {"workdir": str(tmp_path / "run")}, processes=2,
        results=tmp_path, environment=QUICK,
    ) as running:  # fmt: skip
        codes = running.wait()
        errors = running.output(1)[1]
    assert codes[1] == 1 and codes[0] != 0
    assert "DataError: this process cannot read its part" in errors
    assert (tmp_path / "run" / "checkpoints" / "6").is_dir()


def test_a_step_that_fails_is_kept_and_replayed_by_both(tmp_path: Path) -> None:
    found = run_processes(
        "tests.train.jobs_training:diverge", {"workdir": str(tmp_path / "run")}, processes=2,
        environment=QUICK,
    )  # fmt: skip
    for each in found:
        assert "Training diverged at step 9: loss and gradient_norm" in each["message"]
        assert each["failed"]
    names = sorted(path.name for path in (tmp_path / "run" / "diverged").iterdir())
    assert names == [
        "batch-0-of-2.safetensors", "batch-1-of-2.safetensors", "checkpoints", "config.json",
    ]  # fmt: skip
    text = "\n".join(found[0]["lines"])
    assert "4 of 4 parameters are not finite" in text and "(8, 8, 8, 1)" in text
    assert "--distributed=off" in text and found[1]["lines"] == []
    # One process finds the line.
    lines: list[str] = []
    assert replay(tmp_path / "run", model=BreaksAtStep(), report=lines.append)
    assert "outputs * jnp.log(self.step" in lines[-1]


def test_both_start_from_a_checkpoint(tmp_path: Path) -> None:
    config = experiment()
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    state = assemble(config, devices=jax.devices()[:1]).state.create()
    store.save(1, state, config_lib.to_dict(config))
    store.wait()
    store.close()
    saved = load_checkpoint(tmp_path / "run").params
    found = run_processes(
        "tests.train.jobs_training:from_checkpoint", {"checkpoint": str(tmp_path / "run")},
        processes=2, devices=2, environment=QUICK,
    )  # fmt: skip
    for each in found:
        assert each.keys() == saved.keys()
        for module, arrays in saved.items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(np.float32(each[module][name]), array)
