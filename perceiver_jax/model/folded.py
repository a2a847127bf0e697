"""Attention over a byte array as it is: nothing projected over its elements, nothing written out.

With `x` an element, `LN(x) = scale * (x - mean) / std + offset`, one head of the keys' and values'
projections, and a query `q` (Perceiver IO, App. E.1):

    q . (W_k LN(x) + b_k)  =  (x . f) / std + constant of the row,   f = centred(scale * W_k^T q)
    sum_m w_m (W_v LN(x_m) + b_v)  =  W_v (scale * centred(sum_m w_m x_m / std_m) + offset) + b_v

`centred` takes the mean over the channels off, which stands for taking `mean` off `x`; the constant
vanishes in the softmax. So keys and values are the elements themselves, with the channels of
`byte_array.py`: the content of each element, and features of its row and of its column. Over the
latter, `x . f` of a whole grid is one product per row, one per column, and a sum for each element.

Elements are taken a few rows at a time with a running maximum and sum (Milakov & Gimelshein 2018;
Rabe & Staats 2021), and the derivative makes the weights again, so that neither attention weights
nor position features ever exist whole.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.model import execution
from perceiver_jax.model.byte_array import ByteArray, Grid, stacked
from perceiver_jax.model.layer_norm import EPS
from perceiver_jax.model.linear import LINEAR
from perceiver_jax.model.routes import rows_at_a_time

_NOTHING = -1e30  # Score of what may not be read, and the logarithm of no weight at all.


def read(
    queries: jax.Array,  # [b or 1, q, c]: f above, before it is centred
    inputs: ByteArray,  # [b, m, c]
    mask: jax.Array | None = None,  # [b or 1, m or 1]; 1 or True = may be read
) -> jax.Array:  # [b, q, c] float32
    """Reads from the normalised inputs, by weights that are a softmax over all of them.

    Args:
      queries: what each query looks for, in terms of the inputs' channels; 1 for b where queries do
        not depend on the example, whose features of rows and columns are then met only once.
      inputs: what is read, before its layer norm.
      mask: which inputs may be read.

    Returns:
      For each query the mean of the inputs, normalised without scale and offset, by its weights;
      zeros for an example without any input that may be read.
    """
    queries = centred(queries.astype(jnp.float32))
    if mask is not None:
        mask = jnp.broadcast_to(mask, (mask.shape[0], inputs.num_elements))
    found = [_read_grid(queries, grid, part) for grid, part in inputs.with_masks(mask)]
    if len(found) == 1:
        return centred(found[0][0])
    logs = jnp.stack([log for _, log in found])  # [grids, b, q]
    shares = jnp.exp(logs - jax.nn.logsumexp(logs, axis=0))
    return centred(sum(share[..., None] * x for share, (x, _) in zip(shares, found, strict=True)))


def centred(x: jax.Array) -> jax.Array:  # [..., c] -> [..., c]
    """Takes the mean over the channels off."""
    return x - x.mean(axis=-1, keepdims=True)


def _read_grid(
    queries: jax.Array, grid: Grid, mask: jax.Array | None
) -> tuple[jax.Array, jax.Array]:  # [b, q, c], and the logarithms of the sums [b, q]
    """Reads one grid: the sum over its elements of weight * x / std."""
    for_content, for_rows, for_columns, for_constant = grid.split(queries)
    columns = grid.columns.astype(jnp.float32)
    constant = grid.constant.astype(jnp.float32)
    by_column = for_columns @ columns.T + (for_constant @ constant)[..., None]  # [b or 1, q, k]
    variance = grid.moments()[1]  # The mean is what `centred` takes off.
    if mask is not None:
        mask = jnp.broadcast_to(mask.astype(bool), (variance.shape[0], mask.shape[1]))
        mask = mask.reshape(variance.shape)
    query = Query(for_content, for_rows, by_column)
    elements = Column(grid.content, grid.rows, jax.lax.rsqrt(variance + EPS), mask)
    reading, log_sum = _attend(query, elements)
    total = reading.by_column.sum(axis=-1, keepdims=True)
    parts = [reading.content, reading.rows, reading.by_column @ columns, total * constant]
    return grid.join(parts), log_sum


class Query(NamedTuple):
    """What queries look for in a grid, or what they have read there; float32."""

    content: jax.Array  # [b or 1, q, c_content]
    rows: jax.Array  # [b or 1, q, c_rows]
    by_column: jax.Array  # [b or 1, q, k]: a number for each column


class Column(NamedTuple):
    """Rows of a grid, without the features of its columns."""

    content: jax.Array  # [b, r, k, c_content]
    rows: jax.Array  # [r, c_rows]
    scale: jax.Array  # [b, r, k] float32: 1 / std
    mask: jax.Array | None  # [b, r, k] bool


def _cut(grid: Column, size: int) -> tuple[Column, Column | None]:
    """Rows in pieces of `size`, stacked in front, and the rows that are left."""
    num_rows = grid.rows.shape[0]
    whole = num_rows // size * size

    def left(x: jax.Array, axis: int) -> jax.Array:
        return jax.lax.slice_in_dim(x, whole, num_rows, axis=axis)

    def each(cut: Callable[[jax.Array, int], jax.Array]) -> Column:
        mask = None if grid.mask is None else cut(grid.mask, 1)
        return Column(cut(grid.content, 1), cut(grid.rows, 0), cut(grid.scale, 1), mask)

    pieces = each(lambda x, axis: stacked(x, size, axis))
    return pieces, None if whole == num_rows else each(left)


def _join(pieces: jax.Array, rest: jax.Array | None, axis: int) -> jax.Array:
    """The reverse of `_cut`, of one array."""
    x = jnp.moveaxis(pieces, 0, axis)
    x = x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])
    return x if rest is None else jnp.concatenate([x, rest], axis=axis)


def _scores(query: Query, grid: Column) -> jax.Array:
    """[b, q, r, k]: products of queries with elements, not yet divided by their std."""
    shared = jnp.einsum("bqc,rc->bqr", query.rows, grid.rows.astype(jnp.float32))
    shared = shared[..., None] + query.by_column[:, :, None, :]
    if not query.content.shape[-1]:
        return jnp.broadcast_to(shared, (grid.scale.shape[0], *shared.shape[1:]))
    content = jnp.broadcast_to(query.content, (grid.content.shape[0], *query.content.shape[1:]))
    return precise_product("bqc,brkc->bqrk", content, grid.content) + shared


def precise_product(spec: str, looked_for: jax.Array, content: jax.Array) -> jax.Array:
    """The einsum of float32 queries and content of any dtype, in float32.

    In half precision what rounding takes from the queries is multiplied too. Rounded queries are no
    longer centred, and would see the mean of each element, which may be far above its deviation.
    """
    rounded = looked_for.astype(content.dtype)
    product = jnp.einsum(spec, rounded, content, preferred_element_type=jnp.float32)
    if rounded.dtype == looked_for.dtype:
        return product
    rest = (looked_for - rounded.astype(looked_for.dtype)).astype(content.dtype)
    return product + jnp.einsum(spec, rest, content, preferred_element_type=jnp.float32)


def _collect(weights: jax.Array, grid: Column, *, shared: bool) -> Query:  # [b, q, r, k]
    """Sums elements by weights; over examples too where `shared`."""
    # Rows and columns by the same rounded weights: then what rounding makes of the elements' mean
    # is the same in all channels, and centring takes it off.
    rounded = weights.astype(grid.content.dtype)
    if grid.content.shape[-1]:
        weights = rounded.astype(jnp.float32)
    content = jnp.einsum(
        "bqrk,brkc->bqc", rounded, grid.content, preferred_element_type=jnp.float32
    )
    if shared:
        weights = weights.sum(axis=0, keepdims=True)
        content = content.sum(axis=0, keepdims=True)
    by_row = weights.sum(axis=3) if weights.shape[3] > 1 else weights[..., 0]
    by_column = weights.sum(axis=2) if weights.shape[2] > 1 else weights[:, :, 0]
    rows = jnp.einsum("bqr,rc->bqc", by_row, grid.rows.astype(jnp.float32))
    return Query(content, rows, by_column)


@jax.custom_vjp
def _attend(query: Query, grid: Column) -> tuple[Query, jax.Array]:
    """Attends from queries to the elements of a grid.

    Returns:
      The sums over elements of weight / std, times content, features of rows, and 1 by column; and
      the logarithm of the sum of the exponentiated scores [b, q].
    """
    return _forward(query, grid)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Notes:
    """What the backward pass is told that is known while tracing; no array."""

    rows: int  # Rows at a time.
    wanted: tuple[bool, bool, bool]  # Gradients of content, rows, and scale.
    sums_examples: bool  # Whether examples are added up before they meet rows.


def _rows(query: Query, grid: Column) -> int:
    batch, num_rows, columns, _ = grid.content.shape
    here = execution.current().examples_here(batch)
    return rows_at_a_time(here * query.content.shape[1] * columns, num_rows)


def _forward(query: Query, grid: Column) -> tuple[Query, jax.Array]:
    batch, num_queries = grid.content.shape[0], query.content.shape[1]

    def step(carry: Any, part: Column) -> Any:
        highest, total, found = carry
        scores = part.scale[:, None] * _scores(query, part)
        if part.mask is not None:
            scores = jnp.where(part.mask[:, None], scores, _NOTHING)
        new = jnp.maximum(highest, scores.max(axis=(2, 3)))
        weights = jnp.exp(scores - new[..., None, None])
        if part.mask is not None:
            weights = jnp.where(part.mask[:, None], weights, 0.0)
        more = _collect(weights * part.scale[:, None], part, shared=False)
        fade = jnp.exp(highest - new)
        total = fade * total + weights.sum(axis=(2, 3))
        found = jax.tree.map(lambda old, add: fade[..., None] * old + add, found, more)
        return new, total, Query(*found)

    carry = (
        jnp.full((batch, num_queries), _NOTHING),
        jnp.zeros((batch, num_queries)),
        Query(
            *(jnp.zeros((batch, num_queries, part.shape[-1])) for part in query),
        ),
    )
    pieces, rest = _cut(grid, _rows(query, grid))
    if pieces.rows.shape[0] == 1:
        carry = step(carry, jax.tree.map(lambda x: x[0], pieces))
    else:
        carry = jax.lax.scan(lambda c, part: (step(c, part), None), carry, pieces)[0]
    if rest is not None:
        carry = step(carry, rest)
    highest, total, found = carry
    some = jnp.where(total > 0.0, total, 1.0)
    found = Query(*(x / some[..., None] for x in found))
    return found, jnp.where(total > 0.0, highest + jnp.log(some), _NOTHING)


def _attend_forward(query: Any, grid: Any) -> Any:
    # None of pixels are wanted, most of the time.
    content, rows, scale = (x.perturbed for x in grid[:3])
    values = jax.tree.map(lambda x: x.value, (query, grid), is_leaf=_is_primal)
    query, grid = Query(*values[0]), Column(*values[1])
    # Kept wherever the results of linear layers are: these are small.
    found, log_sum = jax.tree.map(lambda x: checkpoint_name(x, LINEAR), _forward(query, grid))
    # Queries that examples share: their gradients are added up before the products with features
    # of rows. Not where examples are on several devices, which would have to meet in every step.
    is_shared = query.content.shape[0] == 1 and grid.content.shape[0] > 1
    notes = _Notes(
        rows=_rows(query, grid),
        wanted=(content, rows, scale),
        sums_examples=is_shared and execution.current().batch is None,
    )
    return (found, log_sum), (query, grid, found, log_sum, notes)


def _is_primal(x: Any) -> bool:
    return isinstance(x, jax.custom_derivatives.CustomVJPPrimal)


def _attend_backward(residuals: Any, cotangents: Any) -> Any:
    query, grid, found, log_sum, notes = residuals
    want_content, want_rows, want_scale = notes.wanted
    down, down_log = jax.tree.map(_materialised, cotangents, is_leaf=_is_symbolic_zero)
    down = Query(*down)
    inner = sum((x * y).sum(axis=-1) for x, y in zip(down, found, strict=True)) - down_log

    def step(carry: Query, part: Column) -> Any:
        products = _scores(query, part)
        scale = part.scale[:, None]
        logs = scale * products - log_sum[..., None, None]
        if part.mask is not None:
            logs = jnp.where(part.mask[:, None], logs, -jnp.inf)
        weights = jnp.exp(logs)
        d_weights = _scores(down, part)
        d_scores = weights * (scale * d_weights - inner[..., None, None])
        d_products = d_scores * scale
        more = _collect(d_products, part, shared=notes.sums_examples)
        d_content = d_rows = d_scale = None
        if want_content:
            dtype = part.content.dtype
            d_content = jnp.einsum(
                "bqrk,bqc->brkc", d_products.astype(dtype), _spread(query.content, scale, dtype)
            ) + jnp.einsum(
                "bqrk,bqc->brkc", (weights * scale).astype(dtype), down.content.astype(dtype)
            )
        if want_rows:
            d_rows = jnp.einsum(
                "bqr,bqc->rc", d_products.sum(axis=3), _spread(query.rows, scale, jnp.float32)
            ) + jnp.einsum("bqr,bqc->rc", (weights * scale).sum(axis=3), down.rows)
            d_rows = d_rows.astype(part.rows.dtype)
        if want_scale:
            d_scale = (d_scores * products + weights * d_weights).sum(axis=1)
        return Query(*jax.tree.map(jnp.add, carry, more)), (d_content, d_rows, d_scale)

    pieces, rest = _cut(grid, notes.rows)
    batch = 1 if notes.sums_examples else grid.content.shape[0]
    d_query = Query(*(jnp.zeros((batch, *part.shape[1:])) for part in query))
    if pieces.rows.shape[0] == 1:
        d_query, d_grid = step(d_query, jax.tree.map(lambda x: x[0], pieces))
        d_grid = jax.tree.map(lambda x: x[None], d_grid)
    else:
        d_query, d_grid = jax.lax.scan(step, d_query, pieces)
    d_rest: Any = (None, None, None)
    if rest is not None:
        d_query, d_rest = step(d_query, rest)
    gradients: list[Any] = [
        None if x is None else _join(x, left, axis)
        for x, left, axis in zip(d_grid, d_rest, (1, 0, 1), strict=True)
    ]
    if query.content.shape[0] == 1:
        d_query = Query(*(x.sum(axis=0, keepdims=True) for x in d_query))
    return d_query, Column(*gradients, None)  # type: ignore[call-arg]


def _spread(x: jax.Array, like: jax.Array, dtype: Any) -> jax.Array:
    return jnp.broadcast_to(x, (like.shape[0], *x.shape[1:])).astype(dtype)


def _is_symbolic_zero(x: Any) -> bool:
    return isinstance(x, jax.custom_derivatives.SymbolicZero)


def _materialised(x: Any) -> jax.Array:
    return jnp.zeros(x.shape, x.dtype) if _is_symbolic_zero(x) else x


_attend.defvjp(_attend_forward, _attend_backward, symbolic_zeros=True)
