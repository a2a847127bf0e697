"""Attention by routes: sides of unlike forms, and the kernels with every form of mask."""

import functools
from collections.abc import Iterator

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import routes
from perceiver_jax.model.blocks import CrossAttention
from perceiver_jax.model.byte_array import ByteArray, Grid
from perceiver_jax.model.kernels import cudnn, pallas_tpu
from perceiver_jax.model.multi_head import Attention
from tests.leaf_errors import KEY_BIASES, assert_leaves_close
from tests.random_params import random_params

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

BATCH = 3


def _draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def _shared() -> ByteArray:
    """Elements that are the same for all examples."""
    return ByteArray((Grid.of(jnp.zeros((BATCH, 7, 0)), rows=_draw(7, 5)),))


@pytest.mark.parametrize("route", ["plain", "streamed", "folded"])
@pytest.mark.parametrize(
    ("queries", "inputs"),
    [
        (_draw(1, 2, 11), _shared()),
        (_shared(), _draw(BATCH, 2, 11)),
        (_shared(), _shared()),
        (ByteArray.of(_draw(BATCH, 2, 11)), ByteArray.of(_draw(BATCH, 7, 5))),
    ],
    ids=["shared inputs", "shared queries", "all shared", "two byte arrays"],
)
def test_forms_of_the_two_sides_do_not_matter(queries, inputs, route):
    def dense(x):
        x = x.dense() if isinstance(x, ByteArray) else x
        return jnp.broadcast_to(x, (BATCH, *x.shape[1:]))

    f = hk.transform(lambda *x: CrossAttention(num_heads=1)(*x))
    params = random_params(f.init, queries, inputs)
    with routes.choosing("plain"):
        expected = f.apply(params, None, dense(queries), dense(inputs))
    with routes.choosing(route):
        found = f.apply(params, None, queries, inputs)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def kernels_run_here(monkeypatch) -> Iterator[None]:
    """Both kernels apply, and compute on the CPU what they would on their accelerators."""
    against = routes._against

    def only_for_weights(site: routes.Site, route: routes.Route) -> str:
        return site.needs_weights if route in routes._KERNELS else against(site, route)

    monkeypatch.setattr(routes, "_against", only_for_weights)
    monkeypatch.setattr(
        cudnn, "attend_cudnn", functools.partial(cudnn.attend_cudnn, implementation="xla")
    )
    monkeypatch.setattr(
        pallas_tpu, "attend_pallas", functools.partial(pallas_tpu.attend_pallas, interpret=True)
    )
    routes.plan.cache_clear()
    yield
    routes.plan.cache_clear()


QUERIES, KEYS = 5, 7


@pytest.mark.parametrize("kernel", ["cudnn", "pallas"])
@pytest.mark.parametrize(
    ("query_batch", "mask_shape", "kind"),
    [
        (BATCH, None, "none"),
        (BATCH, (BATCH, 1, KEYS), "keys"),
        (1, (1, 1, KEYS), "keys"),
        (BATCH, (BATCH, QUERIES, 1), "queries"),
        (1, (1, QUERIES, 1), "queries"),
        (BATCH, (BATCH, 1, 1), "queries"),
        (BATCH, (1, QUERIES, KEYS), "full"),
        (1, (BATCH, QUERIES, KEYS), "full"),
    ],
)
def test_kernels_take_every_form_of_mask(kernel, query_batch, mask_shape, kind, kernels_run_here):
    mask = None
    if mask_shape is not None:
        drawn = np.random.default_rng(1).random(mask_shape) < 0.6
        drawn[0, 0] = drawn[0, 0] & (kind == "keys")  # An example or a query without any key, ...
        drawn[0, 0, 0], drawn[-1, -1, -1] = False, True  # ... some key hidden, and some not.
        mask = jnp.asarray(drawn)
    queries, inputs = _draw(query_batch, QUERIES, 9), _draw(BATCH, KEYS, 11)
    cotangent = _draw(BATCH, QUERIES, 13)
    f = hk.transform(
        lambda *x: Attention(num_heads=3, qk_channels=6, v_channels=15, output_channels=13)(*x)
    )
    params = random_params(f.init, queries, inputs, mask)

    def run(route):
        def loss(params, queries, inputs):
            with routes.choosing(route):
                attended = f.apply(params, None, queries, inputs, mask)
            return jnp.sum(attended * cotangent), attended

        with routes.recording() as plans:
            gradients, attended = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(
                params, queries, inputs
            )
        (plan,) = plans["attention"]
        assert (plan.route, plan.site.mask) == (route, kind)
        return attended, gradients

    ours, definition = run(kernel), run("plain")
    assert_leaves_close(ours, definition, 1e-5, zero=KEY_BIASES)
