"""Attention as three Pallas kernels for TPUs, whose weights never leave the chip's memory.

The method is FlashAttention's (Dao et al. 2022, Algorithm 1; the backward pass as in Dao 2023,
Algorithm 2): tiles of keys pass by a tile of queries, which keeps the highest score and the sum of
weights that it has seen; the backward pass makes the weights again from their logsumexp.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from perceiver_jax.model.kernels.sizes_tpu import LANES
from perceiver_jax.model.kernels.tiles_tpu import Tiled

# Score of a masked key: finite, so that a tile without any key is free of NaN.
MASKED_SCORE = -1e30

Array = jax.Array
Ref = Any  # A reference to a block in the chip's memory; Pallas has no public type for it.


def forward(
    queries: Array,  # [b, q, h, d_qk], scaled
    keys: Array,  # [b, k, h, d_qk]
    values: Array,  # [b, k, h, d_v]
    mask: Array | None,  # [b, 1 or q, k]; 0 or False = not there
    *,
    interpret: Any = False,
) -> tuple[Array, Array]:  # [b, q, h, d_v], [b, h, q]
    """Attended values, and the logsumexp of each query's scores in float32.

    A query without any key gets a mean of values: the caller makes it zero.
    """
    tiled = Tiled(queries, keys, values, mask)
    attended, logsumexp = tiled.run(
        _forward_kernel,
        grid=("queries", "keys"),
        inputs=("queries", "keys", "values", "mask"),
        arrays=(tiled.queries, tiled.keys, tiled.values, tiled.mask),
        outputs=(("queries_of_v", values.dtype), ("rows", jnp.float32)),
        scratch=((1,), (1,), (tiled.v_width,)),
        products=(1, 1),
        interpret=interpret,
    )
    return tiled.cut(attended, queries.shape[1], values.shape[-1]), tiled.cut_rows(logsumexp)


def backward(
    queries: Array,  # [b, q, h, d_qk], scaled
    keys: Array,  # [b, k, h, d_qk]
    values: Array,  # [b, k, h, d_v]
    mask: Array | None,  # [b, 1 or q, k]
    logsumexp: Array,  # [b, h, q]
    expected: Array,  # [b, h, q]
    cotangent: Array,  # [b, q, h, d_v]
    *,
    interpret: Any = False,
) -> tuple[Array, Array, Array]:  # as `queries`, `keys`, `values`
    """Gradients of `forward`.

    Args:
      queries: as `forward` had them, like the next three.
      keys: see `queries`.
      values: see `queries`.
      mask: see `queries`.
      logsumexp: what `forward` gave.
      expected: the inner product of each attended vector with its cotangent, in float32.
      cotangent: of the attended values.
      interpret: see `attend_pallas`.
    """
    tiled = Tiled(queries, keys, values, mask)
    statistics = (tiled.pad_rows(logsumexp), tiled.pad_rows(expected))
    padded = tiled.pad(cotangent, tiled.num_queries)
    arrays = (tiled.queries, tiled.keys, tiled.values, tiled.mask, *statistics, padded)
    inputs = ("queries", "keys", "values", "mask", "rows", "rows", "queries_of_v")
    # Two kernels, because each adds up over the other's outer axis. Where only one's result is
    # used, as for inputs that need no gradient, the other is not run.
    (d_queries,) = tiled.run(
        _queries_kernel,
        grid=("queries", "keys"),
        inputs=inputs,
        arrays=arrays,
        outputs=(("queries", queries.dtype),),
        scratch=((tiled.qk_width,),),
        products=(2, 1),
        interpret=interpret,
    )
    d_keys, d_values = tiled.run(
        _keys_kernel,
        grid=("keys", "queries"),
        inputs=inputs,
        arrays=arrays,
        outputs=(("keys", keys.dtype), ("values", values.dtype)),
        scratch=((tiled.qk_width,), (tiled.v_width,)),
        products=(2, 2),
        interpret=interpret,
    )
    return (
        tiled.cut(d_queries, queries.shape[1], queries.shape[-1]),
        tiled.cut(d_keys, keys.shape[1], keys.shape[-1]),
        tiled.cut(d_values, values.shape[1], values.shape[-1]),
    )


# What follows runs on the chip, one tile of the outer axis after the other: there, an array is a
# tile. Statistics of queries are columns beside scores, and rows in memory, where a column would
# take the room of a full vector register for each number.


def _dot(a: Array, b: Array, axes: tuple[int, int], precision: lax.Precision) -> Array:
    """The product of two tiles over one axis of each, added up in float32."""
    return lax.dot_general(
        a,
        b,
        (((axes[0],), (axes[1],)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )


def _row(column: Array) -> Array:  # [n, 1] -> [1, n]
    return jnp.broadcast_to(column, (column.shape[0], LANES)).T[:1]


def _column(row: Array) -> Array:  # [1, n] -> [n, 1]
    return jnp.broadcast_to(row, (LANES, row.shape[1])).T[:, :1]


def _scores(
    queries: Array, keys: Array, mask_ref: Ref | None, precision: lax.Precision
) -> Array:  # [q, k]
    scores = _dot(queries, keys, (1, 1), precision)
    if mask_ref is None:
        return scores
    return jnp.where(mask_ref[...].astype(jnp.int32) != 0, scores, MASKED_SCORE)


def _forward_kernel(
    queries_ref: Ref,  # [q, d_qk]
    keys_ref: Ref,  # [k, d_qk]
    values_ref: Ref,  # [k, d_v]
    mask_ref: Ref | None,  # [1 or q, k]
    attended_ref: Ref,  # [q, d_v]
    logsumexp_ref: Ref,  # [1, q]
    highest_ref: Ref,  # [q, 1]: the highest score so far
    total_ref: Ref,  # [q, 1]: the sum of the weights so far, relative to the highest score
    sum_ref: Ref,  # [q, d_v]: the sum of the weighted values so far, likewise
    *,
    steps: int,
    precision: lax.Precision,
) -> None:
    step = pl.program_id(3)

    @pl.when(step == 0)
    def start() -> None:
        highest_ref[...] = jnp.full(highest_ref.shape, MASKED_SCORE)
        total_ref[...] = jnp.zeros(total_ref.shape)
        sum_ref[...] = jnp.zeros(sum_ref.shape)

    scores = _scores(queries_ref[...], keys_ref[...], mask_ref, precision)
    before = highest_ref[...]
    highest = jnp.maximum(before, scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - highest)
    shrink = jnp.exp(before - highest)
    values = values_ref[...]
    highest_ref[...] = highest
    total_ref[...] = shrink * total_ref[...] + weights.sum(axis=-1, keepdims=True)
    sum_ref[...] = shrink * sum_ref[...] + _dot(
        weights.astype(values.dtype), values, (1, 0), precision
    )

    @pl.when(step == steps - 1)
    def end() -> None:
        attended_ref[...] = (sum_ref[...] / total_ref[...]).astype(attended_ref.dtype)
        logsumexp_ref[...] = _row(highest_ref[...] + jnp.log(total_ref[...]))


def _weights(
    inputs: Sequence[Ref], precision: lax.Precision
) -> tuple[Array, Array]:  # [q, k], [q, k]
    """The attention weights, and the gradient of the scores, from a backward kernel's inputs."""
    queries_ref, keys_ref, values_ref, mask_ref, logsumexp_ref, expected_ref, cotangent_ref = inputs
    scores = _scores(queries_ref[...], keys_ref[...], mask_ref, precision)
    weights = jnp.exp(scores - _column(logsumexp_ref[...]))
    d_weights = _dot(cotangent_ref[...], values_ref[...], (1, 1), precision)
    return weights, weights * (d_weights - _column(expected_ref[...]))


