"""Reading a byte array as it is, against the definition: values, gradients, masks, memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import folded, routes
from perceiver_jax.model.byte_array import ByteArray, Grid
from perceiver_jax.model.layer_norm import EPS
from perceiver_jax.report.flops import count_flops, total
from tests.leaf_errors import assert_leaves_close

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

QUERIES = 3

# Rows, columns, and channels of content, rows, columns, and of what is the same for all.
GRIDS = {
    "all parts": ((7, 5, 2, 3, 5, 1),),
    "one column": ((11, 1, 2, 3, 0, 0),),
    "one row": ((1, 11, 2, 0, 3, 0),),
    "content alone": ((11, 1, 7, 0, 0, 0),),
    "no content": ((7, 5, 0, 3, 5, 2),),
    "learned rows": ((11, 1, 0, 7, 0, 0),),
    "two grids": ((7, 5, 2, 3, 5, 1), (5, 1, 3, 0, 0, 8)),
    "a constant grid": ((7, 5, 2, 3, 5, 1), (1, 1, 0, 0, 0, 11), (3, 1, 11, 0, 0, 0)),
}


def _grid(rng, batch: int, size: tuple[int, ...]) -> Grid:
    rows, columns, *channels = size
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    c_content, c_rows, c_columns, c_constant = channels
    return Grid(
        draw(batch, rows, columns, c_content),
        draw(rows, c_rows),
        draw(columns, c_columns),
        draw(c_constant),
        tuple(int(i) for i in rng.permutation(sum(channels))),
    )


def _case(kind: str, batches: tuple[int, int]) -> tuple[jax.Array, ByteArray, jax.Array, jax.Array]:
    """Queries, inputs, a mask that hides all of the first example, a cotangent."""
    rng = np.random.default_rng(0)
    query_batch, batch = batches
    inputs = ByteArray(tuple(_grid(rng, batch, size) for size in GRIDS[kind]))
    channels = inputs.num_channels
    queries = jnp.asarray(rng.standard_normal((query_batch, QUERIES, channels)), jnp.float32)
    mask = rng.random((batch, inputs.num_elements)) < 0.6
    mask[0] = False
    cotangent = jnp.asarray(rng.standard_normal((batch, QUERIES, channels)), jnp.float32)
    return queries, inputs, jnp.asarray(mask, jnp.float32), cotangent


def _exact(queries, inputs, mask=None) -> np.ndarray:
    """Normalise, then softmax, in float64 and with NumPy."""
    x, queries = np.asarray(inputs.dense(), np.float64), np.asarray(queries, np.float64)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPS)
    scores = queries @ x.swapaxes(1, 2)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    if mask is not None:
        weights = weights * np.asarray(mask, bool)[:, None]
    sums = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(sums == 0, 1, sums) @ x


def _plain(queries, inputs, mask=None) -> jax.Array:
    """The same, for derivatives."""
    x = inputs.dense()
    x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPS)
    scores = jnp.einsum("bqc,bmc->bqm", jnp.broadcast_to(queries, (len(x), *queries.shape[1:])), x)
    if mask is None:
        return jax.nn.softmax(scores) @ x
    allowed = mask[:, None].astype(bool)
    weights = jax.nn.softmax(jnp.where(allowed, scores, -1e30))
    return jnp.where(allowed.any(axis=-1, keepdims=True), weights, 0.0) @ x


def _small_pieces(monkeypatch, inputs: ByteArray, rows: int) -> None:
    """Lets loops take a few rows of the first grid at a time."""
    batch, columns = inputs.batch_size, inputs.parts[0].columns
    for table in ("_INPUT_BYTES", "_OUTPUT_BYTES"):
        monkeypatch.setitem(getattr(routes, table), "cpu", 4 * batch * QUERIES * columns * rows)


# Batch of queries and of inputs, whether there is a mask, and rows of the first grid at a time:
# all, or a number that divides few of the grids above.
CASES = [
    ((1, 1), False, None),
    ((1, 3), True, 3),
    ((1, 3), False, 2),
    ((3, 3), False, 3),
    ((3, 3), True, None),
]


@pytest.mark.parametrize(("batches", "masked", "rows"), CASES)
@pytest.mark.parametrize("kind", GRIDS)
def test_values_and_gradients_are_those_of_normalising_and_softmax(
    kind, batches, masked, rows, monkeypatch
):
    queries, inputs, mask, cotangent = _case(kind, batches)
    mask = mask if masked else None
    if rows is not None:
        _small_pieces(monkeypatch, inputs, rows)

    def run(read):
        def loss(queries, inputs):
            found = read(queries, inputs, mask)
            return jnp.sum(found * cotangent), found

        # Of queries, and of content, rows, columns and constants of every grid.
        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(queries, inputs)

    ours, found = run(folded.read)
    definition, _ = run(_plain)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, _exact(queries, inputs, mask), rtol=1e-5, atol=1e-5)
    assert_leaves_close(ours, definition, 1e-5)
    if masked:
        np.testing.assert_array_equal(found[0], jnp.zeros_like(found[0]))
        stop = inputs.grids[0].num_elements
        content = ours[1].grids[0].content
        content = np.asarray(content).reshape(len(content), stop, content.shape[-1])
        assert np.abs(content[~np.asarray(mask[:, :stop], bool)]).sum() == 0.0


def test_one_mask_stands_for_all_examples():
    queries, inputs, mask, _ = _case("two grids", (3, 3))
    one = folded.read(queries, inputs, mask[1:2])
    all_the_same = folded.read(queries, inputs, jnp.broadcast_to(mask[1:2], mask.shape))
    np.testing.assert_array_equal(one, all_the_same)


@pytest.mark.parametrize("batch", [1, 3])
def test_one_number_of_a_mask_stands_for_all_inputs(batch):
    queries, inputs, _, _ = _case("two grids", (1, 3))
    mask = jnp.asarray([[False], [True], [True]])[-batch:]
    found = folded.read(queries, inputs, mask)
    whole = jnp.broadcast_to(mask, (3, inputs.num_elements))
    np.testing.assert_array_equal(found, folded.read(queries, inputs, whole))
    assert (np.abs(found).max(axis=(1, 2)) > 0).tolist() == [batch == 1, True, True]


def test_nothing_leaks_through_a_mask():
    queries, inputs, mask, _ = _case("all parts", (1, 3))
    hidden = ~mask.astype(bool).reshape(3, 7, 5, 1)
    loud = inputs.map_content(lambda content: jnp.where(hidden, 1e4, content))
    np.testing.assert_array_equal(
        folded.read(queries, inputs, mask), folded.read(queries, loud, mask)
    )


def test_large_scores_do_not_overflow(monkeypatch):
    queries, inputs, _, _ = _case("all parts", (3, 3))
    _small_pieces(monkeypatch, inputs, 3)
    found = folded.read(1000 * queries, inputs)
    np.testing.assert_allclose(found, _exact(1000 * queries, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["all parts", "two grids"])
def test_bfloat16_is_float32_within_its_rounding(kind):
    queries, inputs, mask, cotangent = _case(kind, (1, 3))
    half = inputs.astype(jnp.bfloat16)
    # The same numbers in float32: what is left is the rounding inside.
    exact = half.astype(jnp.float32)

    @jax.jit
    def run(queries, inputs):
        def loss(queries, inputs):
            found = folded.read(queries, inputs, mask)
            return jnp.sum(found * cotangent), found

        (_, found), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(queries, inputs)
        return found, *gradients

    found, d_queries, d_inputs = run(queries, half)
    expected, d_queries_exact, d_inputs_exact = run(queries, exact)
    # Eight bits, in sums of some dozens of products.
    for result, wanted in ((found, expected), (d_queries, d_queries_exact)):
        assert result.dtype == jnp.float32
        largest = float(jnp.abs(wanted).max())
        np.testing.assert_allclose(result, wanted, atol=2**-6 * largest)
    assert {x.dtype for x in jax.tree.leaves(d_inputs)} == {jnp.dtype(jnp.bfloat16)}
    assert_leaves_close(d_inputs, d_inputs_exact, 2**-6)


@pytest.mark.parametrize(("kind", "most"), [("content alone", 1.0), ("all parts", 1.0)])
def test_bfloat16_bears_a_mean_far_above_the_deviation(kind, most):
    """Rounded queries are not quite centred, and must not see the mean of the elements."""
    _, inputs, mask, _ = _case(kind, (3, 3))
    inputs = jax.tree.map(lambda x: x + 10, inputs).astype(jnp.bfloat16)
    queries = jnp.asarray(
        np.random.default_rng(1).standard_normal((3, 31, inputs.num_channels)), jnp.float32
    )
    exact = _exact(queries, inputs, mask)

    def rounded_plain():
        """As the definition computes in bfloat16: what is multiplied is rounded, sums are not."""
        x = inputs.dense().astype(jnp.float32)
        x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPS)
        x, wide = x.astype(jnp.bfloat16), jnp.float32
        half = queries.astype(jnp.bfloat16)
        scores = jnp.einsum("bqc,bmc->bqm", half, x, preferred_element_type=wide)
        allowed = mask[:, None].astype(bool)
        weights = jax.nn.softmax(jnp.where(allowed, scores, -1e30))
        weights = jnp.where(allowed.any(axis=-1, keepdims=True), weights, 0.0)
        return jnp.einsum("bqm,bmc->bqc", weights.astype(x.dtype), x, preferred_element_type=wide)

    ours, plain = (
        np.sqrt(np.square(np.asarray(found, np.float64) - exact).mean())
        for found in (folded.read(queries, inputs, mask), rounded_plain())
    )
    assert 0 < ours <= most * plain


@pytest.mark.parametrize("kind", ["all parts", "two grids"])
def test_second_derivatives_are_those_of_the_definition(kind):
    """Also where an example has nothing to read, whose sum of weights has no logarithm."""
    queries, inputs, mask, cotangent = _case(kind, (3, 3))

    def run(read):
        def loss(queries, inputs):
            return jnp.sum(jnp.sin(read(queries, inputs, mask)) * cotangent)

        def slope(queries, inputs):
            by_queries, by_inputs = jax.grad(loss, (0, 1))(queries, inputs)
            return jnp.square(by_queries).sum() + jnp.square(by_inputs.grids[0].content).sum()

        return jax.jit(jax.grad(slope, (0, 1)))(queries, inputs)

    assert_leaves_close(run(folded.read), run(_plain), 1e-4)


def test_works_under_scan_and_recomputation():
    queries, inputs, mask, _ = _case("all parts", (3, 3))

    def loss(read, queries):
        def layer(x, _):
            return x + jnp.sin(read(x, inputs, mask)), None

        return jnp.sum(jax.lax.scan(jax.checkpoint(layer), queries, None, length=3)[0] ** 2)

    ours, definition = (
        jax.jit(jax.grad(lambda q, read=read: loss(read, q)))(queries)
        for read in (folded.read, _plain)
    )
    np.testing.assert_allclose(ours, definition, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [1, 13])
def test_gradients_that_nobody_wants_are_not_computed(columns):
    """Of pixels: a third of the products over content in the backward pass."""
    rows, content, queries = 26 // min(columns, 2), 29, 31
    grid = Grid(
        jax.ShapeDtypeStruct((2, rows, columns, content), jnp.float32),
        jax.ShapeDtypeStruct((rows, 3), jnp.float32),
        jax.ShapeDtypeStruct((columns, 5), jnp.float32),
        jax.ShapeDtypeStruct((0,), jnp.float32),
        tuple(range(content + 3 + 5)),
    )
    some = jax.ShapeDtypeStruct((2, queries, content + 8), jnp.float32)

    def gradient(wanted):
        def loss(queries, content, grid):
            grid = dataclasses.replace(grid, content=content)
            return folded.read(queries, ByteArray((grid,))).sum()

        return total(count_flops(jax.grad(loss, wanted), some, grid.content, grid)).matmul

    of_all = 2 * 2 * queries * rows * columns * content
    alone, both = gradient(0), gradient((0, 1))
    # Forward two products over content, backward three (weights, their derivative, queries)
    # against two for the derivative of content.
    assert both - alone == 2 * of_all
    assert 5 * of_all <= alone < 6 * of_all + 2 * 2 * queries * (rows + columns) * 8 * 6


def _temporary_bytes(num_rows: int, num_columns: int, num_queries: int) -> int:
    """Memory of values and gradients of the ICML ImageNet cross-attend, compiled only."""
    grid = Grid(
        jax.ShapeDtypeStruct((1, num_rows, num_columns, 3), jnp.float32),
        jax.ShapeDtypeStruct((num_rows, 129), jnp.float32),
        jax.ShapeDtypeStruct((num_columns, 129), jnp.float32),
        jax.ShapeDtypeStruct((0,), jnp.float32),
        tuple(range(261)),
    )
    queries = jax.ShapeDtypeStruct((1, num_queries, 261), jnp.float32)

    def loss(queries, grid):
        return jnp.square(folded.read(queries, ByteArray((grid,)))).sum()

    program = jax.jit(jax.value_and_grad(loss)).lower(queries, grid).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_memory_does_not_grow_with_inputs_times_queries():
    num_inputs, num_queries = 10**6, 512
    weights = 4 * num_inputs * num_queries
    used = _temporary_bytes(1000, 1000, num_queries)
    written_out = 4 * num_inputs * 261
    assert used < weights / 40 and used < written_out / 20
    # Twice as much of both: at most twice the memory, and not four times.
    assert _temporary_bytes(2000, 1000, 2 * num_queries) < 2.2 * used
