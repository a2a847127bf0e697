"""Attention that never holds all its weights: the streamed route.

The softmax runs over parts of the keys with a running maximum and sum, for parts of the queries,
and the backward pass computes the weights again from what the forward pass leaves: the attended
values and the log of each query's sum. (Milakov and Gimelshein, arXiv:1805.02867; Rabe and Staats,
arXiv:2112.05682; Dao et al., arXiv:2205.14135.) Memory grows with queries + keys, not with their
product. Where one part covers everything there is no loop, which is how latent towers use it.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.model import attention
from perceiver_jax.model.linear import LINEAR

# Bytes of the weights that are held at a time: of one head on CPUs, where heads take turns, and of
# all examples and heads elsewhere.
CPU_CHUNK_BYTES = 16 * 2**20
ACCELERATOR_CHUNK_BYTES = 128 * 2**20
# Heads, of all examples, up to which a CPU's program has a copy of the computation for each.
# Beyond it is a loop, which compiles in the time of one.
MAX_UNROLLED_HEADS = 16

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
      query_chunk: queries at a time; None: by `chunk_sizes`, as the next.
      key_chunk: keys at a time.

    Raises:
      ValueError: the shapes do not fit each other, or a chunk is empty.
    """
    _check(queries, keys, values, mask, query_chunk, key_chunk)
    batch, num_queries, num_heads, width = queries.shape
    if mask is not None:
        mask = mask.astype(bool)
    queries = queries * width**-0.5
    attended = _attend(query_chunk, key_chunk, queries, keys, values, mask)
    return attended.reshape(batch, num_queries, num_heads * values.shape[-1])


