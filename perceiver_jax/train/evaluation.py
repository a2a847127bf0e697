"""Evaluation over a whole split, every example exactly once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.loader import Arrays, CorruptCount, Shard, eval_batches
from perceiver_jax.data.source import Source
from perceiver_jax.errors import CheckpointError
from perceiver_jax.tasks.base import Mean
from perceiver_jax.train.agreement import AllProcesses, on_process_zero
from perceiver_jax.train.assemble import Parts, assemble
from perceiver_jax.train.config import ExperimentConfig, Select
from perceiver_jax.train.initial import initial_state
from perceiver_jax.train.mesh import put_batch
from perceiver_jax.train.result import selected_checkpoint
from perceiver_jax.train.retention import best_checkpoint
from perceiver_jax.train.state import Model, TrainState
from perceiver_jax.train.step import EvalStep
from perceiver_jax.train.workdir import read_config


def evaluate(
    eval_step: EvalStep,
    state: TrainState,
    batches: Iterable[Arrays],
    mesh: Mesh,
    *,
    num_examples: int,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float] | None:
    """Returns the means over all batches, by name.

    Sums are added up in float64 on the host, in the order of the batches. If examples had to be
    left out because they are corrupt, "left_out" says how many, over all processes.

    Args:
      eval_step: from `make_eval_step`.
      state: what to evaluate.
      batches: from `eval_batches`.
      mesh: the devices.
      num_examples: how many the split has.
      stop: asked after every batch; where it says yes, the result is None.
    """
    sums: dict[str, np.ndarray] = {}  # [total, weight] by name
    waiting: dict[str, Mean] = {}
    for batch in batches:
        # The next batch is on its way before the last one's sums are waited for.
        placed = put_batch(batch, mesh)
        dispatched = {**eval_step(state, placed), _COUNTED: _count(placed["mask"])}
        _add(sums, waiting)
        waiting = dispatched
        if stop():
            return None
    _add(sums, waiting)
    counted = int(sums.pop(_COUNTED)[0]) if sums else 0
    means = {name: float(total / weight) for name, (total, weight) in sums.items() if weight}
    return {**means, "left_out": num_examples - counted} if counted < num_examples else means


_COUNTED = "examples counted"  # No metric has this name.


@jax.jit
def _count(mask: jax.Array) -> Mean:  # [B], over all devices and processes
    return Mean.of(mask)


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
      report: takes messages for the user.

    Returns:
      "name", "step", "split", "examples" and the metrics; without `step` also "select", which
      says whether the checkpoint is the "last" or was selected by its score on "test".

    Raises:
      UserError: no such run, checkpoint or split.
    """
    config = read_config(workdir)
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
    return {
        "name": config.name,
        "step": step,
        **selected,
        **_evaluate_split(parts, state, split, source, report),
    }


def evaluate_weights(
    config: ExperimentConfig,
    checkpoint: str | Path,
    *,
    split: str | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Evaluates weights that any program saved, on the data and the task of an experiment.

    Args:
      config: the experiment; its model must be that of the weights.
      checkpoint: see `perceiver_jax.load_checkpoint`.
      split: which split; None is the one that the experiment evaluates.
      report: takes messages for the user.

    Returns:
      "name", "checkpoint", "split", "examples" and the metrics.

    Raises:
      UserError: no such checkpoint or split, or the weights are of another model.
    """
    split = split or config.trainer.eval_split
    source = config.data.make_source(split)
    parts = assemble(config, evaluated=(split, source))
    state = initial_state(parts, checkpoint, for_training=False, report=report)
    return {
        "name": config.name,
        "checkpoint": str(checkpoint),
        **_evaluate_split(parts, state, split, source, report),
    }


def _evaluate_split(
    parts: Parts, state: TrainState, split: str, source: Source, report: Callable[[str], None]
) -> dict[str, Any]:
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
    metrics = evaluate(eval_step, state, batches, parts.mesh, num_examples=len(source))
    assert metrics is not None  # nothing asks it to stop
    return {"split": split, "examples": len(source), **metrics}
