"""Which runs belong to which rows of the papers' tables, and what they found there."""

import dataclasses
import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from perceiver_jax import config as config_lib
from perceiver_jax.errors import CheckpointError, ConfigError, UserError
from perceiver_jax.report.paper_results import Key, ResultRow, ResultTable, same_results
from perceiver_jax.report.run_record import Run, read_run
from perceiver_jax.train.config import ExperimentConfig, changes_trajectory
from perceiver_jax.train.paper import Difference, differences
from perceiver_jax.train.result import examples_counted, ids_counted

# Two runs that differ in the seed are runs of one experiment, and which split was evaluated is
# compared with the paper's whatever the config says.
_NOT_COMPARED = ("trainer.seed", "trainer.eval_split")


class Change(NamedTuple):
    """A field on which the paper is silent, with another value than the row's variant has."""

    path: str
    variant: Any
    here: Any


@dataclasses.dataclass(frozen=True)
class Changes:
    """How a run differs from its row's variant, where the paper's recipe says nothing."""

    variant: str  # As `load_experiment` takes it: "experiments/imagenet.py:perceiver".
    found: tuple[Change, ...]  # Those that change what is learned.


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """What a run found, measured as a table does."""

    run: Run
    metric: str  # Its name among the task's.
    value: float | None  # Of the metric, as the task has it; None: not evaluated yet.
    step: int | None  # Of that evaluation.
    split: str  # What was evaluated.
    examples: int | None  # How many of them counted; None: not recorded before a run's end.
    has_checkpoint: bool  # Whether the weights that were evaluated are still there.
    # From the paper's recipe and from its evaluation; None: the experiment names no recipe.
    differences: tuple[Difference, ...] | None
    changes: Changes | None  # None: the row has no variant, or its file is not here.
    remarks: tuple[str, ...]  # What else a reader should know.

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end."""
        return self.run.final is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Runs of one experiment that differ in their seeds only."""

    measurements: tuple[Measurement, ...]

    @property
    def counted(self) -> tuple[Measurement, ...]:
        """Those whose values count: complete runs, or if there are none those evaluated so far."""
        found = tuple(each for each in self.measurements if each.value is not None)
        return tuple(each for each in found if each.complete) or found

    @property
    def values(self) -> list[float]:
        """The values that count."""
        return [each.value for each in self.counted if each.value is not None]


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredRow:
    """A row of a paper and what was measured of it."""

    printed: ResultRow
    groups: tuple[Group, ...]  # Of several experiments, those closest to the paper come first.


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredTable:
    """A table of a paper and what was measured of it."""

    printed: ResultTable
    rows: tuple[MeasuredRow, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The tables of a data set beside some runs."""

    tables: tuple[MeasuredTable, ...]
    elsewhere: tuple[Measurement, ...]  # Runs of no row of these tables; their remarks say why.
    unreadable: tuple[tuple[Path, str], ...]  # Work directories that are damaged, and how.


def find_workdirs(given: Iterable[str]) -> list[Path]:
    """Returns the work directories that are named, each once, in order.

    Args:
      given: directories, or patterns such as "runs/*", of which directories without a run are left
        out.

    Raises:
      CheckpointError: a directory holds no run, or a pattern fits none that does.
    """
    found: dict[Path, Path] = {}
    for text in given:
        named, fitting = Path(text), []
        if glob.has_magic(text) and not named.exists():
            fitting = [Path(each) for each in sorted(glob.glob(text))]
            fitting = [each for each in fitting if _holds_run(each)]
            if not fitting:
                raise CheckpointError(f"No work directory of a run fits {text!r}.")
        elif not named.exists():
            raise CheckpointError(f"There is no directory {text!r}.")
        elif not _holds_run(named):
            raise CheckpointError(
                f"{text} is no work directory of a run: it has no config.json. Give the directory "
                "that `python -m perceiver_jax.train` was given as --workdir, or several at once "
                f"as '{named / '*'}'."
            )
        for each in fitting or [named]:
            found.setdefault(each.resolve(), each)
    return list(found.values())


def compare(tables: Sequence[ResultTable], workdirs: Sequence[Path]) -> Comparison:
    """Puts runs into the tables' rows.

    Args:
      tables: those of one data set.
      workdirs: directories that hold runs, from `find_workdirs`. None of them is changed.
    """
    first = same_results(tuple(tables))
    variants = _Variants(tables)
    data_sets = {table.source: table.data_set for table in tables}
    runs, unreadable = _read(workdirs)
    of_row: dict[Key, list[Run]] = {}
    elsewhere = []
    for run in runs:
        paper = run.config.paper
        key = None if paper is None else first.get((paper.source, paper.row))
        other = None if key is None else _other_data(run, data_sets[key[0]])
        if key is None or other is not None:
            elsewhere.append(_measure(run, None, None, other or _why_elsewhere(run)))
        else:
            of_row.setdefault(key, []).append(run)
    measured = []
    for table in tables:
        rows = []
        for row in table.rows:
            its_runs = of_row.get(first[table.source, row.row], [])
            groups = _by_experiment([_measure(run, table, variants) for run in its_runs])
            rows.append(MeasuredRow(row, groups))
        measured.append(MeasuredTable(table, tuple(rows)))
    return Comparison(tuple(measured), tuple(elsewhere), tuple(unreadable))


def _holds_run(path: Path) -> bool:
    return (path / "config.json").is_file()


def _read(workdirs: Sequence[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """One damaged record among many is no reason to show none of the others."""
    runs, unreadable = [], []
    for workdir in workdirs:
        try:
            runs.append(read_run(workdir))
        except UserError as error:
            unreadable.append((workdir, str(error)))
    return runs, unreadable


def _why_elsewhere(run: Run) -> str:
    paper = run.config.paper
    if paper is None:
        return "in no paper"
    return f"{paper.row} ({paper.source}) is no row of these tables"


def _other_data(run: Run, data_set: str | None) -> str | None:
    """Says if a run is on another data set than a table, by name.

    Folders have no name, and may be of any. What has neither is a set of its own, such as MNIST.
    """
    if data_set is None:
        return None
    data = run.config.data
    for field in ("points", "images", "recordings"):
        found = getattr(data, field, None)
        if found is None:
            continue
        name = getattr(found, "name", None)
        if name is None and hasattr(found, "path"):
            return None
        # As TFDS has it: NAME/CONFIG, NAME:VERSION.
        if name is not None and re.split("[/:]", name)[0] == data_set:
            return None
        return f"on {name or type(found).__name__!r}, not {data_set!r}"
    return f"on {type(data).__name__!r}, not {data_set!r}"


class _Variants:
    """The variants of the tables' rows as they are shipped, each loaded once."""

    def __init__(self, tables: Sequence[ResultTable]):
        self._names = {
            (table.source, row.row): f"{table.experiment}:{row.variant}"
            for table in tables
            for row in table.rows
            if row.variant is not None
        }
        self._loaded: dict[str, ExperimentConfig | None] = {}

    def changes(self, run: Run) -> Changes | None:
        """Returns what a run has of its own, where its recipe says nothing."""
        paper = run.config.paper
        assert paper is not None  # it has named the row
        name = self._names.get((paper.source, paper.row))
        shipped = None if name is None else self._load(name)
        if name is None or shipped is None:
            return None
        found = tuple(
            Change(path, variant, here)
            for path, variant, here in config_lib.diff(shipped, run.config)
            if changes_trajectory(path) and path not in (*paper.recipe, *_NOT_COMPARED)
        )
        return Changes(name, found)

    def _load(self, name: str) -> ExperimentConfig | None:
        if name not in self._loaded:
            try:
                self._loaded[name] = config_lib.load_experiment(name)
            except ConfigError:  # The command was not started where the experiments are.
                self._loaded[name] = None
        return self._loaded[name]


def _measure(
    run: Run, table: ResultTable | None, variants: _Variants | None, *remarks: str
) -> Measurement:
    """Args: both are None where the run is of no table; then its own headline is its metric."""
    result, said = run.result, list(remarks)
    metric = run.config.task.headline.metric if table is None else table.metric
    value = result.get(metric)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        value = None
        said.append(f"its evaluation has no {metric!r}" if result else "no evaluation yet")
    if run.final is None:
        total = run.config.trainer.num_steps  # Of epochs, only the data set could tell.
        said.append(f"not complete: step {run.step:,}" + (f" of {total:,}" if total else ""))
    step = result.get("step")
    has_checkpoint = step is not None and (run.path / "checkpoints" / str(step)).is_dir()
    if value is not None and not has_checkpoint:
        said.append("the checkpoint that was evaluated is not there any more")
    if run.is_selected:
        said.append(f"selected by test score, the best of {len(run.eval_entries):,} evaluations")
    left_out = result.get("left_out", 0)
    examples = None if run.final is None else result["examples"] - left_out
    if left_out:
        said.append(f"{left_out:,} example{'s' * (left_out > 1)} left out as corrupt")
    said += _ids(run)
    split = result.get("split", run.config.trainer.eval_split)
    return Measurement(
        run=run,
        metric=metric,
        value=None if value is None else float(value),
        step=step,
        split=split,
        examples=examples,
        has_checkpoint=has_checkpoint,
        differences=None if table is None else _differences(run, table, split, examples),
        changes=None if variants is None else variants.changes(run),
        remarks=tuple(said),
    )


def _ids(run: Run) -> list[str]:
    """Which examples a result is of, where no two have the same ones."""
    result, said = run.result, []
    if "ids" in result:
        said.append(f"evaluated on {examples_counted(result)}, {ids_counted(result)}")
    if "trained_on" in result:
        trained, corrupt = result["trained_on"], run.corrupt_to_train_on
        least = f" (at least {corrupt:,} corrupt), ids of all" if corrupt else ", ids"
        said.append(f"trained on {trained['examples']:,} examples{least} {trained['ids']}")
    return said


def _differences(
    run: Run, table: ResultTable, split: str, examples: int | None
) -> tuple[Difference, ...] | None:
    """Differences from the recipe, and in what was evaluated; None: there is no recipe."""
    assert run.config.paper is not None  # it has named the row
    recipe = run.config.paper.recipe
    found = differences(run.config, recipe)
    if split != table.split:
        found.append(Difference("split evaluated", table.split, split))
    if examples is not None and examples != table.examples:
        found.append(Difference("examples evaluated", table.examples, examples))
    return tuple(found) if recipe or found else None


def _by_experiment(measurements: Sequence[Measurement]) -> tuple[Group, ...]:
    groups: list[list[Measurement]] = []
    for each in measurements:
        for group in groups:
            if _differ_in_seed_only(group[0].run, each.run):
                group.append(each)
                break
        else:
            groups.append([each])
    return tuple(Group(tuple(group)) for group in sorted(groups, key=_distance))


def _differ_in_seed_only(one: Run, other: Run) -> bool:
    changes = config_lib.diff(one.config, other.config)
    # Folders have no name: two of them may be two data sets.
    if any(path == "data.images.path" for path, _, _ in changes):
        return False
    return all(path == "trainer.seed" or not changes_trajectory(path) for path, _, _ in changes)


def _distance(group: Sequence[Measurement]) -> tuple[bool, int, int]:
    """How far the runs of a group are from the paper's: without a result last."""
    unknown = 10**6  # No recipe to compare with: behind all that have one.
    found, changes = group[0].differences, group[0].changes
    return (
        all(each.value is None for each in group),
        unknown if found is None else len(found),
        0 if changes is None else len(changes.found),
    )
