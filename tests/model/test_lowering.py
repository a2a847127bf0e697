"""Models lower for every platform, from any: no operation is missing on one of them."""

import jax
import jax.export
import pytest

import perceiver_jax
from tests import tiny_models

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("name", tiny_models.ALL)
def test_forward_and_training_gradient_lower_for_every_platform(name):
    model = perceiver_jax.build(tiny_models.ALL[name]())
    params, state = model.abstract_params()
    inputs = model.example_inputs(2)

    def forward(params, state, *inputs):
        return model.apply(params, state, None, *inputs)[0]

    def train_gradient(params, state, rng, *inputs):
        def loss(params):
            outputs, new_state = model.apply(params, state, rng, *inputs, is_training=True)
            return sum((x**2).mean() for x in jax.tree.leaves(outputs)), new_state

        return jax.value_and_grad(loss, has_aux=True)(params)

    rng = jax.eval_shape(lambda: jax.random.key(0))
    for function, args in ((forward, inputs), (train_gradient, (rng, *inputs))):
        exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(params, state, *args)
        assert exported.platforms == PLATFORMS
        assert exported.in_avals
