"""Metrics that need a whole split, and values of single classes: in a run and after it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.errors import CheckpointError, ConfigError, UserError
from perceiver_jax.report.run_record import read_run
from perceiver_jax.train import per_class
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import EvaluationConfig, ExperimentConfig
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, Crash, history, run
from tests.train.multilabel import (
    ALWAYS,
    CLASSES,
    EXAMPLES,
    NEVER,
    as_read,
    experiment,
    stand_in,
)


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the picture out: it takes longer than the training."""
    monkeypatch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of all runs but one."""
    stand_in(monkeypatch)


def _run(workdir: Path, crash_at: int | None = None, **changes: Any) -> dict[str, Any]:
    def on_step(step: int) -> None:
        if step == crash_at:
            raise Crash

    config = dataclasses.replace(experiment(), data=DigitsConfig(), **changes)
    return train(config, workdir, model=MLP(), on_step=on_step)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption, evaluated at steps 4, 8 and 12."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceiver_jax.report.curves.draw_curves", lambda *_, **__: None)
        stand_in(patch)
        _run(workdir)
    return workdir


def _scores(workdir: Path, config: ExperimentConfig, step: int) -> np.ndarray:
    """The means over clips of the probabilities, with the parameters of a checkpoint."""
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    state = store.restore(step, assemble(config, MLP()).state.abstract())
    store.close()
    inputs, _ = as_read(list(range(EXAMPLES)))
    logits, _ = MLP().apply(state.params, state.model_state, None, inputs.reshape(-1, 64))
    return np.asarray(jax.nn.sigmoid(logits)).reshape(EXAMPLES, -1, CLASSES).mean(axis=1)


def test_a_run_is_judged_by_mean_average_precision(whole: Path) -> None:
    final = json.loads((whole / "final_metrics.json").read_text())
    scores, (_, labels) = _scores(whole, experiment(), 12), as_read(list(range(EXAMPLES)))
    expected = {
        each: average_precision_score(labels[:, each], scores[:, each])
        for each in range(CLASSES)
        if each != NEVER
    }
    mean = np.mean(list(expected.values()))
    assert final["mean_average_precision"] == pytest.approx(mean, abs=1e-6)
    assert final["classes_without_positives"] == 1 and "d_prime" in final
    entries = history(whole)
    assert final["mean_average_precision"] == entries[-1]["mean_average_precision"]
    assert final["mean_average_precision"] > entries[1]["mean_average_precision"] > 0.3
    # Training steps have none.
    trained = [entry for entry in entries if entry["split"] == "train"]
    assert trained and all({"loss", "precision_at_1"} < entry.keys() for entry in trained)
    assert not any("mean_average_precision" in entry for entry in trained)
    # Beside the result stands what it is the mean of.
    rows = per_class.read(whole / "per_class.json")
    assert rows is not None and [row["name"] for row in rows] == experiment().data.class_names()
    found = {label: row["average_precision"] for label, row in enumerate(rows)}
    assert found.pop(NEVER) is None and rows[NEVER]["auc"] is None
    assert found == pytest.approx(expected, abs=1e-6)
    assert rows[ALWAYS] == {
        "name": "sound 2", "positives": EXAMPLES, "average_precision": 1.0, "auc": None,
    }  # fmt: skip
    assert [row["positives"] for row in rows] == labels.sum(axis=0).tolist()
    assert sorted(path.name for path in (whole / "per_class").iterdir()) == [
        "12.json", "4.json", "8.json",
    ]  # fmt: skip


def test_interruptions_leave_no_trace(whole: Path, tmp_path: Path, recordings: None) -> None:
    for step in (6, 9, 12):
        with pytest.raises(Crash):
            _run(tmp_path, crash_at=step)
    _run(tmp_path)
    assert history(tmp_path) == history(whole)
    for name in ("final_metrics.json", "per_class.json", "per_class/8.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_the_table_is_that_of_the_result(tmp_path: Path, recordings: None) -> None:
    workdir = tmp_path / "run"
    # So large a rate that the last step is not the best one.
    config = experiment()
    changes = {"schedule": dataclasses.replace(config.schedule, base_lr=3.0)}
    final = _run(workdir, **changes)
    values = {
        entry["step"]: entry["mean_average_precision"]
        for entry in history(workdir)
        if entry["split"] == "test"
    }
    best = max(values, key=lambda step: (values[step], step))
    assert final["step"] == 12 != best
    last = (workdir / "per_class.json").read_bytes()
    chosen = _run(workdir, **changes, evaluation=EvaluationConfig(select="test"))
    assert (chosen["step"], chosen["mean_average_precision"]) == (best, values[best])
    table = workdir / "per_class" / f"{best}.json"
    assert (workdir / "per_class.json").read_bytes() == table.read_bytes() != last
    # The best checkpoint stayed, by the same metric; evaluating it finds the same table.
    report: list[str] = []
    wanted = tmp_path / "again.json"
    again = evaluate_checkpoint(workdir, model=MLP(), per_class=wanted, report=report.append)
    assert (again["step"], again["mean_average_precision"]) == (best, values[best])
    assert json.loads(wanted.read_text()) == {
        **json.loads(table.read_text()), "select": "test",
    }  # fmt: skip
    # Of a run whose tables are gone there is none, and nothing false stays.
    for path in (workdir / "per_class").iterdir():
        path.unlink()
    _run(workdir, **changes)
    assert not (workdir / "per_class.json").exists()
    assert read_run(workdir).result["step"] == 12


def test_a_table_that_cannot_be_kept_ends_no_run(tmp_path: Path, recordings: None) -> None:
    told: list[str] = []
    (tmp_path / "per_class").mkdir(parents=True)
    (tmp_path / "per_class" / "8.json.tmp").mkdir()  # in the way
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "perceiver_jax.train.progress.Progress.message", lambda self, line: told.append(line)
        )
        _run(tmp_path)
    (line,) = [each for each in told if "single classes" in each]
    assert line.startswith("The values of single classes at step 8 are not kept: ")
    assert (tmp_path / "per_class.json").exists()


def test_what_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    run(tmp_path / "digits", trainer__num_steps="1")
    assert not (tmp_path / "digits" / "per_class.json").exists()
    with pytest.raises(ConfigError, match="--per_class=x.json: ClassificationConfig has no values"):
        evaluate_checkpoint(tmp_path / "digits", model=MLP(), per_class="x.json")
    for path in (tmp_path, tmp_path / "nowhere" / "x.json"):
        with pytest.raises(UserError, match="must be the name of a file in a directory"):
            per_class.check_wanted(path, experiment().task)
    file = tmp_path / "table.json"
    assert per_class.read(file) is None
    for text in ("{", "[]", '{"classes": 3}', '{"classes": [{"auc": 1}]}'):
        file.write_text(text)
        with pytest.raises(CheckpointError, match=r"table.json cannot be read as a table"):
            per_class.read(file)


@pytest.mark.parametrize(
    ("classes", "lack"), [(12, "outputs have no"), (9, "labels would have no")]
)
def test_other_classes_than_the_data_have_are_refused_before_a_model_is_made(
    classes: int, lack: str
) -> None:
    config = experiment()
    task = dataclasses.replace(config.task, num_classes=classes)
    with pytest.raises(ConfigError) as caught:
        assemble(dataclasses.replace(config, task=task), model=MLP())
    assert f"The data have 10 classes, and task.num_classes={classes}: {lack}" in str(caught.value)
    assert "--config.task.num_classes=10 and as many to the model: " in str(caught.value)
    assert "--config.model.decoder.num_classes=10" in str(caught.value)
