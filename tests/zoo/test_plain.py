"""The same model, computed by the definitions."""

import perceiver_jax
from perceiver_jax import zoo
from tests import tiny_models


def test_is_the_same_model_by_the_definitions():
    for maker in tiny_models.ALL.values():
        model = perceiver_jax.build(maker(), attention="folded")
        assert model.plain().config.attention == "plain"
        assert perceiver_jax.build(model.plain().config, attention="folded") == model
        assert model.plain().abstract_params() == model.abstract_params()


def test_a_convolutional_network_is_its_own_definition():
    model = perceiver_jax.build(zoo.ConvNetConfig(shape=(5, 7), num_classes=3))
    assert model.plain() is model
