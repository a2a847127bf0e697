"""A step that is not finite: what it leaves behind, and its replay."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train import diverged
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.log import TrainingDiverged
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, experiment


@dataclasses.dataclass(frozen=True)
class BreaksAtStep(MLP):
    """Takes the logarithm of what turns negative: the running mean says which step it is."""

    step: int = 8

    def apply(self, params: Any, state: Any, rng: Any, *inputs: Any, **options: Any) -> Any:
        outputs, new_state = super().apply(params, state, rng, *inputs, **options)
        if options.get("is_training"):
            new_state = {**new_state, "steps": {"done": state["steps"]["done"] + 1}}
            outputs = outputs * jnp.log(self.step - state["steps"]["done"])  # -inf, then nan
        return outputs, new_state

    def init(self, rng: Any, *inputs: Any) -> Any:
        params, state = super().init(rng, *inputs)
        return params, {**state, "steps": {"done": jnp.zeros(())}}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that stops at step 9: its work directory, and what it says."""
    workdir = tmp_path_factory.mktemp("failed") / "run"
    with pytest.raises(TrainingDiverged) as caught:
        train(experiment(), workdir, model=BreaksAtStep())
    return workdir, str(caught.value)


@pytest.mark.core
def test_the_step_is_named_and_kept(failed: tuple[Path, str]) -> None:
    workdir, message = failed
    assert "Training diverged at step 9: loss and gradient_norm" in message
    assert "the newest checkpoint is of step 6" in message
    assert f"--workdir={workdir} --debug_step" in message
    store = CheckpointStore(workdir / "diverged" / "checkpoints", read_only=True)
    assert store.steps() == [8]
    state = store.restore(8, assemble(experiment(), BreaksAtStep()).state.abstract())
    store.close()
    assert int(state.step) == 8 and float(state.model_state["steps"]["done"]) == 8
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(state)))
    assert json.loads((workdir / "diverged" / "config.json").read_text())["name"] == "fake"


def test_the_batch_is_that_of_the_step(failed: tuple[Path, str]) -> None:
    from perceiver_jax.data.loader import train_batches

    config = experiment()
    expected = next(
        train_batches(
            config.data, config.data.make_source("train"), batch_size=8, seed=0, start_step=8,
            stop_step=9,
        )
    )  # fmt: skip
    found = diverged.load_batch(failed[0] / "diverged")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.core
def test_the_replay_finds_the_line(failed: tuple[Path, str]) -> None:
    lines: list[str] = []
    assert diverged.replay(failed[0], model=BreaksAtStep(), report=lines.append)
    text = "\n".join(lines)
    assert "step 9 of fake" in text
    assert "4 of 4 parameters are not finite" in text and "mlp/~/linear_1/w" in text
    assert re.search(r"image +\(8, 8, 8, 1\) +-1 +1 +0", text)
    # The line of this file that takes the logarithm, and what came of it.
    assert "outputs * jnp.log(self.step" in text and "encountered in log" in text


def test_a_step_that_is_finite_after_all(failed: tuple[Path, str]) -> None:
    lines: list[str] = []
    assert not diverged.replay(failed[0], model=BreaksAtStep(step=100), report=lines.append)
    assert "finite here" in lines[-1]


def test_batches_of_several_processes_are_joined(tmp_path: Path) -> None:
    parts = [np.arange(6.0).reshape(3, 2) + 10 * index for index in range(2)]
    for index, part in enumerate(parts):
        arrays = {"image": part, "sound/left": np.ascontiguousarray(part[:, :1])}
        safetensors.numpy.save_file(arrays, tmp_path / f"batch-{index}-of-2.safetensors")
    found = diverged.load_batch(tmp_path)
    np.testing.assert_array_equal(found["image"], np.concatenate(parts))
    assert found["sound"]["left"].shape == (6, 1)
    (tmp_path / "batch-0-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"process 0 of 2 had read, batch-0-of-2\.s"):
        diverged.load_batch(tmp_path)
    (tmp_path / "batch-0-of-2.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"batch-0-of-2\.safetensors cannot be read"):
        diverged.load_batch(tmp_path)


def test_runs_that_did_not_fail(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no step that failed"):
        diverged.replay(tmp_path)


def test_flags(tmp_path: Path) -> None:
    for arguments, message in (
        (["--debug_step"], "--debug_step needs the run that failed"),
        (["--debug_step", f"--workdir={tmp_path}", "--config.name=x"], "leave --config away"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "perceiver_jax.train", *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 2 and message in ended.stderr


@dataclasses.dataclass(frozen=True)
class Overflows(MLP):
    """Its running mean overflows; the loss does not see it."""

    def apply(self, params: Any, state: Any, rng: Any, *inputs: Any, **options: Any) -> Any:
        outputs, _ = super().apply(params, state, rng, *inputs, **options)
        average = state["mlp/~/mean"]["average"]
        return outputs, {"mlp/~/mean": {"average": average * 0 + (average.mean() + 1) * 3e38 * 2}}


def test_running_statistics_are_watched_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="at step 1: statistics_norm is not finite"):
        train(experiment(), tmp_path / "run", model=Overflows())
