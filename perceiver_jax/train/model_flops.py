"""How many operations a training step is worth, and which share of the devices' peak that is.

Model FLOP utilisation as PaLM defines it (Chowdhery et al. 2022, App. B): the operations that the
model's mathematics asks for, forward and backward, over what the devices could have done in that
time. A backward pass is two forward passes, so an example costs three; what a program computes
once more to save memory counts for nothing. The forward pass is counted in its traced program, by
the rules of `report/flops.py`.

Three forward passes are a convention and an upper bound: no gradient is needed for the pixels that
the first cross-attend reads, nor for parameters that are frozen.
"""

from functools import partial
from typing import Any

import jax

from perceiver_jax.report.flops import count_flops, total
from perceiver_jax.tasks.base import Batch, Task, training_batch
from perceiver_jax.train.peak import peak_flops
from perceiver_jax.train.state import Model, TrainState
from perceiver_jax.zoo import Model as Perceiver

PASSES = 3  # One forward, and a backward that is worth two.


def step_flops(model: Model, task: Task, state: TrainState, batch: Batch) -> int | None:
    """Counts the operations of a training step, without running anything.

    Args:
      model: the model.
      task: says what of a batch the model sees.
      state: the training state, or its shapes.
      batch: the arrays of what a step reads, over all devices, or their shapes.

    Returns:
      The operations; None for a model with a loop whose length is not known before it runs.
    """

    # What is counted is the definition, and not the operations that a route saves or adds.
    if isinstance(model, Perceiver):
        model = model.plain()

    # One example stands for all of them.
    def one(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype)

    def shapes(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)

    def forward(params: Any, model_state: Any, key: jax.Array, example: Batch) -> Any:
        apply = partial(model.apply, is_training=True)
        return task.model_inputs(example).feed(apply, params, model_state, key)

    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = jax.eval_shape(partial(training_batch, task), shapes(dict(batch)), key)
    batch_size = jax.tree.leaves(batch)[0].shape[0]
    example = jax.tree.map(one, dict(batch))
    try:
        counted = count_flops(
            forward, shapes(state.params), shapes(state.model_state), key, example
        )
    except ValueError:
        return None
    return PASSES * total(counted).total * batch_size


def devices_peak(compute_dtype: str = "float32") -> float | None:
    """Operations a second that all devices together reach at best; None if not known."""
    kinds = [device.device_kind for device in jax.devices()]
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    peaks = [peak_flops(kind, compute_dtype, precision) for kind in kinds]
    return None if None in peaks else sum(peak for peak in peaks if peak is not None)
