"""Decoding with folded projections, whole or in parts, against plain attention."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import decoding, routes
from perceiver_jax.model.attention import attend
from perceiver_jax.model.blocks import CrossAttention
from perceiver_jax.model.byte_array import ByteArray, Grid
from perceiver_jax.model.layer_norm import EPS
from tests.leaf_errors import KEY_BIASES, assert_leaves_close
from tests.random_params import random_params

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

BATCH, KEYS = 2, 5
OUT = 3  # Width of what `then` makes.

# Rows, columns, and channels of content, rows, columns, and of what is the same for all.
GRIDS = {
    "pixels": ((7, 5, 2, 3, 5, 1),),
    "positions": ((7, 5, 0, 5, 3, 3),),
    "column": ((11, 1, 2, 9, 0, 0),),
    "learned": ((11, 1, 0, 11, 0, 0),),
    "modalities": ((7, 5, 0, 3, 5, 3), (5, 1, 2, 7, 0, 2), (1, 1, 0, 4, 0, 7)),
}


def _draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def _queries(kind: str) -> ByteArray:
    grids = []
    for seed, (rows, columns, *channels) in enumerate(GRIDS[kind]):
        c_content, c_rows, c_columns, c_constant = channels
        order = np.random.default_rng(seed).permutation(sum(channels))
        grids.append(
            Grid(
                _draw(seed, BATCH, rows, columns, c_content),
                _draw(seed + 10, rows, c_rows),
                _draw(seed + 20, columns, c_columns),
                _draw(seed + 30, c_constant),
                tuple(int(i) for i in order),
            )
        )
    return ByteArray(tuple(grids))


@pytest.mark.parametrize(
    ("num_heads", "with_bias", "folds_output", "masked"),
    [
        (1, True, True, False),
        (1, False, False, True),
        (2, True, True, True),
        (2, True, False, False),
    ],
)
@pytest.mark.parametrize("kind", ["pixels", "positions", "column"])
def test_values_and_gradients_are_those_of_plain_attention(
    kind, num_heads, with_bias, folds_output, masked
):
    queries = _queries(kind)
    width, qk, v, out = queries.num_channels, 6, 10, 7
    arrays = {
        "keys": _draw(1, BATCH, KEYS, num_heads, qk // num_heads),
        "values": _draw(2, BATCH, KEYS, num_heads, v // num_heads),
        "norm": (_draw(3, width), _draw(4, width)),
        "query": (_draw(5, width, qk), _draw(6, qk)),
        "output": (_draw(7, v, out), _draw(8, out) if with_bias else None),
    }
    num_queries = queries.num_elements
    mask = jnp.asarray(np.random.default_rng(0).random((BATCH, num_queries)) < 0.6)
    mask = mask if masked else None
    cotangent = _draw(9, BATCH, num_queries, out)

    def folded(arrays, queries):
        decoder = decoding.fold(**arrays, folds_output=folds_output)
        return decoder.read(queries.grids[0], mask)

    def plain(arrays, queries):
        (scale, offset), (w_q, b_q), (w_o, b_o) = (
            arrays[name] for name in ("norm", "query", "output")
        )
        x = queries.dense()
        x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPS)
        x = (x * scale + offset) @ w_q + b_q
        x = x.reshape(BATCH, num_queries, num_heads, -1)
        whole = None if mask is None else mask[:, :, None]
        read = attend(x, arrays["keys"], arrays["values"], whole)[0] @ w_o
        return read if b_o is None else read + b_o

    def run(read):
        def loss(arrays, queries):
            answers = read(arrays, queries)
            return jnp.sum(answers * cotangent), answers

        gradients, answers = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(arrays, queries)
        return answers, gradients

    (answers, gradients), (expected, definition) = run(folded), run(plain)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=2e-5)
    assert_leaves_close(gradients, definition, 1e-5)


def _cross_attention(num_heads: int, residual: bool):
    """A decoder's cross-attend as a function, its parameters, and queries' and latents' values."""

    def forward(queries, latents, mask, then):
        module = CrossAttention(num_heads=num_heads, width_rule="kv", use_query_residual=residual)
        if not then:
            return module(queries, latents, mask)
        w = hk.get_parameter("then", [queries.num_channels, OUT], init=jnp.ones)
        return module(queries, latents, mask, then=lambda x: jnp.sin(x @ w))

    return hk.transform(forward)


def _limit(monkeypatch, num_heads: int, elements: int | None) -> None:
    """Lets loops take so many outputs at a time."""
    if elements is not None:
        limit = 4 * BATCH * num_heads * KEYS * elements
        monkeypatch.setitem(routes._OUTPUT_BYTES, "cpu", limit)


