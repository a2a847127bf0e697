"""cuDNN's attention: when it applies, and that what is made to fit it equals the definition."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model.attention import attend
from perceiver_jax.model.kernels.cudnn import (
    attend_cudnn,
    common_width,
    declines,
    this_compute_capability,
)
from tests.leaf_errors import assert_leaves_close

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

HOPPER, AMPERE, TURING = (9, 0), (8, 6), (7, 5)
FITTING = {
    "qk_width": 32,
    "v_width": 160,
    "dtype": jnp.bfloat16,
    "backend": "gpu",
    "compute_capability": HOPPER,
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"dtype": "float16", "backend": "cuda"},
        {"qk_width": 249, "v_width": 3},  # Fills up to 256.
        {"qk_width": 128, "v_width": 96, "compute_capability": AMPERE},
        {"compute_capability": (10, 0)},
    ],
)
def test_applies(change):
    assert declines(**{**FITTING, **change}) == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "cpu"}, "runs on NVIDIA GPUs, and this is a cpu"),
        ({"dtype": jnp.float32}, "bfloat16 or float16, not float32"),
        ({"compute_capability": AMPERE}, "32 and 160 channels takes 160, .* at most 128 .* 8.6"),
        ({"qk_width": 261, "v_width": 261}, "takes 264, .* at most 256 .* 9.0"),
        ({"compute_capability": TURING}, "needs compute capability 8.0, and this GPU has 7.5"),
        ({"compute_capability": None}, "depend on the GPU's compute capability"),
        ({"dropout": True}, "does not drop"),
        ({"weights_wanted": True}, "does not give the attention weights"),
    ],
)
def test_declines_with_a_reason(change, words):
    (reason,) = declines(**{**FITTING, **change})
    assert re.search(words, reason), reason


def test_a_cpu_has_no_compute_capability():
    assert this_compute_capability() is None


def test_compute_capability_is_read_as_numbers(monkeypatch):
    class Device:
        compute_capability = "10.3"

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert this_compute_capability() == (10, 3)


def test_common_width_is_a_multiple_of_eight():
    assert [common_width(*widths) for widths in ((32, 160), (261, 7), (1, 1))] == [160, 264, 8]


@pytest.mark.parametrize(
    ("shape", "dtype", "rtol", "masked"),
    [
        ((2, 7, 13, 1, 11, 11), jnp.float32, 1e-5, True),
        ((2, 5, 6, 3, 2, 17), jnp.float32, 1e-5, True),
        ((2, 5, 6, 3, 9, 5), jnp.float32, 1e-5, False),
        ((2, 1, 3, 2, 9, 5), jnp.float32, 1e-5, True),
        ((2, 5, 6, 3, 2, 17), jnp.bfloat16, 2 * float(jnp.finfo("bfloat16").eps), True),
        ((2, 7, 13, 1, 11, 11), jnp.bfloat16, 2 * float(jnp.finfo("bfloat16").eps), False),
    ],
)
def test_equals_the_definition(shape, dtype, rtol, masked):
    b, q, k, h, d_qk, d_v = shape
    rng = np.random.default_rng(0)
    sizes = ((b, q, h, d_qk), (b, k, h, d_qk), (b, k, h, d_v), (b, q, h * d_v))
    queries, keys, values, cotangent = (
        jnp.asarray(rng.standard_normal(size), dtype) for size in sizes
    )
    mask = None
    if masked:
        mask = jnp.asarray(rng.integers(2, size=(b, q, k)), jnp.int32).at[1, 0].set(0)

    def results(function, *inputs):
        @jax.jit
        def both(queries, keys, values, cotangent):
            attended, gradients = jax.vjp(function, queries, keys, values)
            return attended, *gradients(cotangent)

        return both(*inputs)

    inputs = (queries, keys, values, cotangent)
    expected = results(lambda *qkv: attend(*qkv, mask)[0], *(x.astype(jnp.float32) for x in inputs))
    actual = results(lambda *qkv: attend_cudnn(*qkv, mask, implementation="xla"), *inputs)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape and one.dtype == dtype
        one, other = (np.asarray(x, np.float64) for x in (one, other))
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())
    if masked:
        assert np.all(np.asarray(actual[0], np.float32)[1, 0] == 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bool_])
@pytest.mark.parametrize("shape", [(3, 1, 7), (3, 5, 1), (1, 5, 7), (3, 1, 1), (1, 1, 7)])
def test_an_axis_of_one_of_a_mask_stands_for_all(shape, dtype):
    rng = np.random.default_rng(0)
    inputs = [
        jnp.asarray(rng.standard_normal((3, n, 2, d)), jnp.float32)
        for n, d in ((5, 3), (7, 3), (7, 9))
    ]
    mask = rng.random(shape) < 0.6
    mask[0, 0] = False  # An example, or a query, without any key ...
    mask[-1, -1, -1] = True  # ... but not all of them.
    mask = jnp.asarray(mask, dtype)
    weights = rng.standard_normal((3, 5, 18))

    def run(function):
        def loss(*inputs):
            attended = function(*inputs)
            return (attended * weights).sum(), attended

        gradients, attended = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*inputs)
        return attended, gradients

    ours = run(lambda *qkv: attend_cudnn(*qkv, mask, implementation="xla"))
    assert_leaves_close(ours, run(lambda *qkv: attend(*qkv, mask)[0]), 1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_hands_over_what_cudnn_can_take(monkeypatch, masked):
    handed = {}

    def record(queries, keys, values, *, mask, scale, implementation):
        handed.update(
            shapes=(queries.shape, keys.shape, values.shape),
            mask=None if mask is None else (mask.shape, mask.dtype),
            scale=scale,
            implementation=implementation,
        )
        return queries

    monkeypatch.setattr(jax.nn, "dot_product_attention", record)
    mask = jnp.ones((2, 5, 7), jnp.float32) if masked else None
    attended = attend_cudnn(
        *(jnp.zeros((2, n, 3, d), jnp.bfloat16) for n, d in ((5, 4), (7, 4), (7, 11))), mask
    )
    assert attended.shape == (2, 5, 33)
    assert handed["implementation"] == "cudnn"
    assert handed["scale"] == 4**-0.5
    queries, keys = (6, 8) if masked else (5, 7)
    assert handed["shapes"] == ((2, queries, 3, 16), (2, keys, 3, 16), (2, keys, 3, 16))
    assert handed["mask"] == (((2, 1, 6, 8), np.dtype(bool)) if masked else None)
    attend_cudnn(*[jnp.zeros((1, 2, 1, 8), jnp.bfloat16)] * 3, scale=3.0)
    assert handed["scale"] == 3.0
