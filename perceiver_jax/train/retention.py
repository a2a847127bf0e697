"""Which checkpoints stay, by rule: the newest, the best by a metric, and every so many steps.

The choice is a pure function of the steps that have a checkpoint, of metrics.jsonl and of the
rule. A step that has dropped out never comes back in: newer ones only push it further down, and so
do better ones. So it does not matter when and how often the rule is applied, and an interrupted run
ends up with the same checkpoints as one that was not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perceiver_jax.checkpoints.evaluations import (
    Ranking,
    best_steps,
    ranking,
    read_metrics,
    values_by_step,
)
from perceiver_jax.errors import CheckpointError
from perceiver_jax.tasks.base import Headline
from perceiver_jax.train.config import ExperimentConfig, KeepConfig


def kept_steps(
    steps: Sequence[int], values: Mapping[int, float], keep: KeepConfig, ranking: Ranking
) -> set[int]:
    """Returns which of `steps` stay.

    Args:
      steps: those that have a checkpoint.
      values: the metric by step, of the evaluations so far.
      keep: the rule.
      ranking: what "best" means.
    """
    newest = sorted(steps)[-keep.last :]
    best = best_steps(steps, values, ranking, keep.best)
    periodic = [step for step in steps if keep.every is not None and step % keep.every == 0]
    return {*newest, *best, *periodic}


def best_checkpoint(config: ExperimentConfig, workdir: Path, steps: Sequence[int]) -> int:
    """Returns the best of the steps that have a checkpoint, by the evaluations of a run.

    Args:
      config: the run's.
      workdir: its work directory.
      steps: the candidates.

    Raises:
      CheckpointError: none of them was evaluated.
    """
    trainer = config.trainer
    by = ranking(trainer.keep, config.task.headline)
    values = values_by_step(read_metrics(workdir / "metrics.jsonl"), trainer.eval_split, by.metric)
    found = best_steps(steps, values, by, 1)
    if not found:
        have = ", ".join(map(str, steps)) or "no checkpoint"
        raise CheckpointError(
            f"{workdir} has no best checkpoint: none of those there ({have}) was evaluated by "
            f"{by.metric!r} on {trainer.eval_split!r}. Give --step=N, or evaluate at the steps "
            "that are saved (trainer.eval_every, checkpoint_every)."
        )
    return found[0]


class Retention:
    """The rule of a run, applied to what its metrics say by now."""

    def __init__(self, keep: KeepConfig, headline: Headline, split: str):
        """Takes the rule.

        Args:
          keep: the rule.
          headline: the task's.
          split: the split that is evaluated.

        Raises:
          ConfigError: see `checkpoints.evaluations.ranking`.
        """
        self._keep = keep
        self._split = split
        self.ranking = ranking(keep, headline)
        self._complained = False
        self.entries: Sequence[Mapping[str, Any]] = ()  # Of metrics.jsonl; the loop sets it.

    def __call__(self, steps: Sequence[int]) -> set[int]:
        """Returns which of `steps` stay."""
        values = values_by_step(self.entries, self._split, self.ranking.metric)
        return kept_steps(steps, values, self._keep, self.ranking)

    def complaint(self) -> str | None:
        """Says, once, if evaluations do not have the metric that the rule names."""
        if self._complained:
            return None
        evaluations = [entry for entry in self.entries if entry["split"] == self._split]
        if not self._keep.best or not evaluations or self.ranking.metric in evaluations[-1]:
            return None
        self._complained = True
        names = [name for name in evaluations[-1] if name not in ("step", "split", "timing")]
        return (
            f"trainer.keep.metric={self.ranking.metric!r} is not among the metrics of the "
            f"evaluation ({', '.join(names)}), so no checkpoint is kept as the best one. Stop the "
            "run, and start it again with --config.trainer.keep.metric=NAME; nothing is lost."
        )
