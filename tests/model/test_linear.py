"""The linear layer's own backward pass against automatic differentiation of `x @ w`."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import linear, routes

pytestmark = pytest.mark.core


def _arrays(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 3, 5)])
def test_value_and_gradients_equal_plain_products(leading):
    x, w, cotangent = _arrays((*leading, 7), (7, 11), (*leading, 11))

    def loss(product, x, w):
        return jnp.sum(jnp.sin(product(x, w)) * cotangent)

    plain = jax.value_and_grad(loss, argnums=(1, 2))(jnp.matmul, x, w)
    ours = jax.value_and_grad(loss, argnums=(1, 2))(linear.matmul, x, w)
    chex.assert_trees_all_close(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3, 5)])
def test_bias_and_its_gradient_equal_plain_sums(leading):
    x, w, b, cotangent = _arrays((*leading, 7), (7, 11), (11,), (*leading, 11))
    value, vjp = jax.vjp(linear.affine, x, w, b)
    expected, expected_vjp = jax.vjp(lambda x, w, b: x @ w + b, x, w, b)
    chex.assert_trees_all_close(value, expected, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(vjp(cotangent), expected_vjp(cotangent), rtol=1e-5, atol=1e-5)


def test_sums_of_bfloat16_rows_are_added_up_in_float32():
    # 1 + 2^-9 would be 1 again in bfloat16.
    x = jnp.full((512, 3), 2.0**-9, jnp.bfloat16).at[0].set(1.0)
    expected = jnp.full(3, 1 + 511 * 2.0**-9)
    for sum_rows in (linear.sum_rows, jax.jit(linear.sum_rows, static_argnums=1)):
        total = sum_rows(x, jnp.float32)
        assert total.dtype == jnp.float32
        chex.assert_trees_all_close(total, expected, rtol=1e-6)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_sums_of_rows_are_products_on_cpus_alone(platform):
    (x,) = _arrays((2, 5, 7))
    program = jax.export.export(jax.jit(linear.sum_rows, static_argnums=1), platforms=[platform])(
        x, jnp.float32
    ).mlir_module()
    assert ("stablehlo.dot_general" in program) == (platform == "cpu")
    assert ("stablehlo.reduce" in program) == (platform != "cpu")


def test_the_plain_route_leaves_derivatives_to_automatic_differentiation():
    (x,) = _arrays((2, 3, 5))
    layer = hk.without_apply_rng(hk.transform(lambda x: linear.Linear(7)(x)))
    params = layer.init(jax.random.key(0), x)

    def value_and_program(route):
        with routes.choosing(route):
            value = jax.value_and_grad(lambda p: jnp.sum(layer.apply(p, x) ** 2))(params)
            return value, str(jax.make_jaxpr(lambda x: layer.apply(params, x))(x))

    plain, plain_program = value_and_program("plain")
    ours, our_program = value_and_program("auto")
    chex.assert_trees_all_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert "custom_vjp" in our_program
    assert "custom_vjp" not in plain_program


def test_second_derivatives_equal_plain_products():
    x, w = _arrays((2, 3, 5), (5, 7))

    def curvature(product):
        def loss(w):
            return jnp.sum(jnp.sin(product(x, w)) ** 2)

        return jax.grad(lambda w: jnp.sum(jax.grad(loss)(w) ** 3))(w)

    chex.assert_trees_all_close(curvature(linear.matmul), curvature(jnp.matmul), rtol=1e-4)


def test_gradients_keep_their_dtypes_when_dtypes_are_mixed():
    x, w = _arrays((2, 3, 5), dtype=jnp.bfloat16) + _arrays((5, 7))
    dx, dw = jax.grad(lambda x, w: linear.matmul(x, w).sum(), argnums=(0, 1))(x, w)
    assert (dx.dtype, dw.dtype) == (jnp.bfloat16, jnp.float32)
    assert float(jnp.abs(dw).sum()) > 0


def test_parameters_are_those_of_haiku():
    (x,) = _arrays((2, 3, 5))
    ours = hk.without_apply_rng(hk.transform(lambda x: linear.Linear(7)(x)))
    haikus = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(7)(x)))
    params = ours.init(jax.random.key(0), x)
    chex.assert_trees_all_equal(params, haikus.init(jax.random.key(0), x))
    chex.assert_trees_all_close(ours.apply(params, x), haikus.apply(params, x), rtol=1e-6)
