"""The loop: a run that is interrupted, however and wherever, ends as if it had not been."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError, ConfigError, DataError, ModelError, UserError
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.interrupt import Interrupted
from perceiver_jax.train.log import TrainingDiverged
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, Crash, experiment, history, run

NUM_STEPS = 23


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption; tests copy it before they change anything."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    run(workdir)
    return workdir


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the picture out: it takes longer than the training."""
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
    yield


def _final_state(workdir: Path) -> Any:
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    state = store.restore(NUM_STEPS, assemble(experiment(), MLP()).state.abstract())
    store.close()
    return jax.device_get(state)


def _assert_same_run(found: Path, expected: Path) -> None:
    assert history(found) == history(expected)
    assert (found / "final_metrics.json").read_bytes() == (
        expected / "final_metrics.json"
    ).read_bytes()
    jax.tree.map(np.testing.assert_array_equal, _final_state(found), _final_state(expected))


@pytest.mark.core
def test_what_a_run_leaves(whole: Path) -> None:
    entries = history(whole)
    steps = [(entry["step"], entry["split"]) for entry in entries]
    # Logged every 2 steps, evaluated every 5 and at the end, in the order of the loop.
    expected = [(step, "train") for step in range(2, 23, 2)]
    expected += [(step, "test") for step in (5, 10, 15, 20, 23)]
    assert steps == sorted(expected, key=lambda pair: (pair[0], pair[1] != "train"))
    assert entries[0]["loss"] > 2.3 > entries[-1]["loss"]
    rates = [entry["learning_rate"] for entry in entries if entry["split"] == "train"]
    assert rates[0] == pytest.approx(0.03) and rates[-1] < 0.005
    final = json.loads((whole / "final_metrics.json").read_text())
    assert final == {
        "name": "fake", "step": 23, "split": "test", "select": "last", "examples": 360,
        "num_params": 535,
        **{key: entries[-1][key] for key in ("loss", "top_1", "top_5")},
    }  # fmt: skip
    # Checkpoints every 6 steps and at the end; the last two stay.
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["18", "23"]
    saved = json.loads((whole / "config.json").read_text())
    assert config_lib.from_dict(saved) == experiment()
    store = CheckpointStore(whole / "checkpoints", read_only=True)
    assert config_lib.from_dict(store.config(23)) == experiment()
    store.close()


@pytest.mark.core
@pytest.mark.parametrize("crashes", [(3,), (6,), (7, 7, 11), (12, 14, 20, 23), (18, 22)])
def test_crashes_leave_no_trace(tmp_path: Path, whole: Path, crashes: tuple[int, ...]) -> None:
    for step in crashes:
        with pytest.raises(Crash):
            run(tmp_path, crash_at=step)
        assert not (tmp_path / "final_metrics.json").exists()
    run(tmp_path)
    _assert_same_run(tmp_path, whole)


