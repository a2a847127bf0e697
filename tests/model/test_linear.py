"""The linear layer's own backward pass against automatic differentiation of `x @ w`."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import linear

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
