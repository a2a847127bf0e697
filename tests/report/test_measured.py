"""Which runs belong to which rows, from work directories written by hand."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.config import AudiosetConfig
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.mnist import MnistConfig
from perceiver_jax.data.images.tfds import TfdsConfig
from perceiver_jax.data.points.config import PointCloudsConfig
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.errors import CheckpointError
from perceiver_jax.report import measured
from perceiver_jax.report.paper_results import (
    AUDIOSET,
    IMAGENET,
    MODELNET40,
    ResultRow,
    ResultTable,
)
from perceiver_jax.train.config import ExperimentConfig, Lamb, Steps
from perceiver_jax.train.paper import Difference, PaperResult
from tests.report.runs import experiment

RECIPE = {"trainer.batch_size": 8, "optimizer": "Lamb"}  # As in `experiment()`.
SMALL = ResultTable(
    "P, Table 1",
    "Small",
    "top_1",
    "%",
    "test",
    360,
    "experiments/small.py",
    (ResultRow("A", "78.0", "a"), ResultRow("B", "OOM", "b"), ResultRow("Quoted", "90.2")),
)
OTHER = dataclasses.replace(
    SMALL,
    source="P, Table 2",
    rows=(ResultRow("A again", "78.0", "a", same_as=("P, Table 1", "A")),),
)
TABLES = (SMALL, OTHER)


def paper(row: str = "A", source: str = "P, Table 1", **changes: Any) -> PaperResult:
    """A paper's result; by default that of the first row."""
    given = {"metric": "top_1", "value": 0.78, "recipe": RECIPE}
    return PaperResult(row=row, source=source, **{**given, **changes})


def write_run(
    path: Path,
    value: float | None = 0.5,
    *,
    config: ExperimentConfig | None = None,
    final: bool = True,
    checkpoint: bool = True,
    examples: int = 360,
    **more: Any,
) -> Path:
    """Writes what a run of four steps leaves; `value` None: it has evaluated nothing yet."""
    config = config or experiment(paper=paper())
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config_lib.to_dict(config)))
    result = {"step": 4, "split": config.trainer.eval_split}
    entries: list[dict[str, Any]] = [{"step": 2, "split": "train", "loss": 1.0}]
    if value is not None:
        result |= {"loss": 2.0, "top_1": value, **more}
        entries.append(result)
        if final:
            written = {"name": config.name, **result, "examples": examples, "num_params": 7}
            (path / "final_metrics.json").write_text(json.dumps(written))
    (path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    if checkpoint:
        (path / "checkpoints" / "4").mkdir(parents=True)
    return path


def seeded(seed: int, **changes: Any) -> ExperimentConfig:
    """The experiment of the first row with another seed."""
    config = experiment(paper=paper(), **changes)
    return dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, seed=seed))


def groups_of(comparison: measured.Comparison, table: int = 0, row: int = 0):
    """The groups of a row."""
    return comparison.tables[table].rows[row].groups


def test_a_run_belongs_to_its_row_and_to_all_that_are_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    comparison = measured.compare(TABLES, [tmp_path / "a"])
    for table in (0, 1):
        ((group,),) = [groups_of(comparison, table)]
        (run,) = group.measurements
        assert (run.value, run.step, run.examples, run.split) == (0.5, 4, 360, "test")
        assert run.has_checkpoint and run.complete and run.differences == () and not run.remarks
    assert groups_of(comparison, row=1) == groups_of(comparison, row=2) == ()
    assert not comparison.elsewhere and not comparison.unreadable


def test_a_result_selected_by_test_score_says_so(tmp_path: Path) -> None:
    """And differs from a recipe that takes the last; as the last does from one that selects."""
    by_test = config_lib.override(
        experiment(paper=paper(recipe={"evaluation.select": "last"})),
        {"evaluation.select": "test", "trainer.eval_every": 2, "trainer.checkpoint_every": 2},
    )
    write_run(tmp_path / "a", config=by_test, select="test")
    last = experiment(paper=paper(recipe={"evaluation.select": "test"}))
    write_run(tmp_path / "b", config=last)
    (one,), (other,) = (
        groups_of(measured.compare(TABLES, [tmp_path / name]))[0].measurements for name in "ab"
    )
    assert one.remarks == ("selected by test score, the best of 1 evaluations",)
    assert one.differences == (Difference("evaluation.select", "last", "test"),)
    assert other.remarks == () and other.differences == (
        Difference("evaluation.select", "test", "last"),
    )


def test_seeds_are_one_group(tmp_path: Path) -> None:
    for seed, value in enumerate((0.5, 0.75, 0.25)):
        # The name and how often is logged change nothing of what is learned.
        config = dataclasses.replace(seeded(seed), name=f"run {seed}")
        write_run(tmp_path / str(seed), value, config=config)
    write_run(tmp_path / "half", 0.9, config=seeded(3), final=False)
    workdirs = [tmp_path / name for name in ("0", "1", "2", "half")]
    (group,) = groups_of(measured.compare(TABLES, workdirs))
    # A run that goes on does not count beside complete ones.
    assert len(group.measurements) == 4 and group.values == [0.5, 0.75, 0.25]
    assert group.measurements[3].remarks == ("not complete: step 4 of 4",)
    assert group.measurements[3].examples is None


