"""Attention by our Pallas kernels, on TPUs.

JAX ships two flash attentions for TPUs. Ours is a third because theirs want more than a cross-
attend has: one demands values as wide as keys, both that all lengths and widths are padded and
heads moved in front; one lists all tiles of the mask on the host, and both read masks as segments.

The kernels are compiled for TPU v4 to 7x by `tools/compile_for_tpu.py`, and their values are tested
on a CPU. They have not been run, or timed, on a TPU.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.model.kernels.sizes_tpu import tile_sizes


def declines(
    *,
    qk_width: int,
    v_width: int,
    dtype: Any,
    backend: str,
    dropout: bool = False,
    weights_wanted: bool = False,
) -> tuple[str, ...]:
    """Says why the kernels do not apply; empty where they do.

    Args:
      qk_width: channels of a head's queries and keys.
      v_width: channels of a head's values.
      dtype: that of queries, keys and values.
      backend: platform of the devices, as `jax.default_backend()` names it.
      dropout: whether attention weights are dropped.
      weights_wanted: whether somebody looks at the attention weights.
    """
    dtype = jnp.dtype(dtype)
    reasons = []
    if backend != "tpu":
        reasons.append(f"the Pallas kernels run on TPUs, and this is a {backend}")
    if dtype not in (jnp.float32, jnp.bfloat16):
        reasons.append(f"the Pallas kernels take float32 or bfloat16, not {dtype.name}")
    elif tile_sizes(qk_width, v_width, dtype.itemsize) is None:
        reasons.append(
            f"heads of {qk_width} and {v_width} channels in {dtype.name} do not fit a TPU core's "
            "memory"
        )
    if dropout:
        reasons.append("the Pallas kernels do not drop attention weights")
    if weights_wanted:
        reasons.append("the Pallas kernels do not give the attention weights")
    return tuple(reasons)


def attend_pallas(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None = None,  # [b, q, k]; 1 or True = attend
    *,
    query_mask: jax.Array | None = None,  # [b, q]
    key_mask: jax.Array | None = None,  # [b, k]
    scale: float | None = None,
    batch: NamedSharding | None = None,
    interpret: Any = False,
) -> jax.Array:  # [b, q, h * d_v]
    """The attended values of `attend`, without dropout. Memory grows with q + k, not q x k.

    Heads that share their keys and values, as folded projections make them, are more queries of
    one head: [b, q * h, 1, c].

    Differentiable once, in reverse mode. Gradients that nobody asks for are not computed where the
    caller is compiled: neither those of the queries, nor those of keys and values.

    Args:
      queries: see `attend`, as for the next two.
      keys: see `attend`.
      values: see `attend`.
      mask: which query may attend to which key. The kernels read all of it, once a head.
      query_mask: which queries attend, and
      key_mask: which keys are attended to: together, a mask that is a product of the two, for a
        small part of the memory traffic. Not with `mask`.
      scale: what scores are multiplied by; None: d_qk^-0.5.
      batch: how the first axis is split over devices, as `Execution.batch` says; a compiler cannot
        split a kernel by itself.
      interpret: computes on any platform, slowly, as `pallas_call` does: for tests.

    Raises:
      ValueError: both `mask` and one of its factors are given, or heads are too wide.
    """
    if mask is not None and (query_mask is not None or key_mask is not None):
        raise ValueError("attend_pallas() takes a mask or its factors, not both.")
    num_queries, qk_width = queries.shape[1], queries.shape[-1]
    attends = None  # Which queries have a key: [b, q or 1].
    if mask is None and key_mask is not None:
        mask = key_mask[:, None, :]
    if mask is not None:
        attends = (mask != 0).any(axis=-1)
    if query_mask is not None:
        attends = (query_mask != 0) if attends is None else (query_mask != 0) & attends

    flash = functools.partial(_flash, interpret=interpret)
    if batch is not None:
        spec = PartitionSpec(batch.spec[0])
        flash = jax.shard_map(
            flash, mesh=batch.mesh, in_specs=spec, out_specs=spec, check_vma=False
        )
    attended = flash(queries * (qk_width**-0.5 if scale is None else scale), keys, values, mask)
    if attends is not None:
        attended = jnp.where(attends[:, :, None, None], attended, 0)
    return attended.reshape(attended.shape[0], num_queries, -1)


def _flash(
    queries: jax.Array,  # [b, q, h, d_qk], scaled
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None,  # [b, 1 or q, k]
    *,
    interpret: Any,
) -> jax.Array:  # [b, q, h, d_v]
    # Pallas takes a while to import, so only who uses it does.
    from perceiver_jax.model.kernels import flash_tpu

    @jax.custom_vjp
    def flash(
        queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
    ) -> jax.Array:
        return flash_tpu.forward(queries, keys, values, mask, interpret=interpret)[0]

    def forward(
        queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        attended, logsumexp = flash_tpu.forward(queries, keys, values, mask, interpret=interpret)
        return attended, (queries, keys, values, mask, attended, logsumexp)

    def backward(residuals: tuple[Any, ...], cotangent: jax.Array) -> tuple[Any, ...]:
        queries, keys, values, mask, attended, logsumexp = residuals
        expected = jnp.einsum(
            "bqhd,bqhd->bhq", attended, cotangent, preferred_element_type=jnp.float32
        )
        gradients = flash_tpu.backward(
            queries, keys, values, mask, logsumexp, expected, cotangent, interpret=interpret
        )
        return *gradients, None

    flash.defvjp(forward, backward)
    return flash(queries, keys, values, mask)
