"""Attention that never holds all its weights: the streamed route.

The softmax runs over parts of the keys with a running maximum and sum, for parts of the queries,
and the backward pass computes the weights again from what the forward pass leaves: the attended
values and the log of each query's sum. (Milakov and Gimelshein, arXiv:1805.02867; Rabe and Staats,
arXiv:2112.05682; Dao et al., arXiv:2205.14135.) Memory grows with queries + keys, not with their
product. Latent towers use it on CPUs too, for the sake of caches: a few heads at a time.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.model import attention
from perceiver_jax.model.linear import LINEAR

# Bytes of the weights that are held at a time: on CPUs of all examples, as much as stays in a
# cache, but never less than the second of each example.
CPU_CHUNK_BYTES = 4 * 2**20
MIN_CPU_CHUNK_BYTES = 256 * 2**10
# Elsewhere of each example, since examples are split over devices and run at once.
ACCELERATOR_CHUNK_BYTES = 64 * 2**20

# Where no key has been seen yet. Finite, so that the difference of two of them is a number.
_LOWEST = -1e30

Mask = jax.Array | None
Arrays = tuple[jax.Array, ...]


def attend_streamed(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: Mask = None,  # [b or 1, q or 1, k or 1]; 1 or True = attend
    *,
    query_chunk: int | None = None,
    key_chunk: int | None = None,
    head_shards: int = 1,
) -> jax.Array:  # [b, q, h * d_v]
    """The attended values of `attention.attend`, without dropout, for parts of queries and keys.

    Softmax and sums are in float32; products are taken in the dtype of the inputs. Differentiable
    in reverse mode; no value behind a mask reaches the output or a gradient.

    Args:
      queries: what each query looks for.
      keys: what each key offers, as wide per head as `queries`.
      values: what is read from each key.
      mask: which query may attend to which key. An axis of size 1 stands for all of that axis, and
        is never repeated.
      query_chunk: queries at a time; None: all, or by `chunk_sizes` where the next is None too.
      key_chunk: keys at a time; likewise.
      head_shards: number of devices that heads are split over.

    Raises:
      ValueError: the shapes do not fit each other, or a chunk is empty.
    """
    _check(queries, keys, values, mask, query_chunk, key_chunk)
    batch, num_queries, num_heads, width = queries.shape
    chunks = _Chunks(query_chunk, key_chunk, head_shards if num_heads % head_shards == 0 else 1)
    if mask is not None:
        mask = mask.astype(bool)
    queries = queries * width**-0.5
    attended = _attend(chunks, queries, keys, values, mask)
    return attended.reshape(batch, num_queries, num_heads * values.shape[-1])


def chunk_sizes(
    num_queries: int, num_keys: int, num_heads: int, max_bytes: int, head_shards: int = 1
) -> tuple[int, int, int]:  # Heads, queries and keys at a time.
    """Parts whose float32 weights, of one example on one device, take at most `max_bytes`.

    Heads are split first, since they need nothing from each other; but where they lie on several
    devices (`head_shards`), each takes part at any time, or they would have to meet. Then the
    shorter of queries and keys stays whole if it can, so that each input is read once. Parts that
    divide their axis are preferred, since others have to be masked.
    """
    area = max(max_bytes // 4, 1)
    for heads in range(num_heads, 0, -head_shards):
        if num_heads % heads == 0 and heads // head_shards * num_queries * num_keys <= area:
            return heads, num_queries, num_keys
    side = max(int(area**0.5), 1)
    if num_queries <= num_keys:
        query_chunk = _part(num_queries, side)
        return head_shards, query_chunk, _part(num_keys, max(area // query_chunk, 1))
    key_chunk = _part(num_keys, side)
    return head_shards, _part(num_queries, max(area // key_chunk, 1)), key_chunk


def _part(length: int, most: int) -> int:
    """A size of at most `most`: a divisor of `length` if one is near, or the most even size."""
    if length <= most:
        return length
    for size in range(most, most * 3 // 4, -1):
        if length % size == 0:
            return size
    return -(-length // -(-length // most))


class _Chunks(NamedTuple):
    """What the caller says of the chunks; see `attend_streamed`."""

    queries: int | None
    keys: int | None
    head_shards: int


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
    chunks: _Chunks,
    queries: jax.Array,  # [b, q, h, d_qk]; scaled
    keys: jax.Array,
    values: jax.Array,
    mask: Mask,
) -> jax.Array:  # [b, q, h, d_v]
    return _attend_forward(chunks, queries, keys, values, mask)[0]


def _attend_forward(
    chunks: _Chunks,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: Mask,
) -> tuple[jax.Array, tuple[Arrays, Mask]]:
    # Products want each head's matrices in one piece; CPUs would copy them for every product.
    arrays = tuple(x.swapaxes(1, 2) for x in (queries, keys, values))
    attended, log_sum = _by_chunks(_forward, chunks, arrays, mask)
    # Kept wherever the results of linear layers are: recomputation then ends before the scores.
    attended = checkpoint_name(attended.swapaxes(1, 2), LINEAR)
    log_sum = checkpoint_name(log_sum, LINEAR)
    return attended, ((*arrays, attended, log_sum), mask)


def _attend_backward(
    chunks: _Chunks,
    residuals: tuple[Arrays, Mask],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    (queries, keys, values, attended, log_sum), mask = residuals
    # The derivative of the softmax takes this away from each weight's derivative.
    shift = attended.astype(log_sum.dtype) * cotangent.astype(log_sum.dtype)
    batch, num_queries, num_heads, width = shift.shape
    # Three axes: XLA's CPU backend is ten times slower at the same sum over four.
    shift = shift.reshape(-1, num_heads, width).sum(axis=-1)
    shift = shift.reshape(batch, num_queries, num_heads).swapaxes(1, 2)
    arrays = (queries, keys, values, log_sum, shift, cotangent.swapaxes(1, 2))
    gradients = _by_chunks(_backward, chunks, arrays, mask)
    dq, dk, dv = (x.swapaxes(1, 2) for x in gradients)
    return dq, dk, dv, None


_attend.defvjp(_attend_forward, _attend_backward)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Parts of one size that cover an axis; the last may overlap the one before."""

    length: int  # Of the axis.
    size: int  # Of a part.

    @property
    def number(self) -> int:
        return -(-self.length // self.size)

    def start(self, index: jax.Array) -> jax.Array:
        """Where a part begins: the last one ends with the axis, whatever it repeats for that."""
        return jnp.minimum(index * self.size, self.length - self.size)

    def take(self, x: jax.Array, index: jax.Array, axis: int = 2) -> jax.Array:
        """A part of an array; an axis of size 1 stands for all."""
        if self.number == 1 or x.shape[axis] != self.length:
            return x
        return lax.dynamic_slice_in_dim(x, self.start(index), self.size, axis)

    def put(self, x: jax.Array, part: jax.Array, index: jax.Array) -> jax.Array:
        """The array with a part of it replaced."""
        return lax.dynamic_update_slice_in_dim(x, part, self.start(index), axis=2)

    def new(self, index: jax.Array) -> jax.Array | None:  # [size]
        """What of a part no part before it has; None: all, in every part."""
        if self.length % self.size == 0:
            return None
        return self.start(index) + jnp.arange(self.size) >= index * self.size


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """Pairs of parts of queries and of keys, computed one after the other."""

    queries: _Parts
    keys: _Parts

    @property
    def number(self) -> int:
        return self.queries.number * self.keys.number

    def loop(self, step: Callable[[jax.Array, jax.Array, Arrays], Arrays], start: Arrays) -> Arrays:
        """Calls `step` with the indices of each pair of parts."""
        if self.number == 1:
            zero = jnp.zeros((), jnp.int32)
            return step(zero, zero, start)
        # With a known number of steps it is differentiable again.
        return lax.fori_loop(
            0, self.number, lambda t, x: step(t // self.keys.number, t % self.keys.number, x), start
        )

    def allowed(self, mask: Mask, i: jax.Array, j: jax.Array) -> Mask:  # [b or 1, 1, q', k']
        """Where the queries of part i may attend to the keys of part j, each pair but once."""
        allowed = None
        if mask is not None:
            allowed = self.keys.take(self.queries.take(mask, i, 2), j, 3)
        for new, axes in ((self.queries.new(i), (0, 1, 3)), (self.keys.new(j), (0, 1, 2))):
            if new is not None:
                new = jnp.expand_dims(new, axes)
                allowed = new if allowed is None else allowed & new
        return allowed


def _forward(
    tiles: _Tiles,
    mask: Mask,  # [b or 1, 1, q or 1, k or 1]
    queries: jax.Array,  # [b, h, q, d_qk]; scaled
    keys: jax.Array,  # [b, h, k, d_qk]
    values: jax.Array,  # [b, h, k, d_v]
) -> Arrays:  # [b, h, q, d_v], [b, h, q]
    """The attended values, and the log of the sum of each query's weights.

    The log is infinite for a query without any key: its weights are zero then, whenever they are
    computed from it.
    """
    wide = jnp.promote_types(queries.dtype, jnp.float32)
    rows = (*queries.shape[:3], 1)
    start = (
        jnp.full(rows, _LOWEST, wide),
        jnp.zeros(rows, wide),
        jnp.zeros((*queries.shape[:3], values.shape[-1]), wide),
    )

    def step(i: jax.Array, j: jax.Array, state: Arrays) -> Arrays:
        scores = _product(tiles.queries.take(queries, i), tiles.keys.take(keys, j), 3, 3)
        allowed = tiles.allowed(mask, i, j)
        if allowed is not None:
            scores = jnp.where(allowed, scores, -jnp.inf)
        before, total, attended = (tiles.queries.take(x, i) for x in state)
        highest = jnp.maximum(before, scores.max(axis=-1, keepdims=True))
        weights = jnp.exp(scores - highest)
        sums = weights.sum(axis=-1, keepdims=True)
        read = _product(weights.astype(values.dtype), tiles.keys.take(values, j), 3, 2)
        if tiles.number == 1:
            return highest, sums, read
        kept = jnp.exp(before - highest)
        new = (highest, total * kept + sums, attended * kept + read)
        return tuple(tiles.queries.put(x, part, i) for x, part in zip(state, new, strict=True))

    highest, total, attended = tiles.loop(step, start)
    if mask is None:
        log_sum = highest + jnp.log(total)
    else:
        none = total == 0
        total = jnp.where(none, 1.0, total)
        log_sum = jnp.where(none, jnp.inf, highest + jnp.log(total))
    attended = (attended / total).astype(values.dtype)
    return attended, log_sum[..., 0]


def _backward(
    tiles: _Tiles,
    mask: Mask,  # [b or 1, 1, q or 1, k or 1]
    queries: jax.Array,  # [b, h, q, d_qk]; scaled
    keys: jax.Array,  # [b, h, k, d_qk]
    values: jax.Array,  # [b, h, k, d_v]
    log_sum: jax.Array,  # [b, h, q]
    shift: jax.Array,  # [b, h, q]
    cotangent: jax.Array,  # [b, h, q, d_v]
) -> Arrays:  # [b, h, q, d_qk], [b, h, k, d_qk], [b, h, k, d_v]
    """The gradients of queries, keys and values.

    Weights are made with the keys first, [b, h, k, q]: then no product contracts the first axes of
    both its matrices, which is twice as slow on CPUs.
    """
    parts = (tiles.queries, tiles.keys, tiles.keys)
    arrays = (queries, keys, values)

    def step(i: jax.Array, j: jax.Array, state: Arrays) -> Arrays:
        q, log_sum_q, shift_q, cotangent_q = (
            tiles.queries.take(x, i) for x in (queries, log_sum, shift, cotangent)
        )
        k, v = tiles.keys.take(keys, j), tiles.keys.take(values, j)
        scores = _product(k, q, 3, 3)
        allowed = tiles.allowed(mask, i, j)
        if allowed is not None:
            scores = jnp.where(allowed.swapaxes(2, 3), scores, -jnp.inf)
        weights = jnp.exp(scores - log_sum_q[:, :, None])
        by_weights = _product(v, cotangent_q, 3, 3)
        by_scores = (weights * (by_weights - shift_q[:, :, None])).astype(q.dtype)
        new = (
            _product(k, by_scores, 2, 2).swapaxes(2, 3),
            _product(by_scores, q, 3, 2),
            _product(weights.astype(v.dtype), cotangent_q, 3, 2),
        )
        if tiles.number == 1:
            return new
        return tuple(
            p.put(x, p.take(x, t) + part, t)
            for p, x, part, t in zip(parts, state, new, (i, j, j), strict=True)
        )

    start: Arrays = ()
    if tiles.number > 1:
        start = tuple(jnp.zeros(x.shape, log_sum.dtype) for x in arrays)
    gradients = tiles.loop(step, start)
    return tuple(g.astype(x.dtype) for g, x in zip(gradients, arrays, strict=True))


def _product(x: jax.Array, y: jax.Array, x_axis: int, y_axis: int) -> jax.Array:
    """Each head's product over an axis of two [b, h, ., .], added up in float32 at least."""
    return lax.dot_general(
        x,
        y.astype(x.dtype),
        dimension_numbers=(((x_axis,), (y_axis,)), ((0, 1), (0, 1))),
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )


def _by_chunks(
    compute: Callable[..., Arrays],
    chunks: _Chunks,
    arrays: Arrays,  # [b, h, n, ...]; queries and keys first
    mask: Mask,  # [b or 1, q or 1, k or 1]
) -> Arrays:  # [b, h, n, ...]
    """Calls `compute(tiles, mask, *arrays)` with the chunks of the platform."""
    batch, num_heads, num_queries = arrays[0].shape[:3]
    num_keys = arrays[1].shape[2]
    if mask is not None:
        mask = mask[:, None]

    def run(sizes: tuple[int, int, int], mask: Mask, *arrays: jax.Array) -> Arrays:
        heads, *parts = sizes
        lengths = (num_queries, num_keys)
        tiles = _Tiles(*(_Parts(*x) for x in zip(lengths, parts, strict=True)))
        if heads == num_heads:
            return compute(tiles, mask, *arrays)

        # [b, h, ...] -> [h / heads, b, heads, ...]. Examples stay together, and a group has heads
        # from all over: both may lie on several devices.
        grouped = tuple(
            jnp.moveaxis(x.reshape(batch, heads, num_heads // heads, *x.shape[2:]), 2, 0)
            for x in arrays
        )
        results = lax.map(lambda x: compute(tiles, mask, *x), grouped)
        return tuple(jnp.moveaxis(x, 0, 2).reshape(batch, num_heads, *x.shape[3:]) for x in results)

    def sizes(max_bytes: int) -> tuple[int, int, int]:
        if chunks.queries is None and chunks.keys is None:
            return chunk_sizes(num_queries, num_keys, num_heads, max_bytes, chunks.head_shards)
        return (
            num_heads,
            min(chunks.queries or num_queries, num_queries),
            min(chunks.keys or num_keys, num_keys),
        )

    on_cpu = sizes(max(CPU_CHUNK_BYTES // batch, MIN_CPU_CHUNK_BYTES))
    elsewhere = sizes(ACCELERATOR_CHUNK_BYTES)
    if on_cpu == elsewhere:
        return run(on_cpu, mask, *arrays)
    return lax.platform_dependent(
        mask, *arrays, cpu=partial(run, on_cpu), default=partial(run, elsewhere)
    )


def _check(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: Mask,
    query_chunk: int | None,
    key_chunk: int | None,
) -> None:
    attention.check_shapes(queries, keys, values, mask)
    for name, size in (("query_chunk", query_chunk), ("key_chunk", key_chunk)):
        if size is not None and size < 1:
            raise ValueError(f"{name}={size} must be at least 1, or None.")