def _queries_kernel(*refs: Ref, steps: int, precision: lax.Precision) -> None:
    *inputs, d_queries_ref, sum_ref = refs
    keys = inputs[1][...]
    step = pl.program_id(3)

    @pl.when(step == 0)
    def start() -> None:
        sum_ref[...] = jnp.zeros(sum_ref.shape)

    _, d_scores = _weights(inputs, precision)
    sum_ref[...] += _dot(d_scores.astype(keys.dtype), keys, (1, 0), precision)

    @pl.when(step == steps - 1)
    def end() -> None:
        d_queries_ref[...] = sum_ref[...].astype(d_queries_ref.dtype)


def _keys_kernel(*refs: Ref, steps: int, precision: lax.Precision) -> None:
    *inputs, d_keys_ref, d_values_ref, keys_sum_ref, values_sum_ref = refs
    queries, cotangent = inputs[0][...], inputs[-1][...]
    step = pl.program_id(3)

    @pl.when(step == 0)
    def start() -> None:
        keys_sum_ref[...] = jnp.zeros(keys_sum_ref.shape)
        values_sum_ref[...] = jnp.zeros(values_sum_ref.shape)

    weights, d_scores = _weights(inputs, precision)
    values_sum_ref[...] += _dot(weights.astype(cotangent.dtype), cotangent, (0, 0), precision)
    keys_sum_ref[...] += _dot(d_scores.astype(queries.dtype), queries, (0, 0), precision)

    @pl.when(step == steps - 1)
    def end() -> None:
        d_keys_ref[...] = keys_sum_ref[...].astype(d_keys_ref.dtype)
        d_values_ref[...] = values_sum_ref[...].astype(d_values_ref.dtype)
