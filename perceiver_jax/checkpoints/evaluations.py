"""Which checkpoint of a run is the best one, by the evaluations in its metrics.jsonl.

Whoever trains, evaluates or loads a work directory asks here, so that all mean the same weights.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Headline


class Rule(Protocol):
    """What "best" goes by, as `trainer.keep` of an experiment has it."""

    @property
    def metric(self) -> str | None:
        """Its name; None: the task's headline."""

    @property
    def higher_is_better(self) -> bool | None:
        """None: as the task says."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What "best" means."""

    metric: str  # Its name among the metrics of an evaluation.
    higher_is_better: bool


def ranking(keep: Rule, headline: Headline) -> Ranking:
    """Returns what "best" means for a rule and a task.

    Raises:
      ConfigError: the rule names a metric of which it is not known whether more is better.
    """
    metric = headline.metric if keep.metric is None else keep.metric
    if keep.higher_is_better is not None:
        return Ranking(metric, keep.higher_is_better)
    if metric == headline.metric:
        return Ranking(metric, headline.higher_is_better)
    if metric == "loss":
        return Ranking(metric, False)
    raise ConfigError(
        f"trainer.keep.metric={metric!r} is neither the task's headline ({headline.metric!r}) nor "
        "the loss, so it is not known which of its values are the best. Set "
        "--config.trainer.keep.higher_is_better=true, or false."
    )


def values_by_step(
    entries: Iterable[Mapping[str, Any]], split: str, metric: str
) -> dict[int, float]:
    """Returns a metric of the evaluations in metrics.jsonl, by step; finite values only."""
    return {
        entry["step"]: entry[metric]
        for entry in entries
        if entry["split"] == split and math.isfinite(entry.get(metric, math.nan))
    }


def best_steps(
    steps: Iterable[int], values: Mapping[int, float], ranking: Ranking, number: int
) -> list[int]:
    """Returns the best of `steps`, the best one first; of equals, the later one.

    Args:
      steps: the candidates; those without a value are none.
      values: the metric by step.
      ranking: what "best" means.
      number: how many at most.
    """
    sign = 1 if ranking.higher_is_better else -1
    candidates = [step for step in steps if step in values]
    return sorted(candidates, key=lambda step: (sign * values[step], step), reverse=True)[:number]


def selected_step(
    metrics: Path,
    split: str,
    by: Ranking,
    steps: Sequence[int],
    report: Callable[[str], None] = print,
) -> int | None:
    """Returns the step of the checkpoint that `evaluation.select=test` stands for.

    Args:
      metrics: the run's metrics.jsonl.
      split: the one that the run evaluates.
      by: what "best" means.
      steps: those that have a checkpoint.
      report: is told if a better evaluation has none any more.

    Returns:
      None where none of them was evaluated, as while a run is young.
    """
    values = values_by_step(read_metrics(metrics), split, by.metric)
    best, there = best_steps(values, values, by, 1), best_steps(steps, values, by, 1)
    if there and best != there:
        report(
            f"The best evaluation, of step {best[0]}, has no checkpoint any more; step {there[0]} "
            "is the best that has one."
        )
    return there[0] if there else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of a metrics file in order; lines that are no entries are left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the process was killed while it wrote this line
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and "split" in entry:
            entries.append(entry)
    return entries
