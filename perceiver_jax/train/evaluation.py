"""Evaluation over a whole split, every example exactly once.

Metrics that are means are added up batch by batch. What a task collects of each example
(`tasks.base.Collects`) comes from all devices to process 0, which keeps it until the end and then
makes metrics of it for all: 20,000 recordings of AudioSet, with 527 scores and labels each, take
53 MB of its memory.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.loader import Arrays, CorruptCount, Shard, eval_batches
from perceiver_jax.data.source import Source, ids_digest
from perceiver_jax.errors import CheckpointError
from perceiver_jax.tasks.base import Collects, Mean, Task
from perceiver_jax.train import per_class as per_class_lib
from perceiver_jax.train.agreement import AllProcesses, on_process_zero
from perceiver_jax.train.assemble import Parts, assemble
from perceiver_jax.train.config import ExperimentConfig, Select
from perceiver_jax.train.initial import initial_state
from perceiver_jax.train.mesh import put_batch
from perceiver_jax.train.result import selected_checkpoint
from perceiver_jax.train.retention import best_checkpoint
from perceiver_jax.train.state import Model, TrainState
from perceiver_jax.train.step import MASK, Collected, EvalStep
from perceiver_jax.train.workdir import read_config


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """What an evaluation found."""

    metrics: dict[str, float]  # By name; the same on all processes.
    # [classes] values by name, if the task makes some: on process 0, None on the others.
    per_class: Mapping[str, np.ndarray] | None = None


def evaluate(
    eval_step: EvalStep,
    state: TrainState,
    batches: Iterable[Arrays],
    mesh: Mesh,
    *,
    num_examples: int,
    task: Task | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluated | None:
    """Evaluates all batches.

    Sums are added up in float64 on the host, in the order of the batches. If examples had to be
    left out because they are corrupt, "left_out" says how many, over all processes.

    Args:
      eval_step: from `make_eval_step`.
      state: what to evaluate.
      batches: from `eval_batches`.
      mesh: the devices.
      num_examples: how many the split has.
      task: makes metrics of what it has collected; None: nothing was.
      stop: asked after every batch; where it says yes, the result is None.
    """
    sums: dict[str, np.ndarray] = {}  # [total, weight] by name
    waiting: tuple[dict[str, Mean], Collected] = ({}, {})
    kept: list[Arrays] = []
    for batch in batches:
        # The next batch is on its way before the last one's sums are waited for.
        placed = put_batch(batch, mesh)
        means, collected = eval_step(state, placed)
        _add(sums, waiting[0])
        _keep(kept, waiting[1])
        waiting = {**means, _COUNTED: _count(placed["mask"])}, collected
        if stop():
            return None
    _add(sums, waiting[0])
    _keep(kept, waiting[1])
    counted = int(sums.pop(_COUNTED)[0]) if sums else 0
    metrics = {name: float(total / weight) for name, (total, weight) in sums.items() if weight}
    per_class = None
    if sums and isinstance(task, Collects):
        more, per_class = _summarize(task, kept)
        metrics |= more
    if counted < num_examples:
        metrics["left_out"] = num_examples - counted
    return Evaluated(metrics, per_class)


_COUNTED = "examples counted"  # No metric has this name.


@jax.jit
def _count(mask: jax.Array) -> Mean:  # [B], over all devices and processes
    return Mean.of(mask)


def _keep(kept: list[Arrays], collected: Collected) -> None:
    """Adds what was collected of a batch, but for its padding, on process 0."""
    if not collected or jax.process_index() != 0:
        return
    arrays = jax.device_get(collected)
    is_real = arrays.pop(MASK) > 0  # [B]
    kept.append({name: array[is_real] for name, array in arrays.items()})


def _summarize(
    task: Collects, kept: list[Arrays]
) -> tuple[dict[str, float], Mapping[str, np.ndarray] | None]:
    """Returns the metrics, on all processes, and the values by class, on process 0."""
    per_class = None

    def summarize() -> dict[str, float]:
        nonlocal per_class
        whole = {name: np.concatenate([each[name] for each in kept]) for name in kept[0]}
        summary = task.summarize(whole)
        per_class = summary.per_class
        return summary.metrics

    return on_process_zero(summarize), per_class


def _add(sums: dict[str, np.ndarray], means: dict[str, Mean]) -> None:
    for name, mean in jax.device_get(means).items():
        pair = np.array([mean.total, mean.weight], np.float64)
        sums[name] = sums.get(name, np.zeros(2)) + pair


def evaluate_checkpoint(
    workdir: str | Path,
    *,
    step: int | Literal["best"] | None = None,
    split: str | None = None,
    model: Model | None = None,
    per_class: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluates a checkpoint of a run.

    Args:
      workdir: the run's work directory; it is not changed, and the run may go on meanwhile.
      step: which checkpoint; None is the newest, or with `evaluation.select=test` the best; "best"
        is the best one by the evaluations that the run has done and by the metric of
        `trainer.keep`.
      split: which split; None is the one that the run evaluates.
      model: used in place of the one that the config describes.
      per_class: a file for the values of single classes; None: they are not written.
      changes: of the run's config, by dotted name; see `workdir.read_config`.
      report: takes messages for the user.

    Returns:
      "name", "step", "split", "examples", with "ids" where the source knows a hash of theirs, and
      the metrics; without `step` also "select", which says whether the checkpoint is the "last" or
      was selected by its score on "test".

    Raises:
      UserError: no such run, checkpoint or split; a change that makes another experiment; or the
        task has no values of single classes.
    """
    config = read_config(workdir, changes)
    if per_class is not None:
        per_class_lib.check_wanted(per_class, config.task)
    split = split or config.trainer.eval_split
    source = config.data.make_source(split)
    parts = assemble(config, model, evaluated=(split, source))
    store = CheckpointStore(
        Path(workdir) / "checkpoints", read_only=True, report=report, processes=AllProcesses()
    )
    try:
        abstract = parts.state.abstract()
        selected: dict[str, Select] = {}
        # The run may go on meanwhile: two processes that look could find two answers.
        if step == "best":
            best = on_process_zero(lambda: best_checkpoint(config, Path(workdir), store.steps()))
            step = best
        elif step is None:
            if config.evaluation.select == "test":
                chosen = on_process_zero(
                    lambda: selected_checkpoint(config, Path(workdir), store.steps(), report)
                )
                step = chosen
            selected["select"] = "last" if step is None else "test"
        if step is not None:
            state = store.restore(step, abstract)
        else:
            restored = store.restore_latest(abstract)
            if restored is None:
                raise CheckpointError(
                    f"{workdir} has no checkpoint yet. Train first, or wait for the first one "
                    f"(every {config.trainer.checkpoint_every} steps)."
                )
            step, state = restored
    finally:
        store.close()
    facts = {"name": config.name, "step": step, **selected}
    return _evaluate_split(parts, state, split, source, facts, per_class, report)


