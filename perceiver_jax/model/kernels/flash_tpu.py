"""Attention as three Pallas kernels for TPUs, whose weights never leave the chip's memory.

The method is FlashAttention's (Dao et al. 2022, Algorithm 1; the backward pass as in Dao 2023,
Algorithm 2): tiles of keys pass by a tile of queries, which keeps the highest score and the sum of
weights that it has seen; the backward pass makes the weights again from their logsumexp.

Heads lie side by side in the last axis, [b, index, h * d], where a block picks one. That is the
order in which linear layers write them, so nothing is transposed.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES = 128  # Numbers in a row of a vector register: last axes are padded to multiples of it.
SUBLANES = 32  # Rows that the registers of the smallest dtype, int8, have: likewise, next to last.
# Score of a masked key: finite, so that a tile without any key is free of NaN.
MASKED_SCORE = -1e30
# Queries and keys that a tile may have, best first. Keys pass by queries, so more queries at a time
# means fewer readings of all keys; 512 by 512 scores are 1 MiB.
TILE_SIZES = ((512, 512), (512, 256), (256, 256), (256, 128), (128, 128))
# Memory that a kernel may use of the 16 MiB that XLA lets it have by default.
TILE_BYTES = 12 * 2**20

Array = jax.Array
Ref = Any  # A reference to a block in the chip's memory; Pallas has no public type for it.


def round_up(size: int, multiple: int) -> int:
    """The least multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def tile_sizes(qk_width: int, v_width: int, itemsize: int) -> tuple[int, int] | None:
    """How many queries and keys are in a tile at most; None where the smallest does not fit.

    Args:
      qk_width: channels of a head's queries and keys.
      v_width: channels of a head's values.
      itemsize: bytes of a number.
    """
    channels = round_up(qk_width, LANES) + round_up(v_width, LANES)
    for num_queries, num_keys in TILE_SIZES:
        # Each backward kernel reads queries, keys, values and a cotangent. It holds them twice, to
        # copy one while it uses the other, and its result likewise, besides the float32 sum of it.
        inputs = 2 * (num_queries + num_keys) * channels * itemsize
        outputs = max(num_queries, num_keys) * channels * (2 * itemsize + 4)
        scores = 4 * num_queries * num_keys * 4
        if inputs + outputs + scores <= TILE_BYTES:
            return num_queries, num_keys
    return None


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
    call = _Call(queries, keys, values, mask)
    attended, logsumexp = call(
        _forward_kernel,
        grid=("queries", "keys"),
        inputs=("queries", "keys", "values", "mask"),
        arrays=(call.queries, call.keys, call.values, call.mask),
        outputs=(("queries_of_v", values.dtype), ("rows", jnp.float32)),
        scratch=((1,), (1,), (call.v_width,)),
        matmuls=2,
        interpret=interpret,
    )
    return call.cut(attended, queries.shape[1], values.shape[-1]), call.cut_rows(logsumexp)


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
    call = _Call(queries, keys, values, mask)
    arrays = (
        *(call.queries, call.keys, call.values, call.mask),
        *(call.pad_rows(logsumexp), call.pad_rows(expected), call.pad(cotangent, call.num_queries)),
    )
    inputs = ("queries", "keys", "values", "mask", "rows", "rows", "queries_of_v")
    # Two kernels, because each adds up over the other's outer axis. Where only one's result is
    # used, as for inputs that need no gradient, the other is not run.
    (d_queries,) = call(
        _queries_kernel,
        grid=("queries", "keys"),
        inputs=inputs,
        arrays=arrays,
        outputs=(("queries", queries.dtype),),
        scratch=((call.qk_width,),),
        matmuls=3,
        interpret=interpret,
    )
    d_keys, d_values = call(
        _keys_kernel,
        grid=("keys", "queries"),
        inputs=inputs,
        arrays=arrays,
        outputs=(("keys", keys.dtype), ("values", values.dtype)),
        scratch=((call.qk_width,), (call.v_width,)),
        matmuls=4,
        interpret=interpret,
    )
    return (
        call.cut(d_queries, queries.shape[1], queries.shape[-1]),
        call.cut(d_keys, keys.shape[1], keys.shape[-1]),
        call.cut(d_values, values.shape[1], values.shape[-1]),
    )


