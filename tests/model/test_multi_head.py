"""Attention by routes where the two sides have unlike forms: shared elements, two byte arrays."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import routes
from perceiver_jax.model.blocks import CrossAttention
from perceiver_jax.model.byte_array import ByteArray, Grid
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
