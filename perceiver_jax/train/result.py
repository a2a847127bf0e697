"""The result of a run: one of its evaluations, chosen as `evaluation.select` says.

A pure function of metrics.jsonl and the config, so that an interrupted run comes to the same result
as one that was not, and a complete one comes to another choice's without being trained again.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perceiver_jax.checkpoints.evaluations import (
    best_steps,
    ranking,
    selected_step,
    values_by_step,
)
from perceiver_jax.data.source import Source, ids_digest
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.config import ExperimentConfig, Select

Entry = Mapping[str, Any]  # A line of metrics.jsonl.

# Under "timing" of a line of metrics.jsonl: how many examples to train on were left out so far.
CORRUPT_TO_TRAIN_ON = "corrupt_to_train_on"

# What stands beside the metrics in a result and in a line of metrics.jsonl.
NO_METRICS = (
    "name", "step", "split", "examples", "ids", "trained_on", "num_params", "select", "timing",
)  # fmt: skip


def chosen(config: ExperimentConfig, entries: Sequence[Entry]) -> tuple[Entry | None, Select]:
    """Returns the evaluation that is the result so far, and what it was chosen by.

    Args:
      config: the run's.
      entries: of metrics.jsonl.

    Returns:
      None if there is no evaluation yet. "last" where evaluations do not have the metric that the
      best is to be told by: after so long a training, the last one is better than none.
    """
    split = config.trainer.eval_split
    evaluations = [entry for entry in entries if entry["split"] == split]
    if config.evaluation.select == "test":
        by = ranking(config.trainer.keep, config.task.headline)
        values = values_by_step(evaluations, split, by.metric)
        best = best_steps(values, values, by, 1)
        if best:
            return next(each for each in reversed(evaluations) if each["step"] == best[0]), "test"
    return (max(evaluations, key=lambda each: each["step"]) if evaluations else None), "last"


def ids_of(evaluated: Source, trained: Source) -> dict[str, Any]:
    """Returns which examples a result is of, where sets are not the same everywhere.

    Returns:
      "ids", a hash of those of the evaluated split, and "trained_on", number and hash of those to
      train on; of either, where its source knows. Corrupt ones are among them.

    Raises:
      DataError: the ids cannot be read.
    """
    found: dict[str, Any] = ids_digest(evaluated)
    training = ids_digest(trained)
    if training:
        found["trained_on"] = {"examples": len(trained), **training}
    return found


def result(
    config: ExperimentConfig,
    entries: Sequence[Entry],
    *,
    examples: int,
    num_params: int,
    ids: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Returns what final_metrics.json holds, of a run that has come to its end.

    Args:
      config: the run's.
      entries: of metrics.jsonl.
      examples: how many the evaluated split has.
      num_params: how many parameters the model has.
      ids: which examples these are, from `ids_of`.

    Raises:
      CheckpointError: there is no evaluation among the entries.
    """
    entry, select = chosen(config, entries)
    if entry is None:
        raise CheckpointError(
            "metrics.jsonl has no evaluation any more, so there is no result to choose. Delete "
            "final_metrics.json, and run the training command again: it evaluates the last "
            "checkpoint."
        )
    return {
        "name": config.name,
        "step": entry["step"],
        "split": entry["split"],
        "select": select,
        "examples": examples,
        **ids,
        "num_params": num_params,
        **{name: value for name, value in entry.items() if name not in NO_METRICS},
    }


def examples_counted(result: Mapping[str, Any]) -> str:
    """Returns how many examples a result is of: "6 examples", "5 of 6 examples (1 corrupt)".

    Args:
      result: with "examples", how many the split has, and "left_out" if some of them are corrupt.
    """
    examples, left_out = result["examples"], result.get("left_out", 0)
    if not left_out:
        return f"{examples:,} {'example' if examples == 1 else 'examples'}"
    return f"{examples - left_out:,} of {examples:,} examples ({left_out:,} corrupt)"


def ids_counted(result: Mapping[str, Any]) -> str:
    """Returns the hash of a result that has one, and of what it is: of all that the split has."""
    if not result.get("left_out", 0):
        return f"ids {result['ids']}"
    return f"ids of all {result['examples']:,} {result['ids']}"


def selected_by(final: Mapping[str, Any]) -> Select:
    """Returns what a result was chosen by; those of older versions are of the last step."""
    return "test" if final.get("select") == "test" else "last"


def selected_checkpoint(
    config: ExperimentConfig,
    workdir: Path,
    steps: Sequence[int],
    report: Callable[[str], None] = print,
) -> int | None:
    """Returns the step of the checkpoint that `evaluation.select=test` stands for.

    Args:
      config: the run's.
      workdir: its work directory.
      steps: those that have a checkpoint.
      report: is told if a better evaluation has none any more.

    Returns:
      None where none of them was evaluated, as while a run is young.
    """
    trainer, by = config.trainer, ranking(config.trainer.keep, config.task.headline)
    return selected_step(workdir / "metrics.jsonl", trainer.eval_split, by, steps, report)