def evaluate_weights(
    config: ExperimentConfig,
    checkpoint: str | Path,
    *,
    split: str | None = None,
    per_class: str | Path | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluates weights that any program saved, on the data and the task of an experiment.

    Args:
      config: the experiment; its model must be that of the weights.
      checkpoint: see `perceiver_jax.load_checkpoint`.
      split: which split; None is the one that the experiment evaluates.
      per_class: see `evaluate_checkpoint`.
      report: takes messages for the user.

    Returns:
      "name", "checkpoint", "split", "examples" and the metrics; "ids" as above.

    Raises:
      UserError: no such checkpoint or split, or the weights are of another model; or the task has
        no values of single classes.
    """
    if per_class is not None:
        per_class_lib.check_wanted(per_class, config.task)
    split = split or config.trainer.eval_split
    source = config.data.make_source(split)
    parts = assemble(config, evaluated=(split, source))
    state = initial_state(parts, checkpoint, for_training=False, report=report)
    facts = {"name": config.name, "checkpoint": str(checkpoint)}
    return _evaluate_split(parts, state, split, source, facts, per_class, report)


def _evaluate_split(
    parts: Parts,
    state: TrainState,
    split: str,
    source: Source,
    facts: Mapping[str, Any],
    per_class: str | Path | None,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Returns `facts`, which say what is evaluated, and what was found."""
    config = parts.config
    eval_step = parts.eval_step()
    batches = eval_batches(
        source,
        batch_size=config.trainer.eval_batch_size,
        shard=Shard.of_this_process(),
        threads=config.trainer.reader_threads,
        processes=config.trainer.reader_processes,
        prefetch=config.trainer.prefetch_batches,
        corrupt=CorruptCount(config.trainer.max_corrupt_examples, report),
        split=split,
    )
    found = evaluate(
        eval_step, state, batches, parts.mesh, num_examples=len(source), task=config.task
    )
    assert found is not None  # nothing asks it to stop
    facts = {**facts, "split": split}
    if per_class is not None and found.per_class:
        per_class_lib.write(per_class, per_class_lib.table(facts, found.per_class, config.data))
    return {**facts, "examples": len(source), **ids_digest(source), **found.metrics}
