"""The convolutional baseline: a plain network, which an input permutation does reach."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.model import baselines, preprocessors
from perceiver_jax.model.baselines import ConvNetConfig, pixels
from perceiver_jax.model.position_encoding import FourierConfig
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = ConvNetConfig(shape=(5, 7), num_classes=3, widths=(2, 3), hidden=11)
IMAGES = np.random.default_rng(0).standard_normal((2, 5, 7, 1)).astype(np.float32)


def logits(config, images=IMAGES):
    model = perceiver_jax.build(config)
    params, state = model_params(model)
    return np.asarray(jax.jit(model.apply)(params, state, None, images)[0])


def test_permutation_is_that_of_the_pixels():
    permuted = dataclasses.replace(CONFIG, permutation_seed=4)
    order = np.random.RandomState(4).permutation(35)
    by_hand = IMAGES.reshape(2, 35, 1)[:, order].reshape(IMAGES.shape)
    np.testing.assert_allclose(logits(permuted), logits(CONFIG, by_hand), atol=1e-6)
    assert not np.allclose(logits(permuted), logits(CONFIG), atol=1e-3)


@pytest.mark.parametrize("seed", [None, 4])
def test_pixels_are_the_inputs_of_a_perceiver(seed):
    """The same channels in the same order, permuted or not: both papers' FF rows compare these."""
    config = dataclasses.replace(CONFIG, position=FourierConfig(2), permutation_seed=seed)
    ours = pixels.positioned(config, jnp.asarray(IMAGES)).dense()
    image = zoo.ImageConfig((5, 7), channels=1, position=FourierConfig(2), permutation_seed=seed)

    def elements(images):
        return preprocessors.ImagePreprocessor(image)(images).features

    import haiku as hk

    (theirs, _) = hk.transform_with_state(elements).apply({}, {}, None, jnp.asarray(IMAGES))
    np.testing.assert_array_equal(np.asarray(ours).reshape(theirs.shape), theirs)


def test_positions_are_further_channels():
    positioned = dataclasses.replace(CONFIG, position=FourierConfig(2))
    params, _ = perceiver_jax.build(positioned).abstract_params()
    assert params["conv_net/conv2_d"]["w"].shape == (3, 3, 1 + 10, 2)
    # Two pairs of convolutions and two linear layers, each with a bias.
    assert len(params) == 6
    assert perceiver_jax.build(CONFIG).num_params() == (
        (9 * 1 + 1) * 2
        + (9 * 2 + 1) * 2
        + (9 * 2 + 1) * 3
        + (9 * 3 + 1) * 3
        + (2 * 2 * 3 + 1) * 11
        + (11 + 1) * 3
    )


def test_images_of_another_size_are_named():
    with pytest.raises(ValueError, match=r"\[batch, 5, 7, 1\]; got \[2, 5, 6, 1\]"):
        logits(CONFIG, IMAGES[:, :, :6])


def test_what_a_convolutional_network_cannot_do_is_refused():
    model = perceiver_jax.build(ConvNetConfig(shape=(5, 7), num_classes=3))
    images = jnp.ones((2, 5, 7, 1))
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ValueError, match="takes one input; got 0"):
        model.apply(params, state, None)
    with pytest.raises(ValueError, match="takes no masks"):
        model.apply(params, state, None, images, input_mask=jnp.ones((2, 35)))
    assert model.apply(params, state, None, images, capture=True)[2] == {}


def test_a_config_of_no_baseline_is_named():
    with pytest.raises(TypeError, match="BaselineConfig is the config of no baseline"):
        baselines.make(baselines.BaselineConfig((5, 7), 3))