@pytest.mark.parametrize(
    ("crash_at", "shown"),
    [(None, "fake, 23 steps in 0:"), (13, "fake, 23 steps, the last 11 of them in 0:")],
)
def test_the_time_is_told_of_what_was_done_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], crash_at: int | None, shown: str
) -> None:
    if crash_at is not None:
        with pytest.raises(Crash):
            run(tmp_path, crash_at=crash_at)  # the newest checkpoint is of step 12
    run(tmp_path)
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("steps", [(1, 2), (5, 9), (6, 23)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_stop(
    tmp_path: Path, whole: Path, steps: tuple[int, ...], number: signal.Signals,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = signal.getsignal(number)
    for step in steps:

        def send(done: int, step: int = step) -> None:
            if done == step:
                os.kill(os.getpid(), number)

        with pytest.raises(Interrupted) as caught:
            train(experiment(), tmp_path, model=MLP(), on_step=send)
        assert f"Stopped at step {step} of 23, and saved. Run the same command" in str(caught.value)
        assert caught.value.exit_code == {signal.SIGTERM: 75, signal.SIGINT: 130}[number]
        assert str(step) in os.listdir(tmp_path / "checkpoints")
        assert signal.getsignal(number) is before
        assert f"{number.name}: stopping after this step" in capfd.readouterr().err
    run(tmp_path)
    _assert_same_run(tmp_path, whole)


def test_a_signal_during_evaluation_does_not_wait_for_it(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perceiver_jax.train import loop

    original = loop.evaluate

    def interrupted(*arguments: Any, stop: Callable[[], bool], **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, stop=stop, **options)

    monkeypatch.setattr(loop, "evaluate", interrupted)
    with pytest.raises(Interrupted, match="Stopped at step 5 of 23"):
        run(tmp_path)
    assert [entry["step"] for entry in history(tmp_path)] == [2, 4]  # no evaluation yet
    monkeypatch.undo()
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
    run(tmp_path)
    _assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("damage", ["truncate", "delete", "flip"])
def test_a_damaged_checkpoint_is_set_aside(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    (workdir / "final_metrics.json").unlink()
    arrays = max((workdir / "checkpoints/23/state").rglob("d/*"), key=lambda p: p.stat().st_size)
    content = arrays.read_bytes()
    if damage == "delete":
        arrays.unlink()
    elif damage == "truncate":
        arrays.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        arrays.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    run(workdir)
    told = capsys.readouterr().out
    assert "Checkpoint 23 is damaged" in told and "Falling back to checkpoint 18" in told
    assert (workdir / "damaged" / "checkpoint-23").is_dir()
    _assert_same_run(workdir, whole)


def test_without_any_readable_checkpoint_nothing_is_thrown_away(
    tmp_path: Path, whole: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    (workdir / "final_metrics.json").unlink()
    for path in (workdir / "checkpoints").glob("*/state/manifest.ocdbt"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        run(workdir)
    for part in ("None of the checkpoints", "  23: ", "  18: ", "To start over"):
        assert part in str(caught.value)
    assert (workdir / "checkpoints" / "23").exists()


def test_a_half_written_checkpoint_is_not_taken(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(Crash):
        run(tmp_path, crash_at=8)
    # What Orbax leaves when it is killed on the way: the name still says that it is not done.
    half = tmp_path / "checkpoints" / "12.orbax-checkpoint-tmp-7"
    shutil.copytree(tmp_path / "checkpoints" / "6", half)
    (tmp_path / "metrics.jsonl").open("a").write('{"step": 8, "split": "tr')
    run(tmp_path)
    assert not half.exists()
    _assert_same_run(tmp_path, whole)


def test_a_finished_run_just_says_so(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    shutil.rmtree(workdir / "checkpoints")
    final = run(workdir, crash_at=1)
    told = capsys.readouterr().out
    assert f"test accuracy  {final['top_1']:.2%}" in told and "in an earlier run" in told
    assert not (workdir / "checkpoints").exists()


def test_a_workdir_of_another_experiment(tmp_path: Path, whole: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    with pytest.raises(ConfigError) as caught:
        run(workdir, trainer__seed=1, optimizer="Adam")
    message = str(caught.value)
    assert "belongs to another experiment ('fake')" in message
    assert "trainer.seed: 0 there, 1 now" in message and "optimizer: Lamb(" in message
    assert "--workdir=DIR" in message
    (workdir / "config.json").unlink()
    with pytest.raises(ConfigError, match="without its config.json"):
        run(workdir)
    (workdir / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as a config"):
        run(workdir)


def test_what_is_written_may_change_on_the_way(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(Crash):
        run(tmp_path, crash_at=13)
    changes = {"trainer__log_every": 3, "trainer__checkpoint_every": 50, "trainer__keep__last": 1,
               "trainer__reader_threads": 0, "name": "renamed"}  # fmt: skip
    final = run(tmp_path, **changes)
    expected = json.loads((whole / "final_metrics.json").read_text())
    assert final == {**expected, "name": "renamed"}
    jax.tree.map(np.testing.assert_array_equal, _final_state(tmp_path), _final_state(whole))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    def second(step: int) -> None:
        with pytest.raises(CheckpointError) as caught:
            run(tmp_path)
        assert f"is in use by process {os.getpid()} on " in str(caught.value)
        raise Crash

    with pytest.raises(Crash):
        train(experiment(), tmp_path, model=MLP(), on_step=second)
    with pytest.raises(Crash):  # free again
        run(tmp_path, crash_at=1)


def test_an_unwritable_workdir(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / "file"):
        with pytest.raises(
            CheckpointError, match="/file is a file, not a directory; choose another --workdir"
        ):
            run(path)
    with pytest.raises(CheckpointError, match="cannot be written: File name too long.*--workdir"):
        run(tmp_path / ("x" * 300))


class Misfit(MLP):
    def init(self, rng: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        return {"linear": {"w": inputs[0] @ np.zeros((3, 5))}}, {}


def test_a_model_whose_widths_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="The model of this config cannot be built: .*[(]3,?"):
        train(experiment(), tmp_path, model=Misfit())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        run(tmp_path, schedule="Constant", schedule__base_lr=1e30)
    message = str(caught.value)
    assert "Training diverged at step 1: parameter_norm is not finite (loss 2.5" in message
    assert "The step was not taken; no checkpoint has been saved yet" in message
    assert "--config.schedule.base_lr" in message
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_mistake_that_is_mended_does_not_claim_the_workdir(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(DataError, match="has no split 'valid'; it has: train, test"):
        run(tmp_path, trainer__eval_split="valid")
    with pytest.raises(TrainingDiverged):
        run(tmp_path, schedule="Constant", schedule__base_lr=1e30)
    run(tmp_path)
    _assert_same_run(tmp_path, whole)


def test_sizes_that_the_devices_cannot_share(tmp_path: Path) -> None:
    assert len(jax.devices()) == 8
    with pytest.raises(ConfigError, match="batch_size=12 cannot be shared by 8 .* 8 or 16"):
        run(tmp_path, trainer__batch_size=12)
    with pytest.raises(ConfigError, match=r"asks for 3 x 1 x 1 devices .* there are 8"):
        run(tmp_path, trainer__mesh__data=3)


def test_a_start_that_fails_leaves_nothing_that_looks_like_a_run(tmp_path: Path) -> None:
    for changes in ({"trainer__batch_size": 12}, {"checkpoint": str(tmp_path / "none.npz")}):
        with pytest.raises(UserError):
            run(tmp_path / "run", **changes)
        left = {path.name for path in (tmp_path / "run").rglob("*")}
        assert left <= {".lock", "checkpoints"}  # The latter is empty.
    (tmp_path / "run" / "config.json").write_text("of another experiment, as older versions left")
    with pytest.raises(UserError):
        run(tmp_path / "run", trainer__batch_size=12)
    run(tmp_path / "run", trainer__num_steps=1)
    assert json.loads((tmp_path / "run" / "config.json").read_text())


@pytest.mark.parametrize("batch_size", [8, 64, 360, 400])
def test_evaluation_counts_every_example_once(whole: Path, batch_size: int, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    config = experiment(trainer__eval_batch_size=batch_size)
    (workdir / "config.json").write_text(json.dumps(config_lib.to_dict(config)))
    found = evaluate_checkpoint(workdir, model=MLP())

    source = config.data.make_source("test")
    state = _final_state(whole)
    logits, _ = MLP().apply(state.params, state.model_state, None, source.images)
    logits = np.asarray(logits, np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert found["examples"] == 360 and found["step"] == 23
    assert found["top_1"] == np.mean(logits.argmax(-1) == source.labels)
    expected = -log_probs[np.arange(360), source.labels].mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-6)


def test_evaluation_of_a_checkpoint(tmp_path: Path, whole: Path) -> None:
    final = json.loads((whole / "final_metrics.json").read_text())
    found = evaluate_checkpoint(whole, model=MLP())
    assert {**found, "num_params": 535} == final
    before = evaluate_checkpoint(whole, model=MLP(), step=18, split="train")
    assert (before["step"], before["examples"]) == (18, 1437)
    with pytest.raises(CheckpointError, match="no checkpoint 17; it has: 18, 23"):
        evaluate_checkpoint(whole, model=MLP(), step=17)
    with pytest.raises(CheckpointError, match="is no work directory of a run"):
        evaluate_checkpoint(tmp_path, model=MLP())


def test_missing_matplotlib_does_not_fail_a_finished_run(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UserError("no matplotlib")

    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", fail)
    run(tmp_path)
    told = capsys.readouterr().out
    assert "no curves: no matplotlib" in told and "test accuracy" in told
    _assert_same_run(tmp_path, whole)
