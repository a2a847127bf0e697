"""Layer norm against Haiku's, in values, gradients, names and dtypes."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import layer_norm, routes

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]


def _arrays(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def _haikus(x, scale, offset):
    norm = hk.without_apply_rng(
        hk.transform(lambda x: hk.LayerNorm(-1, create_scale=True, create_offset=True)(x))
    )
    return norm.apply({"layer_norm": {"scale": scale, "offset": offset}}, x)


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 3, 5)])
def test_value_and_gradients_equal_haikus(leading):
    x, scale, offset, cotangent = _arrays((*leading, 7), (7,), (7,), (*leading, 7))

    def value_and_gradients(norm):
        value, vjp = jax.vjp(norm, 3.0 * x + 2.0, scale, offset)
        return value, vjp(cotangent)

    chex.assert_trees_all_close(
        value_and_gradients(layer_norm.normalise),
        value_and_gradients(_haikus),
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_form_of_accelerators_equals_that_of_cpus(monkeypatch):
    arrays = _arrays((2, 5, 7), (7,), (7,))

    def gradients():
        return jax.grad(lambda *x: jnp.sin(layer_norm.normalise(*x)).sum(), (0, 1, 2))(*arrays)

    here = gradients()
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *x, cpu, default: default(*x))
    chex.assert_trees_all_close(here, gradients(), rtol=1e-5, atol=1e-5)


def test_second_derivatives_equal_haikus():
    x, scale, offset = _arrays((2, 5, 7), (7,), (7,))

    def curvature(norm):
        def loss(x):
            return jnp.sum(jnp.sin(norm(x, scale, offset)) ** 2)

        return jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) ** 3))(x)

    chex.assert_trees_all_close(
        curvature(layer_norm.normalise), curvature(_haikus), rtol=1e-4, atol=1e-4
    )


def test_bfloat16_is_normalised_in_the_float32_of_the_parameters():
    (x,) = _arrays((2, 5, 7), dtype=jnp.bfloat16)
    scale, offset = _arrays((7,), (7,))
    wide = x.astype(jnp.float32)
    normed = layer_norm.normalise(x, scale, offset)
    assert normed.dtype == jnp.bfloat16
    chex.assert_trees_all_equal(
        normed, layer_norm.normalise(wide, scale, offset).astype(jnp.bfloat16)
    )

    def gradients(norm, x):
        return jax.grad(lambda *a: norm(*a).astype(jnp.float32).sum() ** 2, (0, 1, 2))(
            x, scale, offset
        )

    ours = gradients(layer_norm.normalise, x)
    assert [g.dtype for g in ours] == [jnp.bfloat16, jnp.float32, jnp.float32]
    haikus = gradients(_haikus, wide)
    # The cotangents are numbers that bfloat16 rounds, once.
    chex.assert_trees_all_close(ours[1:], haikus[1:], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("route", ["auto", "plain"])
def test_module_is_haikus_by_another_backward_pass(route):
    (x,) = _arrays((2, 5, 7))

    def twice(norm):
        return hk.without_apply_rng(hk.transform(lambda x: norm()(norm()(x))))

    ours = twice(layer_norm.LayerNorm)
    haikus = twice(lambda: hk.LayerNorm(-1, create_scale=True, create_offset=True))
    with routes.choosing(route):
        params = ours.init(jax.random.key(0), x)
        out = ours.apply(params, x)
        program = str(jax.make_jaxpr(lambda x: ours.apply(params, x))(x))
    chex.assert_trees_all_equal(params, haikus.init(jax.random.key(0), x))
    chex.assert_trees_all_close(out, haikus.apply(params, x), rtol=1e-5, atol=1e-6)
    assert ("custom_vjp" in program) == (route != "plain")


def test_parameters_come_alone_under_the_same_names():
    def alone(x):
        return layer_norm.normalise(x, *layer_norm.LayerNorm().parameters(x.shape[-1], x.dtype))

    (x,) = _arrays((2, 5, 7))
    ours, module = (
        hk.without_apply_rng(hk.transform(f)) for f in (alone, lambda x: layer_norm.LayerNorm()(x))
    )
    params = ours.init(jax.random.key(0), x)
    chex.assert_trees_all_equal(params, module.init(jax.random.key(0), x))
    chex.assert_trees_all_close(ours.apply(params, x), module.apply(params, x))
