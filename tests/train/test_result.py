"""Which evaluation is the result: of runs whole, interrupted, young, or of another mind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax.errors import CheckpointError, ConfigError
from perceiver_jax.report.run_record import read_run
from perceiver_jax.train.config import EvaluationConfig
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.result import chosen, result, selected_checkpoint
from tests.train.fake import MLP, Crash, experiment, history, run

# A learning rate at which the loss does not keep falling, so that the last step is not the best.
CHANGES = {"trainer__num_steps": "20", "trainer__eval_every": "4", "trainer__checkpoint_every": "2",
           "trainer__keep__last": "1", "trainer__keep__metric": "loss", "schedule": "Constant",
           "schedule__base_lr": "0.3"}  # fmt: skip
BY_TEST = {**CHANGES, "evaluation__select": "test"}


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Leaves the picture out: it takes longer than the training. The steps that it would mark."""
    marked: list[int] = []
    monkeypatch.setattr(
        "perceiver_jax.report.curves.draw_curves",
        lambda *_, result_step, **__: marked.append(result_step),
    )
    return marked


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption whose result is of the last step."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    run(workdir, **CHANGES)
    return workdir


def _final(workdir: Path) -> dict[str, Any]:
    return json.loads((workdir / "final_metrics.json").read_text())


def _losses(workdir: Path) -> dict[int, float]:
    return {each["step"]: each["loss"] for each in history(workdir) if each["split"] == "test"}


def _entry(step: int, split: str = "test", **values: Any) -> dict[str, Any]:
    return {"step": step, "split": split, "loss": 1.0, **values, "timing": {}}


def test_the_choice() -> None:
    last = experiment()
    by_test = experiment(trainer__eval_every=6, evaluation__select="test")
    entries = [
        _entry(6, top_1=0.5), _entry(7, "train", top_1=0.9), _entry(12, top_1=0.75),
        _entry(18, top_1=0.75), _entry(23, top_1=float("nan")),
    ]  # fmt: skip
    assert chosen(last, entries) == (entries[-1], "last")
    assert chosen(by_test, entries) == (entries[3], "test")  # Of equals the later one.
    assert chosen(by_test, entries[:2]) == (entries[0], "test")
    found = result(by_test, entries, examples=9, num_params=7)
    assert found == {"name": "fake", "step": 18, "split": "test", "select": "test", "examples": 9,
                     "num_params": 7, "loss": 1.0, "top_1": 0.75}  # fmt: skip
    # Without the metric to go by, the last is better than none.
    assert chosen(by_test, [_entry(6), _entry(12)]) == (_entry(12), "last")
    assert chosen(by_test, []) == (None, "last")
    with pytest.raises(CheckpointError, match="has no evaluation any more"):
        result(last, [_entry(6, "train")], examples=9, num_params=7)


@pytest.mark.core
def test_a_complete_run_gets_another_result_without_training(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str], pictures: list[int]
) -> None:
    pictures.clear()
    workdir = shutil.copytree(whole, tmp_path / "run")
    losses = _losses(whole)
    best = min(losses, key=lambda step: losses[step])
    assert best != 20  # Else the test shows nothing.
    before = _final(workdir)
    assert (before["step"], before["select"], before["loss"]) == (20, "last", losses[20])
    saved = (workdir / "metrics.jsonl").read_bytes()
    (workdir / "report.html").write_text("of the last step")

    final = run(workdir, crash_at=1, **BY_TEST)  # A step would be its end.
    assert final == _final(workdir)
    assert (final["step"], final["select"], final["loss"]) == (best, "test", losses[best])
    assert {**final, **{name: before[name] for name in ("step", "select", "loss", "top_1",
                                                        "top_5")}} == before  # fmt: skip
    assert not (workdir / "report.html").exists()  # Written anew where `trainer.report` asks.
    told = capsys.readouterr().out
    assert "fake, 20 steps in an earlier run" in told
    assert f"test accuracy of step {best}, selected by test score  " in told

    found = evaluate_checkpoint(workdir, model=MLP())
    assert (found["step"], found["select"]) == (best, "test")
    assert found["loss"] == pytest.approx(final["loss"], rel=1e-6)
    explicit = evaluate_checkpoint(workdir, model=MLP(), step=20)
    assert explicit["loss"] == pytest.approx(losses[20], rel=1e-6) and "select" not in explicit
    record = read_run(workdir)
    assert record.is_selected and (record.result["step"], record.num_steps()) == (best, 20)

    # Started again it stays; and the other way round it is what it was.
    assert run(workdir, crash_at=1, **BY_TEST) == final
    assert run(workdir, crash_at=1, **CHANGES) == before
    assert (workdir / "final_metrics.json").read_bytes() == (
        whole / "final_metrics.json"
    ).read_bytes()
    assert (workdir / "metrics.jsonl").read_bytes() == saved
    assert pictures == [best, 20]  # Drawn anew after each change.
    assert evaluate_checkpoint(workdir, model=MLP())["select"] == "last"
    assert not read_run(workdir).is_selected