class _Call:
    """The arguments of a kernel as it reads them, and where each block of them is."""

    def __init__(self, queries: Array, keys: Array, values: Array, mask: Array | None):
        self.batch, self.true_queries, self.heads, _ = queries.shape
        num_keys = keys.shape[1]
        most = tile_sizes(queries.shape[-1], values.shape[-1], queries.dtype.itemsize)
        if most is None:
            raise ValueError(
                f"Heads of {queries.shape[-1]} and {values.shape[-1]} channels do not fit a "
                "kernel's memory; use attention='streamed'."
            )
        self.query_tile, self.num_queries = _tiles(self.true_queries, most[0], SUBLANES)
        self.key_tile, self.num_keys = _tiles(num_keys, most[1], LANES)
        if self.num_keys > num_keys and mask is None:
            mask = jnp.ones((self.batch, 1, num_keys), bool)
        self.mask = None
        if mask is not None:
            # One mask a query is as large as all scores, so it has the smallest dtype.
            rows = 1 if mask.shape[1] == 1 else self.num_queries
            missing = ((0, 0), (0, rows - mask.shape[1]), (0, self.num_keys - num_keys))
            self.mask = jnp.pad((mask != 0).astype(jnp.int32 if rows == 1 else jnp.int8), missing)
        self.queries = self.pad(queries, self.num_queries)
        self.keys = self.pad(keys, self.num_keys)
        self.values = self.pad(values, self.num_keys)
        self.qk_width = self.queries.shape[-1] // self.heads
        self.v_width = self.values.shape[-1] // self.heads

    def pad(self, x: Array, length: int) -> Array:  # [b, n, h, d] -> [b, length, h * d']
        """Adds zeros: to the length, and to each head's channels unless there is one head."""
        width = x.shape[-1] if self.heads == 1 else round_up(x.shape[-1], LANES)
        x = jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, width - x.shape[-1])))
        return x.reshape(self.batch, length, self.heads * width)

    def cut(self, x: Array, length: int, width: int) -> Array:  # the reverse of `pad`
        return x.reshape(self.batch, x.shape[1], self.heads, -1)[:, :length, :, :width]

    def pad_rows(self, x: Array) -> Array:  # [b, h, q] -> [b, h, tiles, 1, q / tiles]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, self.num_queries - self.true_queries)))
        return x.reshape(self.batch, self.heads, -1, 1, self.query_tile)

    def cut_rows(self, x: Array) -> Array:  # the reverse of `pad_rows`
        return x.reshape(self.batch, self.heads, -1)[:, :, : self.true_queries]

    def __call__(
        self,
        kernel: Any,
        *,
        grid: tuple[str, str],
        inputs: tuple[str, ...],
        arrays: tuple[Array | None, ...],
        outputs: tuple[tuple[str, Any], ...],
        scratch: tuple[tuple[int], ...],
        matmuls: int,
        interpret: Any,
    ) -> tuple[Array, ...]:
        """Runs `kernel` for every example, head and tile of the grid's outer axis.

        Args:
          kernel: the kernel.
          grid: what the tiles of the outer and of the inner axis are of.
          inputs: the kind of block of each of `arrays`.
          arrays: the inputs.
          outputs: the kind of block and the dtype of each output.
          scratch: the widths of the float32 sums, as long as a tile of the outer axis.
          matmuls: products with a tile of scores that the kernel computes, for the estimate.
          interpret: see `attend_pallas`.
        """
        tiles = {"queries": self.query_tile, "keys": self.key_tile}
        lengths = {"queries": self.num_queries, "keys": self.num_keys}
        steps = {axis: lengths[axis] // tiles[axis] for axis in grid}

        def tile(axis: str, at: tuple[Any, ...]) -> Any:
            """Which tile of an axis is at a place of the grid."""
            return at[grid.index(axis)]

        def block(kind: str) -> tuple[pl.BlockSpec | None, tuple[int, ...]]:
            """The blocks of an array, and its shape."""
            if kind == "mask":
                if self.mask is None:
                    return None, ()
                one = self.mask.shape[1] == 1
                spec = pl.BlockSpec(
                    (None, 1 if one else tiles["queries"], tiles["keys"]),
                    lambda b, h, *at: (b, 0 if one else tile("queries", at), tile("keys", at)),
                )
                return spec, self.mask.shape
            if kind == "rows":
                spec = pl.BlockSpec(
                    (None, None, None, 1, self.query_tile),
                    lambda b, h, *at: (b, h, tile("queries", at), 0, 0),
                )
                num_tiles = self.num_queries // self.query_tile
                return spec, (self.batch, self.heads, num_tiles, 1, self.query_tile)
            axis, width = {
                "queries": ("queries", self.qk_width),
                "queries_of_v": ("queries", self.v_width),
                "keys": ("keys", self.qk_width),
                "values": ("keys", self.v_width),
            }[kind]
            spec = pl.BlockSpec(
                (None, tiles[axis], width), lambda b, h, *at: (b, tile(axis, at), h)
            )
            return spec, (self.batch, lengths[axis], self.heads * width)

        scores = self.batch * self.heads * self.num_queries * self.num_keys
        out_blocks = [block(kind) for kind, _ in outputs]
        return pl.pallas_call(
            functools.partial(kernel, steps=steps[grid[1]], precision=_precision(self.queries)),
            grid=(self.batch, self.heads, steps[grid[0]], steps[grid[1]]),
            in_specs=[block(kind)[0] for kind in inputs],
            out_specs=[spec for spec, _ in out_blocks],
            out_shape=[
                jax.ShapeDtypeStruct(shape, dtype)
                for (_, shape), (_, dtype) in zip(out_blocks, outputs, strict=True)
            ],
            scratch_shapes=[pltpu.VMEM((tiles[grid[0]], *width), jnp.float32) for width in scratch],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
            ),
            cost_estimate=pl.CostEstimate(
                flops=matmuls * scores * (self.qk_width + self.v_width),
                transcendentals=scores,
                bytes_accessed=sum(x.nbytes for x in arrays if x is not None),
            ),
            interpret=interpret,
            name=kernel.__name__.strip("_"),
        )(*arrays)


def _tiles(length: int, most: int, multiple: int) -> tuple[int, int]:
    """The size of a tile, and the length filled up to a number of them, all nearly full."""
    tile = round_up(-(-length // -(-length // most)), multiple)
    return tile, round_up(length, tile)


def _precision(x: Array) -> lax.Precision:
    """The precision of products; kernels know but two of `jax_default_matmul_precision`'s."""
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    fast = (None, "default", "bfloat16", "fastest")
    if x.dtype == jnp.float32 and named not in fast:
        return lax.Precision.HIGHEST
    return lax.Precision.DEFAULT


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