def test_other_experiments_are_other_groups_the_closest_first(tmp_path: Path) -> None:
    larger = seeded(0)
    larger = dataclasses.replace(larger, trainer=dataclasses.replace(larger.trainer, batch_size=16))
    write_run(tmp_path / "larger", 0.9, config=larger)
    write_run(tmp_path / "as printed", 0.1)
    write_run(tmp_path / "no recipe", 0.2, config=experiment(paper=paper(recipe={}), frozen=("x",)))
    comparison = measured.compare(
        TABLES, [tmp_path / name for name in ("larger", "no recipe", "as printed")]
    )
    groups = groups_of(comparison)
    assert [group.values for group in groups] == [[0.1], [0.9], [0.2]]
    assert groups[1].measurements[0].differences == (Difference("trainer.batch_size", 8, 16),)
    assert groups[2].measurements[0].differences is None


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the tables name, with the variant of their first row."""
    monkeypatch.chdir(tmp_path)
    Path("experiments").mkdir()
    Path("experiments/small.py").write_text(
        "from tests.report.test_measured import seeded\nVARIANTS = {'a': lambda: seeded(0)}\n"
    )


@pytest.mark.usefixtures("shipped")
def test_where_the_paper_is_silent_a_run_is_compared_with_the_variant() -> None:
    # The recipe has the batch size and the optimiser's class; how often is logged changes nothing.
    trainer = dataclasses.replace(
        seeded(7).trainer, batch_size=16, num_steps=6, log_every=5, eval_split="valid"
    )
    config = experiment(paper=paper(), trainer=trainer, schedule=Steps(), optimizer=Lamb(b1=0.8))
    write_run(Path("changed"), config=config)
    write_run(Path("shipped"), config=seeded(3))
    comparison = measured.compare(TABLES, [Path("changed"), Path("shipped")])
    for table in (0, 1):
        as_shipped, changed = (group.measurements[0] for group in groups_of(comparison, table))
        assert as_shipped.changes == measured.Changes("experiments/small.py:a", ())
        assert changed.changes is not None
        assert changed.changes.found == (
            measured.Change("trainer.num_steps", 4, 6),
            measured.Change("optimizer.b1", 0.9, 0.8),
            measured.Change("schedule", seeded(0).schedule, Steps()),
        )


def test_without_the_experiments_file_there_is_no_such_comparison(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    (group,) = groups_of(measured.compare(TABLES, [tmp_path / "a"]))
    assert group.measurements[0].changes is None


def test_what_was_evaluated_counts_as_a_difference(tmp_path: Path) -> None:
    config = seeded(0)
    config = dataclasses.replace(
        config, trainer=dataclasses.replace(config.trainer, eval_split="valid")
    )
    write_run(tmp_path / "a", config=config, examples=100, left_out=3, checkpoint=False)
    (group,) = groups_of(measured.compare(TABLES, [tmp_path / "a"]))
    (run,) = group.measurements
    assert run.examples == 97 and not run.has_checkpoint
    assert run.differences == (
        Difference("split evaluated", "test", "valid"),
        Difference("examples evaluated", 360, 97),
    )
    assert run.remarks == (
        "the checkpoint that was evaluated is not there any more",
        "3 examples left out as corrupt",
    )


def test_the_hash_is_said_to_be_of_more_than_were_counted(tmp_path: Path) -> None:
    trained = {"examples": 20, "ids": "cd"}
    whole = write_run(tmp_path / "a", examples=6, ids="ab", trained_on=trained)
    write_run(tmp_path / "b", examples=6, ids="ab", trained_on=trained, left_out=1)
    lines = (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()
    met = {**json.loads(lines[0]), "timing": {"corrupt_examples": 3, "corrupt_to_train_on": 2}}
    (tmp_path / "b" / "metrics.jsonl").write_text(json.dumps(met) + "\n" + lines[1] + "\n")
    (group,) = groups_of(measured.compare(TABLES, [whole, tmp_path / "b"]))
    one, other = group.measurements
    assert (one.examples, other.examples) == (6, 5)
    assert one.remarks == (
        "evaluated on 6 examples, ids ab",
        "trained on 20 examples, ids cd",
    )
    assert other.remarks == (
        "1 example left out as corrupt",
        "evaluated on 5 of 6 examples (1 corrupt), ids of all 6 ab",
        "trained on 20 examples (at least 2 corrupt), ids of all cd",
    )


def test_runs_without_a_result(tmp_path: Path) -> None:
    write_run(tmp_path / "begun", None, checkpoint=False)
    write_run(tmp_path / "done", 0.5)
    final = json.loads((tmp_path / "done" / "final_metrics.json").read_text())
    del final["top_1"]
    (tmp_path / "done" / "final_metrics.json").write_text(json.dumps(final))
    (group,) = groups_of(measured.compare(TABLES, [tmp_path / "begun", tmp_path / "done"]))
    begun, done = group.measurements
    assert group.values == [] and begun.value is None and begun.step is None
    assert begun.remarks == ("no evaluation yet", "not complete: step 2 of 4")
    assert done.remarks == ("its evaluation has no 'top_1'",)


def test_runs_of_no_row_are_listed_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "smoke", config=experiment(paper=None))
    write_run(tmp_path / "c", config=experiment(paper=paper(row="C")))
    comparison = measured.compare(TABLES, [tmp_path / "smoke", tmp_path / "c"])
    assert not any(row.groups for table in comparison.tables for row in table.rows)
    assert [(each.value, each.metric, each.remarks) for each in comparison.elsewhere] == [
        (0.5, "top_1", ("in no paper",)),
        (0.5, "top_1", ("C (P, Table 1) is no row of these tables",)),
    ]


def test_a_run_on_another_set_is_of_no_row(tmp_path: Path) -> None:
    """By the name of its set; folders have none, and may be of any."""
    table = dataclasses.replace(SMALL, data_set="modelnet40")
    remarks = {}
    for name, data in {
        "same": PointCloudsConfig(),
        "version": PointCloudsConfig(points=ModelNetConfig(name="modelnet40:1.0.0")),
        "furniture": PointCloudsConfig(points=ModelNetConfig(name="furniture")),
        "imagenette": ImagesConfig(images=TfdsConfig(name="imagenette/full-size")),
        "folder": ImagesConfig(images=FolderConfig(path="photos")),
        "own": AudiosetConfig(recordings=RecordingsConfig(name="own")),
        "mnist": ImagesConfig(images=MnistConfig()),
        "digits": DigitsConfig(),
    }.items():
        workdir = write_run(tmp_path / name, config=experiment(paper=paper(), data=data))
        comparison = measured.compare([table], [workdir])
        remarks[name] = [each.remarks for each in comparison.elsewhere]
        assert bool(groups_of(comparison)) == (not comparison.elsewhere)
    assert remarks == {
        "same": [],
        "version": [],
        "furniture": [("on 'furniture', not 'modelnet40'",)],
        "imagenette": [("on 'imagenette/full-size', not 'modelnet40'",)],
        "folder": [],
        "own": [("on 'own', not 'modelnet40'",)],
        "mnist": [("on 'MnistConfig', not 'modelnet40'",)],
        "digits": [("on 'DigitsConfig', not 'modelnet40'",)],
    }
    assert {each.data_set for each in IMAGENET} == {ImagesConfig().images.name}
    assert {each.data_set for each in MODELNET40} == {ModelNetConfig().name}
    assert {each.data_set for each in AUDIOSET} == {RecordingsConfig().name}


def test_where_data_lie_is_no_change(tmp_path: Path) -> None:
    """But two folders may be two data sets, as nothing else names them."""
    for name, data in {
        "a": PointCloudsConfig(points=ModelNetConfig(data_dir="a")),
        "b": PointCloudsConfig(points=ModelNetConfig(data_dir="b")),
        "c": ImagesConfig(images=FolderConfig(path="c")),
        "d": ImagesConfig(images=FolderConfig(path="d")),
    }.items():
        write_run(tmp_path / name, config=experiment(paper=paper(), data=data))
    comparison = measured.compare(TABLES, [tmp_path / name for name in "abcd"])
    assert [len(group.measurements) for group in groups_of(comparison)] == [2, 1, 1]


def test_damaged_records_do_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("a", "config", "final", "binary"):
        write_run(tmp_path / name)
    (tmp_path / "config" / "config.json").write_text('{"cut off')
    (tmp_path / "final" / "final_metrics.json").write_text("[]")
    (tmp_path / "binary" / "final_metrics.json").write_bytes(b"\xff\xfe\x00")
    workdirs = [tmp_path / name for name in ("config", "final", "binary", "a")]
    comparison = measured.compare(TABLES, workdirs)
    assert [group.values for group in groups_of(comparison)] == [[0.5]]
    assert [path.name for path, _ in comparison.unreadable] == ["config", "final", "binary"]
    messages = [message for _, message in comparison.unreadable]
    assert "config.json cannot be read as a config" in messages[0]
    assert "it must have step, split, examples" in messages[1] and "Delete it" in messages[1]
    assert "final_metrics.json cannot be read as the result of a run" in messages[2]


def test_work_directories_by_name_and_by_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a"):
        write_run(Path("runs") / name)
    (tmp_path / "runs" / "no run").mkdir()
    assert measured.find_workdirs([]) == []
    assert measured.find_workdirs(["runs/*"]) == [Path("runs/a"), Path("runs/b")]
    # Each once, whatever it is called.
    assert measured.find_workdirs(["runs/b", "runs/*", str(tmp_path / "runs" / "a")]) == [
        Path("runs/b"),
        Path("runs/a"),
    ]
    for given, message in (
        ("nowhere", "There is no directory 'nowhere'"),
        ("run?/c*", "No work directory of a run fits 'run\\?/c\\*'"),
        ("runs", "runs is no work directory of a run: .* or several at once as 'runs/\\*'"),
        ("runs/a/config.json", "is no work directory of a run"),
    ):
        with pytest.raises(CheckpointError, match=message):
            measured.find_workdirs([given])
