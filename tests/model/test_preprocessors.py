"""Preprocessors of one modality: golden arrays, orders, sizes, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    AudioPreprocessor,
    ImageConfig,
    ImagePreprocessor,
    LabelConfig,
    OneHotPreprocessor,
    PointsConfig,
    PointsPreprocessor,
    TokensConfig,
    TokensPreprocessor,
)
from tests import golden_cases, released_settings
from tests.random_params import transformed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

FOURIER = FourierConfig(num_bands=2)


def preprocess(module, config, is_training=False):
    return lambda x: module(config)(x, is_training=is_training)


def abstract(function, *shape, dtype=jnp.float32):
    """Traces `function` on an array of a shape; nothing is computed."""
    f = hk.transform_with_state(function)
    x = jax.ShapeDtypeStruct(shape, dtype)
    return jax.eval_shape(f.init, jax.random.key(0), x)


@pytest.mark.parametrize("name", golden_cases.case_names("preproc_image_"))
def test_images_equal_golden(name):
    case = golden_cases.load(name)
    x = case.inputs["x"]
    config = released_settings.image(case.config["kwargs"], x.shape[1:-1])
    # Batch norm makes its averages in training only.
    init = preprocess(ImagePreprocessor, config, is_training=True)
    golden_cases.assert_init_makes_tree_of(init, case, x)
    elements = golden_cases.run(preprocess(ImagePreprocessor, config), case, x)
    # One stored case keeps the grid, which is only another shape of the same elements.
    grid = case.outputs["out"].shape[1:-1]
    assert grid == config.index_dims or grid == (np.prod(config.index_dims),)
    for actual, key in (
        (elements.features, "out"),
        (elements.without_position, "without_pos"),
    ):
        expected = case.outputs[key]
        expected = expected.reshape(len(expected), -1, expected.shape[-1])
        golden_cases.assert_close(actual, expected, key)


def test_audio_equals_golden():
    case = golden_cases.load("preproc_audio_fourier")
    x = case.inputs["x"]
    with released_settings.using_up(case.config["kwargs"]) as settings:
        config = AudioConfig(
            num_samples=x.shape[1],
            samples_per_patch=settings.pop("samples_per_patch"),
            position=released_settings.position(settings),
        )
    elements = golden_cases.run(preprocess(AudioPreprocessor, config), case, x)
    golden_cases.assert_close(elements.features, case.outputs["out"])
    golden_cases.assert_close(elements.without_position, case.outputs["without_pos"])


def test_points_are_their_fourier_features():
    config = PointsConfig(num_points=5, position=FourierConfig(2, max_resolution=(4, 6, 8)))
    points = np.zeros((1, 5, 3), np.float32)
    points[0, 3] = [0.5, -0.25, 0.125]
    _, call = transformed(preprocess(PointsPreprocessor, config), points)
    elements = call({}, points)
    # Frequencies from 1 to half the resolution, two for each axis.
    phases = np.pi * np.array([0.5 * 1, 0.5 * 2, -0.25 * 1, -0.25 * 3, 0.125 * 1, 0.125 * 4])
    expected = np.concatenate([points[0, 3], np.sin(phases), np.cos(phases)])
    np.testing.assert_allclose(elements.features[0, 3], expected, atol=1e-6)
    np.testing.assert_array_equal(elements.without_position, points)


def test_labels_are_one_element():
    labels = np.eye(5, dtype=np.float32)[[3, 1]]
    _, call = transformed(preprocess(OneHotPreprocessor, LabelConfig(5)), labels)
    np.testing.assert_array_equal(call({}, labels).features, labels[:, None])


def test_tokens_are_embedding_plus_position():
    ids = np.array([[2, 0, 6], [6, 6, 1]], np.int32)
    config = TokensConfig(length=3, vocab_size=7, channels=5)
    params, call = transformed(preprocess(TokensPreprocessor, config), ids)
    table = params["embed"]["embeddings"]
    positions = params["trainable_position_encoding"]["pos_embs"]
    elements = call(params, ids)
    np.testing.assert_allclose(elements.features[0], table[[2, 0, 6]] + positions, atol=1e-6)
    np.testing.assert_allclose(elements.without_position[1], table[[6, 6, 1]], atol=1e-6)


class TestPermutation:
    """The order of the elements changes; what they are does not."""

    @pytest.mark.parametrize("position", [FOURIER, LearnedConfig(3), None])
    def test_moves_whole_elements(self, position):
        images = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
        plain = ImageConfig((5, 7), position=position)
        shuffled = ImageConfig((5, 7), position=position, permutation_seed=11)
        params, call = transformed(preprocess(ImagePreprocessor, plain), images)
        _, call_shuffled = transformed(preprocess(ImagePreprocessor, shuffled), images)
        expected, actual = call(params, images), call_shuffled(params, images)
        order = np.random.RandomState(11).permutation(35)
        assert not np.array_equal(order, np.arange(35))
        np.testing.assert_array_equal(actual.features, np.asarray(expected.features)[:, order])
        np.testing.assert_array_equal(
            actual.without_position, np.asarray(expected.without_position)[:, order]
        )

    def test_seeds_differ(self):
        images = np.random.default_rng(0).random((1, 5, 7, 1), np.float32)
        outputs = []
        for seed in (0, 1):
            config = ImageConfig((5, 7), channels=1, permutation_seed=seed)
            outputs.append(
                transformed(preprocess(ImagePreprocessor, config), images)[1]({}, images)
            )
        assert not np.array_equal(outputs[0].features, outputs[1].features)


def test_extra_position_layers_are_residual():
    # Two layers: p + W p + b, rectified, and the same again without rectifying.
    images = np.zeros((1, 2, 3, 1), np.float32)
    config = ImageConfig((2, 3), channels=1, position=LearnedConfig(2), extra_position_mlp_layers=2)
    params, call = transformed(preprocess(ImagePreprocessor, config), images)
    build = "image_preprocessor/~_build_network_inputs"
    encoding = params[f"{build}/trainable_position_encoding"]["pos_embs"]
    first, second = params[f"{build}/linear"], params[f"{build}/linear_1"]
    encoding = np.maximum(encoding + encoding @ first["w"] + first["b"], 0)
    encoding = encoding + encoding @ second["w"] + second["b"]
    np.testing.assert_allclose(call(params, images).features[0, :, 1:], encoding, atol=1e-6)


def test_images_of_other_sizes_keep_the_config_resolution():
    # The same position, the corner (1, 1), has the same features at every size.
    config = ImageConfig((4, 6), channels=1, position=FourierConfig(3, max_resolution=(4, 6)))
    _, call = transformed(preprocess(ImagePreprocessor, config), np.zeros((1, 4, 6, 1)))
    small, large = call({}, np.zeros((1, 4, 6, 1))), call({}, np.zeros((1, 7, 5, 1)))
    assert large.features.shape == (1, 35, 15)
    np.testing.assert_allclose(small.features[0, -1], large.features[0, -1], atol=1e-6)


def test_neighbourhood_of_both_frames_is_one_element():
    """Perceiver IO, App. H: 3 x 3 pixels of two frames."""
    config = ImageConfig(
        (2, 4, 5), channels=1, prep="patches", temporal_downsample=2, neighbourhood=3
    )
    frames = 1 + np.arange(40, dtype=np.float32).reshape(1, 2, 4, 5, 1)
    _, call = transformed(preprocess(ImagePreprocessor, config), frames)
    features = call({}, frames).features
    assert features.shape == (1, 20, 18)
    around = frames[0, :, 0:3, 1:4, 0]  # Around row 1, column 2, the element 1 * 5 + 2.
    np.testing.assert_array_equal(features[0, 7], around.reshape(-1))


def torch_stem(height: int, width: int) -> ImageConfig:
    return ImageConfig(
        (height, width),
        prep="conv",
        prep_channels=5,
        spatial_downsample=4,
        stem_padding="torch",
    )


def test_torch_padding_counts_what_the_stem_makes():
    config = torch_stem(20, 14)
    f = hk.transform_with_state(preprocess(ImagePreprocessor, config, is_training=True))
    key, images = jax.random.key(0), jax.ShapeDtypeStruct((1, 20, 14, 3), jnp.float32)
    variables = jax.eval_shape(f.init, key, images)
    elements, _ = jax.eval_shape(f.apply, *variables, key, images)
    assert config.index_dims == (4, 3)
    assert elements.inputs.shape == (1, 12, 5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ImageConfig((8, 12)), (8, 12)),
        (ImageConfig((17, 13), prep="conv", prep_channels=5, spatial_downsample=4), (5, 4)),
        # Hugging Face's counts, at 224 x 224 and of its small models in tests/golden/hf_small.
        (torch_stem(224, 224), (55, 55)),
        (torch_stem(32, 40), (7, 9)),
        (torch_stem(37, 29), (9, 7)),
        (ImageConfig((4, 8, 12), prep="patches", spatial_downsample=4), (4, 2, 3)),
        (ImageConfig((2, 8, 12), prep="patches", temporal_downsample=2), (8, 12)),
        (ImageConfig((4, 8, 12), spatial_downsample=4, temporal_downsample=2), (2, 2, 3)),
        (AudioConfig(48, 16), (3,)),
    ],
)
def test_index_dims(config, expected):
    assert config.index_dims == expected


class TestErrors:
    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((2, 8, 12), "must have shape"),
            ((2, 8, 12, 1), r"batch, y, x, 3\]; got \[2, 8, 12, 1"),
        ],
    )
    def test_images_of_a_wrong_shape(self, shape, words):
        with pytest.raises(ValueError, match=words):
            abstract(preprocess(ImagePreprocessor, ImageConfig((8, 12))), *shape)

    def test_images_of_whole_numbers(self):
        with pytest.raises(ValueError, match="floating point, scaled .* got uint8"):
            abstract(
                preprocess(ImagePreprocessor, ImageConfig((8, 12))), 1, 8, 12, 3, dtype=jnp.uint8
            )

    def test_learned_positions_at_another_size(self):
        config = ImageConfig((8, 12), position=LearnedConfig(3))
        with pytest.raises(ValueError, match=r"size \(8, 12\) only; got \(8, 11\).*Fourier"):
            abstract(preprocess(ImagePreprocessor, config), 1, 8, 11, 3)

    def test_added_positions_of_another_width(self):
        config = ImageConfig((8, 12), position=FOURIER, position_joined_by="add")
        with pytest.raises(
            ValueError, match="10 channels .* inputs of 3; set project_position_to=3"
        ):
            abstract(preprocess(ImagePreprocessor, config), 1, 8, 12, 3)

    def test_sound_of_a_broken_patch(self):
        config = AudioConfig(num_samples=24, samples_per_patch=4)
        with pytest.raises(ValueError, match="22 samples .* samples_per_patch=4"):
            abstract(preprocess(AudioPreprocessor, config), 1, 22, 1)

    def test_stereo_sound(self):
        config = AudioConfig(num_samples=24, samples_per_patch=4)
        with pytest.raises(ValueError, match=r"audio must have shape .*got \[1, 24, 2\]"):
            abstract(preprocess(AudioPreprocessor, config), 1, 24, 2)

    def test_points_without_resolution(self):
        with pytest.raises(ValueError, match="max_resolution"):
            abstract(preprocess(PointsPreprocessor, PointsConfig(5, FOURIER)), 1, 5, 3)

    def test_labels_of_another_width(self):
        with pytest.raises(ValueError, match=r"labels must have shape \[batch, 5\]; got \[2, 4\]"):
            abstract(preprocess(OneHotPreprocessor, LabelConfig(5)), 2, 4)

    @pytest.mark.parametrize(
        ("shape", "dtype", "words"),
        [((2, 9), jnp.int32, "Cut the text"), ((2, 8), jnp.float32, "integers; got float32")],
    )
    def test_tokens(self, shape, dtype, words):
        config = TokensConfig(length=8)
        with pytest.raises(ValueError, match=words):
            abstract(preprocess(TokensPreprocessor, config), *shape, dtype=dtype)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"shape": (8,)}, r"shape=\(8,\)"),
            ({"shape": (8, 12), "prep": "conv"}, "prep='conv' needs prep_channels"),
            ({"shape": (8, 12), "prep_channels": 5}, "prep_channels must be none"),
            ({"shape": (8, 12), "neighbourhood": 3}, "needs frames"),
            ({"shape": (2, 8, 12), "neighbourhood": 2}, "odd"),
            (
                {
                    "shape": (2, 8, 12),
                    "prep": "conv1x1",
                    "prep_channels": 5,
                    "temporal_downsample": 2,
                },
                "temporal_downsample must be 1",
            ),
        ],
    )
    def test_impossible_image_configs(self, settings, words):
        with pytest.raises(ValueError, match=words):
            ImageConfig(**settings)

    def test_conv_stem_quarters_only(self):
        config = ImageConfig((8, 12), prep="conv", prep_channels=5, spatial_downsample=8)
        with pytest.raises(ValueError, match="=8 must be a power of 4"):
            abstract(preprocess(ImagePreprocessor, config), 1, 8, 12, 3)

    def test_sound_that_patches_do_not_fill(self):
        with pytest.raises(ValueError, match="num_samples=25 .* samples_per_patch=4"):
            AudioConfig(num_samples=25, samples_per_patch=4)
