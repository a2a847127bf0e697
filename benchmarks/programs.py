"""What is computed of a model: its outputs, or its loss and gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from perceiver_jax import zoo

Trees = Any  # Of arrays.
Points = Mapping[str, Any] | None  # By modality, indices of the outputs to compute; None: all.


def loss(outputs: Trees, targets: Trees) -> jax.Array:
    """Cross-entropy where targets are classes, mean square elsewhere; the sum over all outputs."""

    def one(output: jax.Array, target: jax.Array) -> jax.Array:
        if jnp.issubdtype(target.dtype, jnp.integer):
            chosen = jnp.take_along_axis(output, target[..., None], axis=-1)[..., 0]
            return jnp.mean(jax.nn.logsumexp(output, axis=-1) - chosen)
        return jnp.mean(jnp.square(output - target))

    return sum(jax.tree.leaves(jax.tree.map(one, outputs, targets)), jnp.zeros(()))


def forward(model: zoo.Model) -> Callable[..., Trees]:
    """A function of (params, state, inputs, points): the outputs, in evaluation."""

    def run(params: Trees, state: Trees, inputs: tuple, points: Points) -> Trees:
        return model.apply(params, state, None, *inputs, subsampled_output_points=points)[0]

    return run


def training(model: zoo.Model, points: Points, how: zoo.Execution) -> Callable[..., Trees]:
    """A function of (params, state, key, inputs, targets): the loss and its gradients for params.

    Args:
      model: the model.
      points: outputs that the loss is of.
      how: what is computed again in the backward pass.
    """

    def of(params: Trees, state: Trees, key: jax.Array, inputs: tuple, targets: Trees) -> jax.Array:
        outputs = model.apply(
            params,
            state,
            key,
            *inputs,
            is_training=True,
            subsampled_output_points=points,
            execution=how,
        )[0]
        return loss(outputs, targets)

    return jax.value_and_grad(of)


def decode(model: zoo.Model) -> Callable[..., Trees]:
    """A function of (params, state, encoded, points): the outputs of what was encoded."""

    def run(params: Trees, state: Trees, encoded: zoo.Encoded, points: Points) -> Trees:
        return model.decode(params, state, encoded, subsampled_output_points=points)

    return run
