"""The streamed route against the definition: values, gradients, chunks, masks, lowering."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import streamed
from perceiver_jax.model.attention import attend
from perceiver_jax.model.streamed import attend_streamed, chunk_sizes

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

BATCH, QUERIES, KEYS = 2, 7, 11
MASKS = ("none", "keys", "queries", "both", "full", "no_keys")
# Whole; both in even parts; both in parts that overlap; one of each alone.
CHUNKS = ((None, None), (7, 11), (3, 4), (1, 1), (None, 5), (2, None))


def _arrays(num_heads: int, dtype=jnp.float32, seed: int = 0) -> tuple[jax.Array, ...]:
    """Queries, keys, values, and a cotangent of what is attended."""
    rng = np.random.default_rng(seed)
    shapes = [(QUERIES, num_heads, 3), (KEYS, num_heads, 3), (KEYS, num_heads, 5)]
    arrays = [rng.standard_normal((BATCH, *shape)) for shape in shapes]
    arrays.append(rng.standard_normal((BATCH, QUERIES, num_heads * 5)))
    return tuple(jnp.asarray(x, dtype) for x in arrays)


def _mask(kind: str) -> jax.Array | None:
    rng = np.random.default_rng(1)
    keys = rng.random((BATCH, 1, KEYS)) < 0.6
    queries = rng.random((BATCH, QUERIES, 1)) < 0.6
    masks = {
        "none": None,
        "keys": keys,
        "queries": queries,
        "both": keys & queries,
        "full": rng.random((1, QUERIES, KEYS)) < 0.6,
        "no_keys": keys & (np.arange(BATCH) == 1)[:, None, None],
    }
    return None if masks[kind] is None else jnp.asarray(masks[kind])


def _whole(mask: jax.Array | None) -> jax.Array | None:
    return None if mask is None else jnp.broadcast_to(mask, (BATCH, QUERIES, KEYS))


@pytest.mark.parametrize(
    ("kind", "chunks", "num_heads"),
    [
        *((kind, chunks, 2) for kind in MASKS for chunks in ((None, None), (3, 4))),
        *(("both", chunks, 1) for chunks in CHUNKS),
    ],
)
def test_value_and_gradients_are_those_of_the_definition(kind, chunks, num_heads):
    *qkv, cotangent = _arrays(num_heads)
    mask = _mask(kind)
    expected, expected_vjp = jax.vjp(lambda *x: attend(*x, _whole(mask))[0], *qkv)

    @jax.jit
    def streamed_vjp(*qkv):
        attended, vjp = jax.vjp(
            lambda *x: attend_streamed(*x, mask, query_chunk=chunks[0], key_chunk=chunks[1]), *qkv
        )
        return attended, vjp(cotangent)

    attended, gradients = streamed_vjp(*qkv)
    chex.assert_trees_all_close(attended, expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(gradients, expected_vjp(cotangent), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunks", [(None, None), (3, 4)])
def test_bfloat16_is_as_close_to_float32_as_the_definition(chunks):
    *qkv, cotangent = _arrays(2)
    mask = _mask("both")
    half = [x.astype(jnp.bfloat16) for x in qkv]
    # The same numbers in float32: what is left is the rounding inside.
    exact = [x.astype(jnp.float32) for x in half]
    cotangent = cotangent.astype(jnp.bfloat16)

    def run(attend, arrays):
        attended, vjp = jax.vjp(attend, *arrays)
        return attended, *vjp(cotangent.astype(attended.dtype))

    def ours(*x):
        return attend_streamed(*x, mask, query_chunk=chunks[0], key_chunk=chunks[1])

    def definition(*x):
        return attend(*x, _whole(mask))[0]

    expected = run(definition, exact)
    for result, plain, wanted in zip(run(ours, half), run(definition, half), expected, strict=True):
        assert result.dtype == jnp.bfloat16
        error, plain_error = (
            float(jnp.abs(x.astype(jnp.float32) - wanted).max()) for x in (result, plain)
        )
        assert error <= 1.5 * plain_error + 2**-8


def test_nothing_leaks_through_a_mask():
    *qkv, cotangent = _arrays(2)
    mask = _mask("keys")
    hidden = ~mask[:, 0, :, None, None]

    def run(keys, values):
        attended, vjp = jax.vjp(
            lambda *x: attend_streamed(*x, mask, query_chunk=3, key_chunk=4), qkv[0], keys, values
        )
        return attended, *vjp(cotangent)

    attended, dq, dk, dv = run(*qkv[1:])
    other = run(*(jnp.where(hidden, 1e4, x) for x in qkv[1:]))
    chex.assert_trees_all_equal((attended, dq), other[:2])
    assert float(jnp.abs(jnp.where(hidden, dk, 0)).sum()) == 0.0
    assert float(jnp.abs(jnp.where(hidden, dv, 0)).sum()) == 0.0


def test_large_scores_do_not_overflow():
    *qkv, _ = _arrays(2)
    qkv[1] = 300 * qkv[1]
    expected = attend(*qkv)[0]
    for chunks in ((None, None), (3, 4)):
        attended = attend_streamed(*qkv, query_chunk=chunks[0], key_chunk=chunks[1])
        chex.assert_trees_all_close(attended, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunks", [(None, None), (3, 4)])
def test_works_under_scan_and_recomputation(chunks):
    queries, keys, values, _ = _arrays(1)
    values = values[..., :3]

    def loss(attend, queries):
        def layer(x, _):
            return attend(x, keys, values).reshape(x.shape) + x, None

        return jnp.sum(jnp.sin(jax.lax.scan(jax.checkpoint(layer), queries, None, length=3)[0]))

    def ours(*x):
        return attend_streamed(*x, query_chunk=chunks[0], key_chunk=chunks[1])

    def definition(*x):
        return attend(*x)[0]

    gradients = [jax.jit(jax.grad(lambda q, f=f: loss(f, q)))(queries) for f in (ours, definition)]
    chex.assert_trees_all_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunks", [(None, None), (3, 4)])
def test_second_derivatives_are_those_of_the_definition(chunks):
    *qkv, _ = _arrays(1)

    def curvature(attend):
        def loss(keys):
            return jnp.sum(jnp.sin(attend(qkv[0], keys, qkv[2])))

        return jax.grad(lambda keys: jnp.sum(jax.grad(loss)(keys) ** 2))(qkv[1])

    ours = curvature(lambda *x: attend_streamed(*x, query_chunk=chunks[0], key_chunk=chunks[1]))
    definition = curvature(lambda *x: attend(*x)[0])
    chex.assert_trees_all_close(ours, definition, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("platform", "loops"), [("cuda", 0), ("tpu", 0), ("cpu", 4)])
def test_chunks_are_those_of_the_platform(platform, loops, monkeypatch):
    *qkv, _ = _arrays(2)
    for name in ("CPU_CHUNK_BYTES", "MIN_CPU_CHUNK_BYTES"):
        monkeypatch.setattr(streamed, name, 4 * 3 * 4)
    gradients = jax.jit(jax.grad(lambda *x: attend_streamed(*x).sum(), (0, 1, 2)))
    program = jax.export.export(gradients, platforms=[platform])(*qkv).mlir_module()
    # Of the forward pass two products, of the backward pass five. Loops: heads, and parts of each.
    assert program.count("= stablehlo.dot_general") == 7
    assert program.count("stablehlo.while") == loops


def test_weights_of_long_inputs_never_exist():
    def shape(*axes):
        return jax.ShapeDtypeStruct(axes, jnp.float32)

    num_inputs = 10**6
    arrays = (shape(1, 512, 1, 8), shape(1, num_inputs, 1, 8), shape(1, num_inputs, 1, 8))
    gradients = jax.jit(jax.grad(lambda *x: attend_streamed(*x).sum(), (0, 1, 2)))
    used = gradients.lower(*arrays).compile().memory_analysis().temp_size_in_bytes
    assert used < 4 * 512 * num_inputs / 4


def test_gradients_that_nobody_wants_cost_nothing():
    *qkv, _ = _arrays(1)

    def flops(argnums):
        gradients = jax.jit(jax.grad(lambda *x: attend_streamed(*x).sum(), argnums))
        return gradients.lower(*qkv).compile().cost_analysis()["flops"]

    product = 2 * BATCH * QUERIES * KEYS * 3
    assert flops((0, 1, 2)) - flops((0, 2)) >= product


@pytest.mark.parametrize(
    ("shape", "max_bytes", "expected"),
    [
        ((512, 512, 8), 2**23, (8, 512, 512)),  # All heads at once if they fit,
        ((512, 512, 8), 2**22, (4, 512, 512)),  # or a part of them.
        ((512, 50_176, 1), 2**22, (1, 512, 1792)),  # The shorter axis whole if it can be,
        ((50_176, 512, 1), 2**22, (1, 1792, 512)),
        ((2048, 2048, 16), 2**22, (1, 1024, 1024)),  # else near a square.
    ],
)
def test_chunk_sizes(shape, max_bytes, expected):
    assert chunk_sizes(*shape, max_bytes) == expected
    assert 4 * np.prod(expected) <= max_bytes


@pytest.mark.parametrize(
    ("shape", "shards", "expected"),
    [
        ((512, 512, 8), 1, (4, 512, 512)),
        ((512, 512, 8), 2, (8, 512, 512)),  # Each of 2 devices has 4 of them,
        ((512, 512, 8), 8, (8, 512, 512)),
        ((2048, 2048, 16), 2, (2, 1024, 1024)),  # and takes part in every turn.
    ],
)
def test_heads_on_several_devices_do_not_take_turns(shape, shards, expected):
    assert chunk_sizes(*shape, 2**22, shards) == expected


@pytest.mark.parametrize("size", [1, 2, 97, 512, 803_297])
def test_chunk_sizes_are_never_empty(size):
    assert min(chunk_sizes(size, 13 * size, 10, 16)) >= 1


@pytest.mark.parametrize("kind", ["none", "keys", "full"])
@pytest.mark.parametrize("heads_at_a_time", [1, 2])
def test_heads_in_turn_give_the_same(kind, heads_at_a_time, monkeypatch):
    *qkv, cotangent = _arrays(4)
    mask = _mask(kind)
    for name in ("CPU_CHUNK_BYTES", "MIN_CPU_CHUNK_BYTES"):
        monkeypatch.setattr(streamed, name, 4 * heads_at_a_time * QUERIES * KEYS)
    attended, vjp = jax.vjp(lambda *x: attend_streamed(*x, mask), *qkv)
    expected, expected_vjp = jax.vjp(lambda *x: attend(*x, _whole(mask))[0], *qkv)
    chex.assert_trees_all_close(attended, expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(vjp(cotangent), expected_vjp(cotangent), rtol=1e-5, atol=1e-6)


def test_names_what_does_not_fit():
    *qkv, _ = _arrays(2)
    with pytest.raises(ValueError, match=r"mask must have shape .*\(2, 7, 11\)"):
        attend_streamed(*qkv, jnp.ones((2, 11, 7)))
    with pytest.raises(ValueError, match="key_chunk=0"):
        attend_streamed(*qkv, key_chunk=0)
    with pytest.raises(ValueError, match="as many values as keys"):
        attend_streamed(qkv[0], qkv[1], qkv[2][:, 1:])