def test_an_interrupted_run_comes_to_the_same_result(tmp_path: Path, whole: Path) -> None:
    """Also if the choice changes on the way: it is no part of the trajectory."""
    for crash_at, changes in ((3, CHANGES), (9, BY_TEST), (16, CHANGES), (20, BY_TEST)):
        with pytest.raises(Crash):
            run(tmp_path, crash_at=crash_at, **changes)
        assert not (tmp_path / "final_metrics.json").exists()
    losses = _losses(tmp_path)
    record = read_run(tmp_path)
    assert record.result["step"] == min(losses, key=lambda step: losses[step])  # The best so far.
    final = run(tmp_path, **BY_TEST)
    assert history(tmp_path) == history(whole)
    expected = run(shutil.copytree(whole, tmp_path / "whole"), **BY_TEST)
    assert final == expected and final["select"] == "test"
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {final["step"], 20}


def test_killed_between_the_result_and_its_report(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir = shutil.copytree(whole, tmp_path / "run")
    (workdir / "report.html").write_text("of the last step")
    reports = []
    monkeypatch.setattr("perceiver_jax.train.loop.write_run_report", lambda at: reports.append(at))
    monkeypatch.setattr("perceiver_jax.train.loop.print_result", lambda *_: 1 / 0)  # The kill.
    changes = {**BY_TEST, "trainer__report": True}
    for _ in range(2):  # Written after the change; and, as none was left, once more.
        with pytest.raises(ZeroDivisionError):
            run(workdir, crash_at=1, **changes)
    assert len(reports) == 2 and _final(workdir)["select"] == "test"


def test_a_checkpoint_that_is_gone(tmp_path: Path, whole: Path) -> None:
    config, told = experiment(**BY_TEST), []
    losses = _losses(whole)
    first, second, *_ = sorted(losses, key=lambda step: losses[step])
    assert selected_checkpoint(config, whole, [first, second], told.append) == first and not told
    assert selected_checkpoint(config, whole, [second, 19], told.append) == second
    assert told == [f"The best evaluation, of step {first}, has no checkpoint any more; step "
                    f"{second} is the best that has one."]  # fmt: skip
    assert selected_checkpoint(config, whole, [19], told.append) is None
    # A run that has evaluated nothing yet: the newest there is.
    with pytest.raises(Crash):
        run(tmp_path, crash_at=3, **BY_TEST)
    found = evaluate_checkpoint(tmp_path, model=MLP())
    assert (found["step"], found["select"]) == (2, "last")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer__eval_split": "train"}, "eval_split='train' is what is evaluated"),
        ({"trainer__eval_every": None}, "nothing to choose from: trainer.eval_every=none"),
        ({"trainer__eval_every": 5}, "eval_every=5 must be a multiple of checkpoint_every=2"),
        ({"trainer__keep__best": 0}, "keep.best=0 must be at least 1"),
    ],
)
def test_what_cannot_be_selected_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(**{**BY_TEST, **changes})
    experiment(**{**CHANGES, **changes})  # The last step always is.


def test_a_choice_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="select='valid' must be 'last' or 'test'"):
        EvaluationConfig(select="valid")  # type: ignore[arg-type]