def chunk_sizes(
    num_queries: int, num_keys: int, num_heads: int, max_bytes: int
) -> tuple[int, int]:  # Queries and keys at a time.
    """Parts whose float32 weights, for `num_heads` heads, take at most `max_bytes`.

    The shorter of queries and keys stays whole if it can: then each input is read once. Parts
    that divide their axis are preferred, since others have to be masked.
    """
    area = max(max_bytes // (4 * num_heads), 1)
    if num_queries * num_keys <= area:
        return num_queries, num_keys
    side = max(int(area**0.5), 1)
    if num_queries <= num_keys:
        query_chunk = _part(num_queries, side)
        return query_chunk, _part(num_keys, max(area // query_chunk, 1))
    key_chunk = _part(num_keys, side)
    return _part(num_queries, max(area // key_chunk, 1)), key_chunk


def _part(length: int, most: int) -> int:
    """A size of at most `most`: a divisor of `length` if one is near, or the most even size."""
    if length <= most:
        return length
    for size in range(most, most * 3 // 4, -1):
        if length % size == 0:
            return size
    return -(-length // -(-length // most))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attend(
    query_chunk: int | None,
    key_chunk: int | None,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: Mask,
) -> jax.Array:
    return _attend_forward(query_chunk, key_chunk, queries, keys, values, mask)[0]


def _attend_forward(
    query_chunk: int | None,
    key_chunk: int | None,
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: Mask,
) -> tuple[jax.Array, tuple[Arrays, Mask]]:
    arrays = (queries, keys, values)
    results = _for_every_head(_head_forward, (query_chunk, key_chunk), arrays, mask)
    # Kept wherever the results of linear layers are: recomputation then ends before the scores.
    attended, log_sum = (checkpoint_name(x, LINEAR) for x in results)
    return attended, ((*arrays, attended, log_sum), mask)


def _attend_backward(
    query_chunk: int | None,
    key_chunk: int | None,
    residuals: tuple[Arrays, Mask],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    (queries, keys, values, attended, log_sum), mask = residuals
    # The derivative of the softmax takes this away from each weight's derivative.
    wide = log_sum.dtype
    shift = jnp.sum(attended.astype(wide) * cotangent.astype(wide), axis=-1, keepdims=True)
    arrays = (queries, keys, values, log_sum, shift, cotangent)
    dq, dk, dv = _for_every_head(_head_backward, (query_chunk, key_chunk), arrays, mask)
    return dq, dk, dv, None


_attend.defvjp(_attend_forward, _attend_backward)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """Overlapping parts of one size that cover an axis, of which each owns what none before has."""

    length: int  # Of the axis.
    size: int  # Of a part.

    @property
    def number(self) -> int:
        return -(-self.length // self.size)

    def start(self, index: jax.Array) -> jax.Array:
        """Where a part begins: the last one ends with the axis, whatever it repeats for that."""
        return jnp.minimum(index * self.size, self.length - self.size)

    def take(
        self, x: jax.Array, index: jax.Array
    ) -> jax.Array:  # [n or 1, ...] -> [size or 1, ...]
        """A part of an array; one row stands for all."""
        if self.number == 1 or x.shape[0] != self.length:
            return x
        return lax.dynamic_slice_in_dim(x, self.start(index), self.size, axis=0)

    def put(self, x: jax.Array, part: jax.Array, index: jax.Array) -> jax.Array:
        """The array with a part of it replaced."""
        if self.number == 1:
            return part
        return lax.dynamic_update_slice_in_dim(x, part, self.start(index), axis=0)

    def owned(self, index: jax.Array) -> jax.Array | None:  # [size]
        """Which of a part's rows no part before it has; None: all, in every part."""
        if self.length % self.size == 0:
            return None
        return self.start(index) + jnp.arange(self.size) >= index * self.size


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """The parts of queries and keys that are computed one after the other."""

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

    def scores(
        self, queries: jax.Array, keys: jax.Array, mask: Mask, i: jax.Array, j: jax.Array
    ) -> jax.Array:  # [q', d], [k', d] -> [q', k']
        """The scores of a pair of parts: minus infinity where they may not attend."""
        scores = _product(queries, keys, 1, 1)
        allowed = None
        if mask is not None:
            allowed = self.keys.take(self.queries.take(mask, i).T, j).T
        for owned in (
            None if (x := self.queries.owned(i)) is None else x[:, None],
            self.keys.owned(j),
        ):
            if owned is not None:
                allowed = owned if allowed is None else allowed & owned
        return scores if allowed is None else jnp.where(allowed, scores, -jnp.inf)


def _head_forward(
    tiles: _Tiles,
    queries: jax.Array,  # [q, d_qk]; scaled
    keys: jax.Array,  # [k, d_qk]
    values: jax.Array,  # [k, d_v]
    *,
    mask: Mask,  # [q or 1, k or 1]
) -> Arrays:  # [q, d_v], [q, 1]
    """The attended values, and the log of the sum of each query's weights.

    The log is infinite for a query without any key: its weights then are zero again.
    """
    wide = jnp.promote_types(queries.dtype, jnp.float32)
    num_queries = queries.shape[0]
    start = (
        jnp.full((num_queries, 1), _LOWEST, wide),
        jnp.zeros((num_queries, 1), wide),
        jnp.zeros((num_queries, values.shape[-1]), wide),
    )

    def step(i: jax.Array, j: jax.Array, state: Arrays) -> Arrays:
        scores = tiles.scores(tiles.queries.take(queries, i), tiles.keys.take(keys, j), mask, i, j)
        before, total, attended = (tiles.queries.take(x, i) for x in state)
        highest = jnp.maximum(before, jnp.max(scores, axis=-1, keepdims=True))
        weights = jnp.exp(scores - highest)
        read = _product(weights.astype(values.dtype), tiles.keys.take(values, j), 1, 0)
        sums = weights.sum(axis=-1, keepdims=True)
        if tiles.number == 1:
            return highest, sums, read
        kept = jnp.exp(before - highest)
        new = (highest, total * kept + sums, attended * kept + read)
        return tuple(tiles.queries.put(x, part, i) for x, part in zip(state, new, strict=True))

    highest, total, attended = tiles.loop(step, start)
    if mask is None:
        return (attended / total).astype(values.dtype), highest + jnp.log(total)
    none = total == 0
    total = jnp.where(none, 1.0, total)
    log_sum = jnp.where(none, jnp.inf, highest + jnp.log(total))
    return (attended / total).astype(values.dtype), log_sum


def _head_backward(
    tiles: _Tiles,
    queries: jax.Array,  # [q, d_qk]; scaled
    keys: jax.Array,  # [k, d_qk]
    values: jax.Array,  # [k, d_v]
    log_sum: jax.Array,  # [q, 1]
    shift: jax.Array,  # [q, 1]
    cotangent: jax.Array,  # [q, d_v]
    *,
    mask: Mask,  # [q or 1, k or 1]
) -> Arrays:  # [q, d_qk], [k, d_qk], [k, d_v]
    """The gradients of queries, keys and values."""
    parts = (tiles.queries, tiles.keys, tiles.keys)
    arrays = (queries, keys, values)

    def step(i: jax.Array, j: jax.Array, state: Arrays) -> Arrays:
        q, log_sum_q, shift_q, cotangent_q = (
            tiles.queries.take(x, i) for x in (queries, log_sum, shift, cotangent)
        )
        k, v = tiles.keys.take(keys, j), tiles.keys.take(values, j)
        weights = jnp.exp(tiles.scores(q, k, mask, i, j) - log_sum_q)
        by_weights = _product(cotangent_q, v, 1, 1)
        by_scores = (weights * (by_weights - shift_q)).astype(q.dtype)
        new = (
            _product(by_scores, k, 1, 0),
            _product(by_scores, q, 0, 0),
            _product(weights.astype(v.dtype), cotangent_q, 0, 0),
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
    """The product of two matrices over an axis of each, added up in float32 at least."""
    return lax.dot_general(
        x,
        y.astype(x.dtype),
        dimension_numbers=(((x_axis,), (y_axis,)), ((), ())),
        preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )


def _for_every_head(
    head: Callable[..., Arrays],
    chunks: tuple[int | None, int | None],
    arrays: Arrays,  # [b, n, h, d]; queries and keys first
    mask: Mask,  # [b or 1, q or 1, k or 1]
) -> Arrays:  # [b, n, h, d]
    """Calls `head(tiles, *arrays, mask=mask)` with [n, d] and [q or 1, k or 1]."""
    batch, num_queries, num_heads, _ = arrays[0].shape
    num_keys = arrays[1].shape[1]

    def tiles(heads: int, max_bytes: int) -> _Tiles:
        sizes = chunk_sizes(num_queries, num_keys, heads, max_bytes)
        q, k = (
            size if given is None else min(given, length)
            for given, size, length in zip(chunks, sizes, (num_queries, num_keys), strict=True)
        )
        return _Tiles(_Parts(num_queries, q), _Parts(num_keys, k))

    def one_by_one(arrays: Arrays, mask: Mask) -> Arrays:
        # CPUs copy what batched products multiply, and are slow at those of one head's size.
        parts = tiles(1, CPU_CHUNK_BYTES)
        masks = None if mask is None else jnp.broadcast_to(mask, (batch, *mask.shape[1:]))
        if batch * num_heads <= (MAX_UNROLLED_HEADS if parts.number == 1 else 1):
            results = [
                head(
                    parts,
                    *(x[b, :, h] for x in arrays),
                    mask=None if masks is None else masks[b],
                )
                for b in range(batch)
                for h in range(num_heads)
            ]
            stacked = tuple(jnp.stack(x) for x in zip(*results, strict=True))
        else:
            heads = tuple(x.swapaxes(1, 2).reshape(-1, *x.shape[1::2]) for x in arrays)
            stacked = lax.map(
                lambda x: head(
                    parts, *x[1:], mask=None if masks is None else masks[x[0] // num_heads]
                ),
                (jnp.arange(batch * num_heads), *heads),
            )
        return tuple(x.reshape(batch, num_heads, *x.shape[1:]).swapaxes(1, 2) for x in stacked)

    def together(arrays: Arrays, mask: Mask) -> Arrays:
        parts = tiles(batch * num_heads, ACCELERATOR_CHUNK_BYTES)

        def of_example(arrays: Arrays, mask: Mask) -> Arrays:
            return jax.vmap(partial(head, parts, mask=mask), in_axes=1, out_axes=1)(*arrays)

        if mask is not None and mask.shape[0] == 1 != batch:
            return jax.vmap(lambda *x: of_example(x, mask[0]))(*arrays)
        return jax.vmap(of_example)(arrays, mask)

    return lax.platform_dependent(arrays, mask, cpu=one_by_one, default=together)


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
