"""The definition of attention: golden arrays, hand-computed values, masks, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model.attention import attend, cross_attention_mask
from tests import golden_cases

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]


@pytest.fixture
def case() -> golden_cases.Case:
    return golden_cases.load("attend")


def qkv(case: golden_cases.Case, dtype=jnp.float32, scale: float = 1.0) -> tuple[jax.Array, ...]:
    q, k, v = (jnp.asarray(case.inputs[name]) for name in "qkv")
    return tuple(x.astype(dtype) for x in (scale * q, scale * k, v))


@pytest.mark.parametrize(
    ("output", "mask_dtype", "scale"),
    [
        ("out", None, 1.0),
        ("out_masked", jnp.int32, 1.0),
        ("out_masked_bool", bool, 1.0),
        ("out_masked", jnp.float32, 1.0),
        ("out_large", jnp.int32, 50.0),
    ],
)
def test_equals_golden(case, output, mask_dtype, scale):
    mask = None if mask_dtype is None else case.inputs["attention_mask"].astype(mask_dtype)
    attended, _ = attend(*qkv(case, scale=scale), mask)
    golden_cases.assert_close(attended, case.outputs[output])


@pytest.mark.parametrize(
    ("dtype", "output"), [(jnp.float16, "out_f16_masked"), (jnp.bfloat16, "out_bf16_masked")]
)
def test_half_precision_equals_golden_within_two_units(case, dtype, output):
    attended, weights = attend(*qkv(case, dtype), case.inputs["attention_mask"])
    assert attended.dtype == dtype
    assert weights.dtype == jnp.float32
    golden_cases.assert_within_ulps(attended, case.outputs[output], 2)


def test_gradients_equal_golden(case):
    mask = case.inputs["attention_mask"]
    gradients = jax.grad(lambda q, k, v: jnp.sin(attend(q, k, v, mask)[0]).sum(), (0, 1, 2))(
        *qkv(case)
    )
    golden_cases.assert_gradients_close(
        {"": dict(zip("qkv", gradients, strict=True))}, {"": {n: case.extra[n] for n in "qkv"}}
    )


def test_cross_attention_mask_equals_golden():
    case = golden_cases.load("make_cross_attention_mask")
    mask = cross_attention_mask(case.inputs["query_mask"], case.inputs["kv_mask"])
    np.testing.assert_array_equal(mask, case.outputs["out"])


def test_hand_computed_value():
    # One head of width 4: scores (2 * 1, 0) / sqrt(4) = (1, 0), weights (e, 1) / (e + 1).
    queries = jnp.array([2.0, 0.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    keys = jnp.array([[1.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0]]).reshape(1, 2, 1, 4)
    values = jnp.array([10.0, 20.0]).reshape(1, 2, 1, 1)
    attended, weights = attend(queries, keys, values)
    np.testing.assert_allclose(weights[0, 0, 0], [0.7310586, 0.2689414], rtol=1e-6)
    np.testing.assert_allclose(attended, [[[12.689414]]], rtol=1e-6)


def test_heads_are_the_slower_axis_of_the_output(case):
    queries, keys, values = qkv(case)
    attended, _ = attend(queries, keys, values)
    heads = [
        attend(queries[:, :, h : h + 1], keys[:, :, h : h + 1], values[:, :, h : h + 1])[0]
        for h in range(3)
    ]
    golden_cases.assert_close(attended, jnp.concatenate(heads, axis=-1), atol=1e-6)


def test_weights_sum_to_one_and_rows_without_keys_are_zero(case):
    mask = case.inputs["attention_mask"]
    attended, weights = attend(*qkv(case), mask)
    has_key = mask.any(axis=-1)
    assert not has_key.all() and has_key.any()
    sums = np.asarray(weights.sum(axis=-1)).transpose(0, 2, 1)  # [b, q, h]
    np.testing.assert_allclose(sums[has_key], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(sums[~has_key], 0.0)
    np.testing.assert_array_equal(np.asarray(attended)[~has_key], 0.0)
    np.testing.assert_array_equal(
        np.asarray(weights)[np.broadcast_to(mask[:, None] == 0, weights.shape)], 0.0
    )


def test_gradients_of_fully_masked_rows_are_zero_and_finite(case):
    mask = case.inputs["attention_mask"]
    has_key = mask.any(axis=-1)
    queries, keys, values = qkv(case)
    gradient = jax.grad(lambda q: jnp.sin(attend(q, keys, values, mask)[0]).sum())(queries)
    np.testing.assert_array_equal(np.asarray(gradient)[~has_key], 0.0)
    assert np.abs(np.asarray(gradient)[has_key]).min() > 0


def test_dropout_zeroes_some_weights_and_scales_the_others(case):
    queries, keys, _ = qkv(case)
    # The identity as values: the output is the weights that were used.
    values = jnp.broadcast_to(jnp.eye(7)[None, :, None], (2, 7, 3, 7))
    attended, weights = attend(
        queries, keys, values, dropout_rate=0.25, dropout_key=jax.random.key(3)
    )
    used = np.asarray(attended.reshape(2, 5, 3, 7).transpose(0, 2, 1, 3))
    dropped = used == 0
    assert 0.15 < dropped.mean() < 0.35
    np.testing.assert_allclose(used[~dropped], np.asarray(weights)[~dropped] / 0.75, rtol=1e-6)
    # What is returned is the weights before dropout.
    np.testing.assert_array_equal(weights, attend(queries, keys, values)[1])


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((2, 5, 12), (2, 7, 3, 4), (2, 7, 3, 6)), "batch, index, heads, channels"),
        (((1, 5, 3, 4), (2, 7, 3, 4), (2, 7, 3, 6)), "one batch size"),
        (((2, 5, 3, 4), (2, 7, 3, 2), (2, 7, 3, 6)), "one width"),
        (((2, 5, 3, 4), (2, 7, 1, 4), (2, 7, 3, 6)), "head count"),
        (((2, 5, 3, 4), (2, 7, 3, 4), (2, 5, 3, 6)), "as many values as keys"),
    ],
)
def test_wrong_shapes_are_named(shapes, words):
    with pytest.raises(ValueError, match=words) as error:
        attend(*(jnp.zeros(shape) for shape in shapes))
    assert str(shapes[0]) in str(error.value)


def test_wrong_mask_is_named(case):
    with pytest.raises(ValueError, match=r"\(2, 5, 7\), .*; got \(2, 7, 5\)"):
        attend(*qkv(case), jnp.ones((2, 7, 5)))


def test_dropout_needs_a_key(case):
    with pytest.raises(ValueError, match="dropout_key"):
        attend(*qkv(case), dropout_rate=0.1)