# Outputs at a time: all, one row of the pixels, and three, which is no divisor of the seven rows.
@pytest.mark.parametrize(
    ("kind", "num_heads", "residual", "then", "masked", "at_a_time"),
    [
        ("pixels", 1, True, True, True, None),
        ("pixels", 1, True, True, True, 5),
        ("pixels", 2, False, True, False, 15),
        ("positions", 2, True, False, True, 15),
        ("column", 1, False, True, True, 3),
        ("learned", 1, False, True, False, 3),
        ("modalities", 2, True, True, True, None),
        ("modalities", 1, False, True, True, 15),
        ("modalities", 1, True, False, False, 1),
    ],
)
def test_parts_equal_one_part_and_the_definition(
    kind, num_heads, residual, then, masked, at_a_time, monkeypatch
):
    queries, latents = _queries(kind), _draw(1, BATCH, KEYS, 8)
    mask = np.random.default_rng(0).random((BATCH, queries.num_elements, 1)) < 0.6
    mask = jnp.asarray(mask) if masked else None
    f = _cross_attention(num_heads, residual)
    params = random_params(lambda key: f.init(key, queries, latents, mask, then))
    width = OUT if then else queries.num_channels
    cotangent = _draw(2, BATCH, queries.num_elements, width)

    def run(route):
        def loss(params, queries, latents):
            with routes.choosing(route):
                answers = f.apply(params, None, queries, latents, mask, then)
            return jnp.sum(answers * cotangent), answers

        gradients, answers = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(
            params, queries, latents
        )
        return answers, gradients

    expected, definition = run("plain")
    _limit(monkeypatch, num_heads, at_a_time)
    answers, gradients = run("folded")
    assert answers.shape == (BATCH, queries.num_elements, width)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)
    # Of constants, large contributions of the elements cancel.
    assert_leaves_close(gradients, definition, 5e-5, zero=KEY_BIASES)


def test_parts_are_a_loop_that_never_holds_all(monkeypatch):
    queries, latents = _queries("pixels"), _draw(1, BATCH, KEYS, 8)
    f = _cross_attention(1, False)
    params = random_params(lambda key: f.init(key, queries, latents, None, True))

    def widest(at_a_time):
        with monkeypatch.context() as patch, routes.choosing("folded"):
            _limit(patch, 1, at_a_time)
            program = jax.make_jaxpr(lambda p: f.apply(p, None, queries, latents, None, True))
            return str(program(params))

    # Weights of all 35 outputs, as [b, h, r, k, n]; of one row of five in the loop.
    assert f"[{BATCH},1,7,5,{KEYS}]" in widest(None)
    assert f"[{BATCH},1,7,5,{KEYS}]" not in widest(5) and f"[{BATCH},1,1,5,{KEYS}]" in widest(5)


@pytest.mark.parametrize("is_training", [False, True])
def test_dropout_of_outputs_is_that_of_the_definition(is_training):
    """Each output is dropped alone: that needs all of them at once, in training."""
    queries, latents = _queries("pixels"), _draw(1, BATCH, KEYS, 8)
    f = hk.transform(
        lambda q, kv: CrossAttention(num_heads=1, dropout_prob=0.5)(q, kv, is_training=is_training)
    )
    params = random_params(f.init, queries, latents)
    found = {}
    for route in ("plain", "folded"):
        with routes.choosing(route):
            key = jax.random.key(3) if is_training else None
            found[route] = f.apply(params, key, queries, latents)
    np.testing.assert_allclose(found["folded"], found["plain"], rtol=1e-5, atol=1e-5)


def test_bfloat16_is_as_close_to_float32_as_the_definition():
    queries, latents = _queries("pixels").astype(jnp.bfloat16), _draw(1, BATCH, KEYS, 8)
    latents = latents.astype(jnp.bfloat16)
    f = _cross_attention(2, True)
    params = random_params(lambda key: f.init(key, queries, latents, None, False))

    def run(route, queries, latents):
        with routes.choosing(route):
            return f.apply(params, None, queries, latents, None, False)

    exact = run("plain", queries.astype(jnp.float32), latents.astype(jnp.float32))
    plain, folded = (run(route, queries, latents) for route in ("plain", "folded"))
    assert folded.dtype == plain.dtype == jnp.bfloat16
    errors = [float(jnp.abs(x.astype(jnp.float32) - exact).max()) for x in (folded, plain)]
    assert 0 < errors[0] <= 2 * errors[1]
