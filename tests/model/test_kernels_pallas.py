"""The Pallas kernels equal the definition of attention, in interpret mode, and lower for TPUs."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.model.attention import attend
from perceiver_jax.model.kernels.pallas_tpu import attend_pallas, declines
from perceiver_jax.model.kernels.sizes_tpu import fill, tile_sizes

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

# Batch, queries, keys, heads, channels of queries and keys, of values: odd, above and below a tile.
SHAPES = {
    "one_head": (2, 7, 131, 1, 13, 13),
    "heads_of_two_widths": (1, 37, 29, 3, 5, 11),
    "several_tiles": (1, 521, 541, 1, 3, 2),
    "one_query": (2, 1, 17, 2, 7, 7),
}


def arrays(shape, dtype=jnp.float32, seed: int = 0):
    """Queries, keys, values, and a cotangent of what is attended."""
    b, q, k, h, d_qk, d_v = SHAPES[shape]
    rng = np.random.default_rng(seed)
    sizes = ((b, q, h, d_qk), (b, k, h, d_qk), (b, k, h, d_v), (b, q, h * d_v))
    return [jnp.asarray(rng.standard_normal(size), dtype) for size in sizes]


def masks(shape, seed: int = 1):
    """A mask of queries and one of keys; the last example has no key, if there are two."""
    b, q, k, *_ = SHAPES[shape]
    rng = np.random.default_rng(seed)
    query_mask, key_mask = rng.random((b, q)) < 0.7, rng.random((b, k)) < 0.6
    query_mask[:, 0] = True
    if b > 1:
        key_mask[-1] = False
    return jnp.asarray(query_mask), jnp.asarray(key_mask)


def values_and_gradients(function, queries, keys, values, cotangent):
    @jax.jit
    def results(queries, keys, values, cotangent):
        attended, gradients = jax.vjp(function, queries, keys, values)
        return [attended, *gradients(cotangent)]

    return results(queries, keys, values, cotangent)


def assert_equal(actual, expected, rtol: float):
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        one, other = (np.asarray(x, np.float64) for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize(
    ("shape", "masked"),
    [
        *(("heads_of_two_widths", masked) for masked in ("no", "queries", "both", "product")),
        *(("one_head", masked) for masked in ("keys", "any")),
    ],
)
def test_equals_the_definition(shape, masked):
    query_mask, key_mask = masks(shape)
    product = query_mask[:, :, None] & key_mask[:, None, :]
    rng = np.random.default_rng(2)
    mask, factors = {
        "no": (None, {}),
        "queries": (
            jnp.broadcast_to(query_mask[:, :, None], product.shape),
            {"query_mask": query_mask},
        ),
        "keys": (jnp.broadcast_to(key_mask[:, None], product.shape), {"key_mask": key_mask}),
        "both": (product, {"query_mask": query_mask, "key_mask": key_mask.astype(jnp.float32)}),
        "product": (product, {"mask": product.astype(jnp.int32)}),
        "any": (
            mask := jnp.asarray(rng.random(product.shape) < 0.1).at[:, 2].set(False),
            {"mask": mask},
        ),
    }[masked]
    inputs = arrays(shape)
    expected = values_and_gradients(lambda *qkv: attend(*qkv, mask)[0], *inputs)
    actual = values_and_gradients(
        lambda *qkv: attend_pallas(*qkv, interpret=True, **factors), *inputs
    )
    assert_equal(actual, expected, rtol=1e-5)
    if mask is not None:
        assert np.all(np.asarray(actual[0])[~np.asarray(mask.any(-1))] == 0)


@pytest.mark.parametrize("shape", ["several_tiles", "one_query"])
def test_equals_the_definition_for_other_shapes(shape):
    _, key_mask = masks(shape)
    inputs = arrays(shape)
    mask = jnp.broadcast_to(
        key_mask[:, None], (key_mask.shape[0], SHAPES[shape][1], SHAPES[shape][2])
    )
    expected = values_and_gradients(lambda *qkv: attend(*qkv, mask)[0], *inputs)
    actual = values_and_gradients(
        lambda *qkv: attend_pallas(*qkv, key_mask=key_mask, interpret=True), *inputs
    )
    assert_equal(actual, expected, rtol=1e-5)


def test_bfloat16_equals_float32_within_its_rounding():
    _, key_mask = masks("heads_of_two_widths")
    exact = [x.astype(jnp.float32) for x in arrays("heads_of_two_widths", jnp.bfloat16)]
    b, q, k, *_ = SHAPES["heads_of_two_widths"]
    mask = jnp.broadcast_to(key_mask[:, None], (b, q, k))
    expected = values_and_gradients(lambda *qkv: attend(*qkv, mask)[0], *exact)
    actual = values_and_gradients(
        lambda *qkv: attend_pallas(*qkv, key_mask=key_mask, interpret=True),
        *arrays("heads_of_two_widths", jnp.bfloat16),
    )
    assert all(x.dtype == jnp.bfloat16 for x in actual)
    assert_equal(
        [x.astype(jnp.float32) for x in actual], expected, rtol=2 * float(jnp.finfo("bfloat16").eps)
    )


def test_heads_that_share_keys_and_values_are_more_queries():
    queries, keys, values, _ = arrays("heads_of_two_widths")
    b, q, h, d_qk = queries.shape
    keys, values = keys[:, :, :1], values[:, :, :1]
    repeated = [jnp.repeat(x, h, axis=2) for x in (keys, values)]
    expected, _ = attend(queries * 3 * d_qk**0.5, *repeated)
    actual = attend_pallas(
        queries.reshape(b, q * h, 1, d_qk), keys, values, scale=3.0, interpret=True
    )
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=1e-5)


def test_large_scores_do_not_overflow():
    queries, keys, values, _ = arrays("one_head")
    actual = attend_pallas(1e3 * queries, keys, values, interpret=True)
    np.testing.assert_allclose(actual, attend(1e3 * queries, keys, values)[0], atol=1e-4)


def test_reads_and_writes_nothing_outside_its_blocks():
    # TPU interpret mode keeps a TPU's memories apart, full of NaN where nothing was written.
    _, key_mask = masks("one_head")
    inputs = arrays("one_head")

    def attended(interpret):
        return values_and_gradients(
            lambda *qkv: attend_pallas(*qkv, key_mask=key_mask, interpret=interpret), *inputs
        )

    assert_equal(attended(pltpu.InterpretParams()), attended(True), rtol=1e-6)


def test_split_batch_equals_whole_batch():
    queries, keys, values, cotangent = (
        jnp.tile(x, (2, *[1] * (x.ndim - 1))) for x in arrays("one_head")
    )
    key_mask = jnp.tile(masks("one_head")[1], (2, 1))
    mesh = jax.make_mesh((2, 2), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    batch = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))

    def attended(batch):
        return values_and_gradients(
            lambda *qkv: attend_pallas(*qkv, key_mask=key_mask, batch=batch, interpret=True),
            *(queries, keys, values, cotangent),
        )

    actual = jax.jit(lambda: attended(batch))()
    assert actual[0].sharding.is_equivalent_to(batch, 3)
    assert_equal(actual, attended(None), rtol=1e-6)
    # Without a mask there is nothing of it to split.
    unmasked = jax.eval_shape(lambda *qkv: attend_pallas(*qkv, batch=batch), queries, keys, values)
    assert unmasked.shape == cotangent.shape


def tpu_program(function, *args) -> str:
    return jax.export.export(jax.jit(function), platforms=["tpu"])(*args).mlir_module()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("shape", "masked"),
    [
        ((1, 512, 50176, 1, 261, 261), ""),  # ImageNet, encoder
        ((1, 512, 512, 8, 128, 128), ""),  # its towers
        ((2, 256, 2048, 8, 32, 160), "key_mask"),  # masked language model, encoder
        ((1, 182528, 2048, 1, 512, 512), "query_mask"),  # optical flow, decoder
        ((2, 97, 101, 3, 20, 36), "mask"),
    ],
)
def test_lowers_for_tpu_in_values_and_gradients(shape, masked, dtype):
    b, q, k, h, d_qk, d_v = shape
    qkv = [
        jax.ShapeDtypeStruct(size, dtype)
        for size in ((b, q, h, d_qk), (b, k, h, d_qk), (b, k, h, d_v))
    ]
    mask_shape = {"key_mask": (b, k), "query_mask": (b, q), "mask": (b, q, k)}.get(masked, ())
    mask = jax.ShapeDtypeStruct(mask_shape, bool)

    def loss(queries, keys, values, mask):
        factors = {masked: mask} if masked else {}
        return attend_pallas(queries, keys, values, **factors).astype(jnp.float32).sum()

    program = tpu_program(loss, *qkv, mask)
    assert program.count("@tpu_custom_call") == 1 and "forward_kernel" in program
    program = tpu_program(jax.grad(loss, argnums=(0, 1, 2)), *qkv, mask)
    assert program.count("@tpu_custom_call") == 3
    assert "queries_kernel" in program and "keys_kernel" in program
    # No array of scores between them.
    assert f"{b}x{h}x{q}x{k}x" not in program


def test_gradients_that_are_not_asked_for_are_not_computed():
    qkv = arrays("one_head")[:3]

    def loss(queries, keys, values):
        return attend_pallas(queries, keys, values).sum()

    program = tpu_program(jax.grad(loss, argnums=0), *qkv)
    assert "queries_kernel" in program and "keys_kernel" not in program
    program = tpu_program(jax.grad(loss, argnums=(1, 2)), *qkv)
    assert "queries_kernel" not in program and "keys_kernel" in program


def test_a_mask_and_its_factors_are_one_too_many():
    queries, keys, values, _ = arrays("one_head")
    _, key_mask = masks("one_head")
    mask = jnp.ones((2, 7, 131), bool)
    with pytest.raises(ValueError, match="a mask or its factors, not both"):
        attend_pallas(queries, keys, values, mask, key_mask=key_mask)


FITTING = {"qk_width": 261, "v_width": 322, "dtype": jnp.float32, "backend": "tpu"}


@pytest.mark.parametrize("change", [{}, {"dtype": "bfloat16"}, {"qk_width": 1, "v_width": 1024}])
def test_applies(change):
    assert declines(**{**FITTING, **change}) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "gpu"}, "run on TPUs, and this is a gpu"),
        ({"dtype": jnp.float16}, "float32 or bfloat16, not float16"),
        ({"v_width": 10_000}, "261 and 10000 channels in float32 do not fit"),
        ({"dropout": True}, "do not drop"),
        ({"weights_wanted": True}, "do not give the attention weights"),
    ],
)
def test_declines_with_a_reason(change, words):
    (reason,) = declines(**{**FITTING, **change})
    assert words in reason


def test_tiles_are_nearly_full_and_fit():
    assert fill(784, most=512, multiple=32) == (416, 832)
    assert fill(512, most=512, multiple=128) == (512, 512)
    assert fill(1, most=512, multiple=32) == (32, 32)
    # By hand: 2 (512 + 512) 512 x 4 bytes, 512 x 512 (8 + 4) and 4 MiB of scores are 11 MiB.
    assert tile_sizes(256, 256, 4) == (512, 512)
    # One register more: 2 x 1024 x 640 x 4, 512 x 640 x 12 and 4 MiB are 12.75 MiB.
    assert tile_sizes(257, 256, 4) == (512, 256)


def test_too_wide_heads_are_an_error():
    with pytest.raises(ValueError, match="do not fit"):
        attend_pallas(*[jnp.zeros((1, 2, 1, 10_000))] * 3, interpret=True)
