"""Baselines of points: clouds as images whose pixels are points, and what the order is to each."""

import dataclasses

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.model.baselines import ConvNetConfig, TransformerConfig
from perceiver_jax.model.position_encoding import FourierConfig, fourier_features
from tests.model.baselines import tiny
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("quick_compilation", "highest_precision")

RNG = np.random.default_rng(0)
CLOUDS = RNG.uniform(-1, 1, (3, 24, 3)).astype(np.float32)
SET = dataclasses.replace(
    tiny.OF_POINTS, patch_size=1, widening_factor=1, pooling="mean", learned_positions=False
)
NAMES = [f"baseline_modelnet40_{name}" for name in
         ("resnet50", "vit_b2", "vit_b4", "vit_b8", "vit_b16", "transformer_44")]  # fmt: skip


def logits(config, inputs, params=None):
    model = perceiver_jax.build(config)
    params = model_params(model)[0] if params is None else params
    return jax.jit(lambda p, x: model.apply(p, {}, None, x)[0])(params, inputs)


@pytest.mark.parametrize("config", [tiny.OF_POINTS, SET], ids=["patches", "points"])
def test_equals_images_that_are_arranged_by_hand(config):
    """The same parameters read a grid of features, row by row; by every route."""
    position = config.position
    features = fourier_features(CLOUDS, position, position.max_resolution)
    width = 3 * (2 * 2 + 1)
    assert features.shape == (3, 24, width)
    grid = np.stack([np.asarray(features)[:, 6 * row : 6 * (row + 1)] for row in range(4)], axis=1)
    of_images = dataclasses.replace(config, of_points=False, channels=width, position=None)
    params, _ = model_params(perceiver_jax.build(config))
    expected = logits(of_images, grid, params)
    assert np.std(expected) > 0.1
    for route in ("auto", "plain"):
        found = logits(dataclasses.replace(config, attention=route), CLOUDS, params)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# The paper's Perceiver of points, in small.
PERCEIVER = config_lib.override(
    zoo.get_config("perceiver_modelnet40"),
    {
        "preprocessor.num_points": 24,
        "preprocessor.position.num_bands": 4,
        "encoder.num_latents": 5,
        "encoder.latent_channels": 16,
        "encoder.self_attends_per_block": 1,
        "encoder.self_attend_heads": 2,
        "decoder.num_classes": 3,
    },
)


@pytest.mark.parametrize(
    ("config", "matters"),
    [(PERCEIVER, False), (SET, False), (tiny.OF_POINTS, True)],
    ids=["perceiver", "set", "vit"],
)
def test_the_order_of_points_is_of_account_to_grids_alone(config, matters):
    model = perceiver_jax.build(config)
    params, _ = model_params(model)
    evaluate = jax.jit(lambda x: model.apply(params, {}, None, x)[0])
    plain = evaluate(CLOUDS)
    assert np.std(plain) > 0.1
    largest = 0.0
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(24)
        largest = max(largest, np.abs(evaluate(CLOUDS[:, order]) - plain).max())
    assert largest > 0.01 if matters else largest < 2e-5


def test_a_permutation_is_that_of_the_points():
    """Shuffled by the model or before it: the same."""
    from perceiver_jax.model.permutation import fixed_permutation

    params, _ = model_params(perceiver_jax.build(tiny.OF_POINTS))
    permuted = dataclasses.replace(tiny.OF_POINTS, permutation_seed=4)
    np.testing.assert_allclose(
        logits(permuted, CLOUDS, params),
        logits(tiny.OF_POINTS, CLOUDS[:, fixed_permutation(4, 24)], params),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip


def test_without_features_pixels_are_coordinates():
    config = ConvNetConfig((4, 6), 3, channels=3, widths=(2,), hidden=4, of_points=True)
    params, _ = model_params(perceiver_jax.build(config))
    of_images = dataclasses.replace(config, of_points=False)
    expected = logits(of_images, CLOUDS.reshape(3, 4, 6, 3), params)
    np.testing.assert_array_equal(logits(config, CLOUDS, params), expected)
    assert np.std(expected) > 0.01


def test_parameters_of_the_papers_baselines():
    """By hand: 387 channels a point, 12 layers of 12 d^2 + 13 d, norm and logits."""
    d, classes, channels = 768, 40, 3 * (2 * 64 + 1)
    layer = 12 * d * d + 13 * d
    for side in (2, 4, 8, 16):
        tokens = 2048 // side**2
        patches = (side**2 * channels + 1) * d
        expected = patches + (tokens + 1) * d + d + 12 * layer + 2 * d + (d + 1) * classes
        model = perceiver_jax.build(f"baseline_modelnet40_vit_b{side}")
        assert model.num_params() == expected
        assert model.config.num_patches == tokens
    # ResNet-50's with 384 channels more in the first convolution and 40 classes instead of 1,000.
    expected = 25_557_032 + 49 * (channels - 3) * 64 - 960 * (2048 + 1)
    assert perceiver_jax.build("baseline_modelnet40_resnet50").num_params() == expected
    # One tower of the Perceiver: 6 layers whose MLPs are as wide as the tokens.
    d = 1024
    expected = (channels + 1) * d + 6 * (6 * d * d + 10 * d) + 2 * d + (d + 1) * classes
    assert perceiver_jax.build("baseline_modelnet40_transformer_44").num_params() == expected


def test_they_read_what_the_perceiver_reads():
    perceiver = zoo.get_config("perceiver_modelnet40").preprocessor
    for name in NAMES:
        model = perceiver_jax.build(name)
        config = model.config
        assert config.position == perceiver.position and config.num_classes == 40
        (points,) = model.example_inputs(2)
        assert points.shape == (2, 1936 if name.endswith("_44") else perceiver.num_points, 3)


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ValueError, match=r"points must have shape \[batch, 24, 3\]; got \[3, 23, 3\]"
    ):
        logits(tiny.OF_POINTS, CLOUDS[:, 1:])
    with pytest.raises(ValueError, match="resize_to=.* has no meaning with of_points"):
        dataclasses.replace(tiny.OF_POINTS, resize_to=(2, 3))
    for position in (FourierConfig(2), FourierConfig(2, max_resolution=(5, 6))):
        with pytest.raises(ValueError, match="an entry for each of the 3 coordinates"):
            TransformerConfig((16, 16), 3, position=position, of_points=True)
