"""What a work directory tells of its run, read once. The directory is not changed."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.data.source import training_source
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.environment import read_starts
from perceiver_jax.train.result import CORRUPT_TO_TRAIN_ON, chosen, selected_by
from perceiver_jax.train.workdir import read_config

Entry = dict[str, Any]  # A line of metrics.jsonl.


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run, finished or not."""

    path: Path  # The work directory.
    label: str  # Its name; among several runs, one that tells them apart.
    config: ExperimentConfig
    entries: Sequence[Entry]  # Of metrics.jsonl.
    final: dict[str, Any] | None  # The result; None where the run is not complete.
    starts: Sequence[dict[str, Any]]  # Of environment.jsonl: one for each start.

    @property
    def train_entries(self) -> list[Entry]:
        """The logged training steps."""
        return [entry for entry in self.entries if entry["split"] == "train"]

    @property
    def eval_entries(self) -> list[Entry]:
        """The evaluations, of the split that the config names."""
        split = self.config.trainer.eval_split
        return [entry for entry in self.entries if entry["split"] == split]

    @property
    def step(self) -> int:
        """The last step of which anything is known."""
        return max((entry["step"] for entry in self.entries), default=0)

    @property
    def result(self) -> Entry:
        """The final metrics, or those of the evaluation that would be; empty where there is none.

        That is the last one so far, or the best if the result is to be selected by test score.
        """
        if self.final is not None:
            return self.final
        return {**(chosen(self.config, self.entries)[0] or {})}

    @property
    def is_selected(self) -> bool:
        """Whether the result was, or so far would be, selected by test score."""
        if self.final is not None:
            return selected_by(self.final) == "test"
        return chosen(self.config, self.entries)[1] == "test"

    @property
    def last_time(self) -> float | None:
        """When the last line was written, in seconds since 1970."""
        return max(self._times(), default=None)

    @property
    def corrupt_to_train_on(self) -> int:
        """How many examples to train on were left out, at least: the most that a start met."""
        _, counts = self.series(self.entries, CORRUPT_TO_TRAIN_ON)
        return int(counts.max(initial=0))

    def num_steps(self) -> int | None:
        """How long the run is to be; None where its data cannot be opened to find out."""
        trainer = self.config.trainer
        if self.final is not None:
            return max(self.step, self.final["step"])  # The result may be that of an earlier step.
        if trainer.num_steps is not None:
            return trainer.num_steps
        try:
            examples = len(training_source(self.config.data))
        except Exception:  # Whatever keeps data from being opened: a report does without.
            return None
        assert trainer.num_epochs is not None  # the config has made sure of it
        return max(int(trainer.num_epochs * examples / trainer.batch_size), 1)

    def seconds(self) -> float | None:
        """How long it ran, all starts together; None where that is not known.

        From each start to the last line that was written before the next one.
        """
        times = sorted(self._times())
        if not times:
            return None
        begins = [float(start["unix_time"]) for start in self.starts] or times[:1]
        total = 0.0
        for begin, end in zip(begins, [*begins[1:], float("inf")], strict=True):
            # A clock that was set back leaves nothing between the two.
            within = [each for each in times if begin <= each < end]
            total += max(within, default=begin) - begin
        return total

    def series(self, entries: Sequence[Entry], name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns steps and values of a metric, where it was logged; `timing` is looked into."""
        pairs = [(entry["step"], value) for entry, value in _values(entries, name)]
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return np.asarray(steps, float), np.asarray(values, float)

    def _times(self) -> Iterator[float]:
        for entry in self.entries:
            yield from (time for _, time in _values([entry], "unix_time"))


def read_run(
    workdir: str | Path, label: str | None = None, changes: Mapping[str, Any] | None = None
) -> Run:
    """Reads a work directory.

    Args:
      workdir: the directory.
      label: what to call the run; None: its name.
      changes: of the run's config, by dotted name; see `train.workdir.read_config`.

    Raises:
      UserError: it holds no run, its config or its result cannot be read, or a change makes another
        experiment.
    """
    path = Path(workdir)
    config = read_config(path, changes)
    return Run(
        path=path,
        label=label or config.name,
        config=config,
        entries=read_metrics(path / "metrics.jsonl"),
        final=_read_final(path / "final_metrics.json"),
        starts=read_starts(path),
    )


def _read_final(path: Path) -> dict[str, Any] | None:
    """Returns the result of a run; None where it is not complete."""
    if not path.exists():
        return None
    try:
        final = json.loads(path.read_text())
    except ValueError as error:  # No JSON, or no text at all.
        raise CheckpointError(_damaged(path, str(error))) from error
    names = ("step", "split", "examples")
    if not isinstance(final, dict) or not all(name in final for name in names):
        raise CheckpointError(_damaged(path, f"it must have {', '.join(names)}"))
    return final


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} cannot be read as the result of a run: {why}. Delete it, and run the training "
        "command again: it evaluates the last checkpoint and writes the file anew."
    )


def read_runs(workdirs: Sequence[str | Path]) -> list[Run]:
    """Reads several work directories; runs of one name get that of their directory as well."""
    runs = [read_run(workdir) for workdir in workdirs]
    names = [run.label for run in runs]
    labels = [
        f"{run.label} ({run.path.absolute().name})" if names.count(run.label) > 1 else run.label
        for run in runs
    ]
    return [
        dataclasses.replace(run, label=f"{label} #{number}" if labels.count(label) > 1 else label)
        for number, (run, label) in enumerate(zip(runs, labels, strict=True), start=1)
    ]


def _values(entries: Sequence[Entry], name: str) -> Iterator[tuple[Entry, float]]:
    for entry in entries:
        value = entry.get(name, _timing(entry).get(name))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield entry, float(value)


def _timing(entry: Entry) -> dict[str, Any]:
    timing = entry.get("timing")
    return timing if isinstance(timing, dict) else {}
