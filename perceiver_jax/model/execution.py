"""How a model is computed, as opposed to what it computes: precision, recomputation, placement.

Nothing here changes parameters, their names, or a result by more than rounding, so none of it is
part of a model's config. The trainer chooses, and `zoo.Model.apply(..., execution=...)` hands it to
the modules that are running, which read it with `current`.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import haiku as hk
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.model.byte_array import ByteArray
from perceiver_jax.model.linear import LINEAR

# What the backward pass computes again instead of keeping it from the forward pass:
#   'none'            nothing;
#   'cross_attends'   cross-attends, with their MLPs;
#   'layers'          every attention layer: only the latents between them are kept;
#   'keep_linear'     every attention layer, but for the results of its linear layers.
Remat = Literal["none", "cross_attends", "layers", "keep_linear"]
Layer = Callable[..., jax.Array]  # (array, ...) -> array, inside a Haiku transform.


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a model is computed. The default leaves everything to the arrays and the compiler."""

    # Dtype of what lies between inputs and outputs: 'bfloat16', or None for that of the arrays.
    # Parameters keep their own dtype and are rounded where they are used. Norms, softmax, positions
    # and everything that makes inputs of the encoder or outputs of the decoder stay in float32.
    compute_dtype: Literal["bfloat16"] | None = None
    remat: Remat = "none"  # What the backward pass computes again.
    # Where the first axis of activations lies; None: where the compiler puts it. Without this, it
    # may split channels where parameters are split, and send activations around for that.
    batch: NamedSharding | None = None

    def __post_init__(self) -> None:
        if self.remat not in get_args(Remat):
            raise ValueError(f"remat={self.remat!r} must be one of {', '.join(get_args(Remat))}.")
        if self.compute_dtype not in (None, "bfloat16"):
            raise ValueError(f"compute_dtype={self.compute_dtype!r} must be 'bfloat16' or None.")

    def enter(self, x: jax.Array) -> jax.Array:  # [b, ...]
        """Turns an array into an activation: in the dtype of computing, and in its place."""
        if self.compute_dtype is not None and jnp.issubdtype(x.dtype, jnp.floating):
            x = x.astype(self.compute_dtype)
        return self.place(x)

    def enter_inputs(self, inputs: ByteArray) -> ByteArray:  # [b, m, c]
        """Turns the inputs into activations; what all examples share is on all devices."""
        if self.compute_dtype is not None:
            inputs = inputs.astype(jnp.dtype(self.compute_dtype))
        return inputs.map_content(self.place)

    def enter_latents(self, latents: jax.Array) -> jax.Array:  # [1, n, d]
        """Turns the initial latents, which all examples share, into activations."""
        return latents if self.compute_dtype is None else latents.astype(self.compute_dtype)

    def leave(self, x: jax.Array) -> jax.Array:  # [b, ...]
        """Turns an activation into a result, in float32."""
        return x if self.compute_dtype is None else x.astype(jnp.float32)

    def place(self, x: jax.Array) -> jax.Array:  # [b, ...]
        """Keeps an activation split by examples, and by nothing else."""
        if self.batch is None:
            return x
        spec = PartitionSpec(*self.batch.spec, *(None,) * (x.ndim - 1))
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.batch.mesh, spec))

    def examples_here(self, batch_size: int) -> int:
        """How many examples of a batch each device has."""
        return max(batch_size // self._batch_shards, 1)

    @property
    def head_shards(self) -> int:
        """How many devices the heads of an example are split over."""
        return 1 if self.batch is None else self.batch.mesh.size // self._batch_shards

    @property
    def _batch_shards(self) -> int:
        if self.batch is None:
            return 1
        axes = self.batch.spec[0] or ()
        axes = (axes,) if isinstance(axes, str) else axes
        return math.prod(self.batch.mesh.shape[axis] for axis in axes)

    def wrap(self, layer: Layer, *, is_cross_attend: bool) -> Layer:
        """Returns a layer that does the same, recomputed in the backward pass if so chosen.

        While parameters are made there is no backward pass, and the layer is left as it is.
        """
        if self.remat == "none" or hk.running_init():
            return layer
        if self.remat == "cross_attends" and not is_cross_attend:
            return layer
        policy = None
        if self.remat == "keep_linear":
            policy = jax.checkpoint_policies.save_only_these_names(LINEAR)
        return hk.remat(layer, policy=policy)


_current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar(
    "perceiver_jax_execution", default=None
)


def current() -> Execution:
    """How the model that is running is computed."""
    return _current.get() or Execution()


@contextlib.contextmanager
def running(execution: Execution) -> Iterator[None]:
    """Models that run inside are computed as `execution` says."""
    token = _current.set(execution)
    try:
        yield
    finally:
        _current.reset(token)
