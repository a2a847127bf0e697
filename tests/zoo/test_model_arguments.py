"""Arguments that make no sense are refused in words, whichever part of the model they reach."""

import jax
import jax.numpy as jnp
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.errors import ConfigError, ModelError

CONFIG = zoo.PerceiverConfig(
    preprocessor=zoo.ImageConfig(shape=(3, 5), channels=1, position=zoo.FourierConfig(num_bands=2)),
    encoder=zoo.EncoderConfig(
        num_latents=5,
        latent_channels=14,
        num_blocks=1,
        self_attends_per_block=1,
        self_attend_heads=2,
    ),
    decoder=zoo.ClassificationDecoderConfig(num_classes=3, query_channels=11),
)


@pytest.fixture(scope="module")
def model_and_params():
    model = perceiver_jax.build(CONFIG)
    return model, *model.init(jax.random.key(0))


def test_inputs_in_a_wrong_container(model_and_params):
    model, params, state = model_and_params
    with pytest.raises(ValueError, match=r"images must be an array .* got a dict"):
        model.apply(params, state, None, {"image": jnp.ones((2, 3, 5, 1))})
    with pytest.raises(ValueError, match="state must be the two mappings that init returns"):
        model.apply(params, None, None, jnp.ones((2, 3, 5, 1)))


def test_masks_may_be_lists(model_and_params):
    model, params, state = model_and_params
    images = jax.random.normal(jax.random.key(1), (1, 3, 5, 1))
    mask = [[1] * 14 + [0]]
    listed, _ = model.apply(params, state, None, images, input_mask=mask)
    array, _ = model.apply(params, state, None, images, input_mask=jnp.asarray(mask))
    assert jnp.array_equal(listed, array)


def test_a_pattern_that_captures_nothing(model_and_params):
    model, params, state = model_and_params
    with pytest.raises(ValueError, match="matches no module"):
        model.apply(params, state, None, jnp.ones((2, 3, 5, 1)), capture="*no_such_module*")


def test_build_wants_a_model():
    with pytest.raises(ModelError, match="takes a name of list_models"):
        perceiver_jax.build(5)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("self_attend_heads", 3, "v_channels=14 is not divisible|qk_channels=14 is not divisible"),
        ("self_attend_heads", 0, "self_attend_heads=0 must be at least 1"),
        ("num_blocks", -1, "num_blocks=-1 must not be negative"),
        ("num_latents", 0, "num_latents=0 must be at least 1"),
    ],
)
def test_encoders_that_cannot_be(path, value, words):
    with pytest.raises(ConfigError, match=words):
        perceiver_jax.build(CONFIG, encoder={path: value})
