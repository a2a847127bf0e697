"""The byte array: what `dense` writes out, and that all else agrees with it."""

import dataclasses
import math

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model.byte_array import ByteArray, Grid, fourier_grid
from perceiver_jax.model.multimodal import (
    MaskProbability,
    MultimodalConfig,
    MultimodalPreprocessor,
    make_preprocessor,
)
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig, PositionEncoder
from perceiver_jax.model.preprocessors import AudioConfig, ImageConfig, LabelConfig
from tests.random_params import random_params

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision")]

BATCH = 2


def _normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def _fourier(*dims: int, channels: int = 2, **options) -> tuple[Grid, jax.Array]:
    """A grid with Fourier features, and its elements written out by the definition."""
    content = _normal(BATCH, *dims, channels)
    config = FourierConfig(num_bands=3, **options)
    encoder = PositionEncoder(config, dims)
    flat = content.reshape(BATCH, math.prod(dims), channels)
    position = jnp.broadcast_to(encoder(), (BATCH, *encoder().shape))
    dense = jnp.concatenate([flat, position], axis=-1)
    return fourier_grid(content, encoder.by_axis()), dense


# One axis (sound), two (images), three (videos); all parts of the features, or some.
FOURIER = {
    "sound": ((7,), {}),
    "image": ((5, 7), {}),
    "image, other frequencies": ((5, 7), {"max_resolution": (11, 13)}),
    "image, no position": ((5, 7), {"concat_position": False}),
    "image, sines": ((5, 7), {"sine_only": True}),
    "image, one column": ((5, 1), {}),
    "video": ((2, 3, 5), {}),
}


@pytest.mark.parametrize("kind", FOURIER)
def test_fourier_features_by_axis_are_those_of_the_whole_grid(kind):
    dims, options = FOURIER[kind]
    grid, dense = _fourier(*dims, **options)
    # The sines and cosines of the same float32 numbers.
    np.testing.assert_array_equal(grid.dense(), dense)
    assert grid.num_elements == dense.shape[1] and len(grid.order) == dense.shape[2]


def test_no_content_and_no_features():
    grid, dense = _fourier(5, 7, channels=0)
    np.testing.assert_array_equal(grid.dense(), dense)
    assert ByteArray((grid,)).is_shared
    content = _normal(BATCH, 5, 3)
    np.testing.assert_array_equal(Grid.of(content).dense(), content)
    assert not ByteArray.of(content).is_shared


def _preprocessed(config, x, params=None):
    f = hk.transform(lambda x: make_preprocessor(config)(x).inputs)
    params = params or random_params(f.init, x)
    return f.apply(params, None, x), params


def test_learned_positions_stand_in_the_rows():
    config = ImageConfig((5, 7), channels=2, position=LearnedConfig(11))
    x = _normal(BATCH, 5, 7, 2)
    inputs, params = _preprocessed(config, x)
    (table,) = (entry["pos_embs"] for entry in params.values())
    expected = [jnp.concatenate([example.reshape(35, 2), table], -1) for example in x]
    np.testing.assert_array_equal(inputs.dense(), jnp.stack(expected))
    assert inputs.grids[0].sizes == (2, 11, 0, 0)


def test_permuted_elements_bring_their_positions_along():
    position = FourierConfig(num_bands=2)
    x = _normal(BATCH, 5, 7, 2)
    straight, _ = _preprocessed(ImageConfig((5, 7), channels=2, position=position), x)
    config = ImageConfig((5, 7), channels=2, position=position, permutation_seed=3)
    permuted, _ = _preprocessed(config, x)
    order = np.random.RandomState(3).permutation(35)
    np.testing.assert_array_equal(permuted.dense(), straight.dense()[:, order])


def test_audio_patches():
    config = AudioConfig(num_samples=15, samples_per_patch=3, position=FourierConfig(num_bands=2))
    x = _normal(BATCH, 15, 1)
    inputs, _ = _preprocessed(config, x)
    position = PositionEncoder(FourierConfig(num_bands=2), (5,))()
    expected = [jnp.concatenate([example.reshape(5, 3), position], -1) for example in x]
    np.testing.assert_array_equal(inputs.dense(), jnp.stack(expected))


def _multimodal(label: float, audio: float = 0.0) -> tuple[ByteArray, dict, dict]:
    probabilities = {"audio": audio, "image": 0.0, "label": label}
    config = MultimodalConfig(
        modalities={
            "audio": AudioConfig(10, 2, FourierConfig(num_bands=2)),
            "image": ImageConfig((3, 5), channels=2, position=FourierConfig(num_bands=3)),
            "label": LabelConfig(num_classes=3),
        },
        mask_probabilities={
            name: MaskProbability(train=0.0, evaluation=p) for name, p in probabilities.items()
        },
    )
    inputs = {
        "audio": _normal(BATCH, 10, 1),
        "image": _normal(BATCH, 3, 5, 2, seed=1),
        "label": _normal(BATCH, 3, seed=2),
    }

    def forward(inputs):
        parts = {name: make_preprocessor(config.modalities[name]) for name in sorted(inputs)}
        elements = MultimodalPreprocessor(config, parts)(inputs)
        return elements.inputs, {k: v.inputs.dense() for k, v in elements.by_modality.items()}

    f = hk.transform(forward)
    params = random_params(f.init, inputs)
    joined, apart = f.apply(params, jax.random.key(0), inputs)
    return joined, apart, {name.split("/")[-1]: entry for name, entry in params.items()}


def test_modalities_are_padded_and_masked_and_joined():
    joined, apart, params = _multimodal(label=1.0)
    width = 16 + 2  # Of the image: 2 + 2 * 7; and the padding of the widest.
    expected = []
    for name in ("audio", "image"):
        padding = params[f"{name}_padding"]["pos_embs"]
        spread = jnp.broadcast_to(padding, (*apart[name].shape[:2], padding.shape[-1]))
        expected.append(jnp.concatenate([apart[name], spread], axis=-1))
    token = params["label_mask_token"]["pos_embs"]
    expected.append(jnp.broadcast_to(token, (BATCH, 1, width)))
    np.testing.assert_array_equal(joined.dense(), jnp.concatenate(expected, axis=1))
    assert joined.shape == (BATCH, 5 + 15 + 1, width)
    # What is hidden is the same for all, and has no content.
    assert [grid.content.shape[-1] for grid in joined.grids] == [2, 2, 0]
    assert not joined.is_shared


def test_mask_tokens_stand_where_they_are_drawn():
    joined, apart, params = _multimodal(label=0.0, audio=0.5)
    audio = np.asarray(joined.dense()[:, :5])
    token = params["audio_mask_token"]["pos_embs"][0]
    hidden = (audio == token).all(axis=-1)
    assert hidden.any() and not hidden.all()
    shown = np.asarray(apart["audio"])[~hidden]
    np.testing.assert_array_equal(audio[~hidden][:, : shown.shape[-1]], shown)


def _several() -> ByteArray:
    image = _fourier(5, 7)[0]
    sound = _fourier(11, channels=9)[0]
    return ByteArray((image, sound.with_constant(_normal(len(image.order) - len(sound.order)))))


def test_split_and_join_are_inverse():
    grid = _several().grids[0].with_constant(_normal(3))
    x = _normal(4, len(grid.order))
    parts = grid.split(x)
    assert tuple(part.shape[-1] for part in parts) == grid.sizes
    np.testing.assert_array_equal(grid.join(parts), x)
    # An element's own channels are split into what the grid holds.
    content, rows, columns, constant = grid.split(grid.dense().reshape(BATCH, 5, 7, -1))
    np.testing.assert_array_equal(content, grid.content)
    np.testing.assert_array_equal(rows[1, :, 3], grid.rows)
    np.testing.assert_array_equal(columns[1, 2], grid.columns)
    np.testing.assert_array_equal(constant[1, 2, 3], grid.constant)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_moments_are_those_of_the_elements(dtype):
    for grid in _several().astype(dtype).grids:
        mean, variance = grid.moments()
        dense = np.asarray(grid.dense(), np.float64)
        assert mean.dtype == variance.dtype == jnp.float32
        assert mean.shape == variance.shape == grid.content.shape[:3]
        np.testing.assert_allclose(mean.reshape(BATCH, -1), dense.mean(-1), atol=1e-6)
        np.testing.assert_allclose(variance.reshape(BATCH, -1), dense.var(-1), rtol=1e-6)


def test_moments_of_large_means_do_not_cancel():
    grid = _fourier(5, 7)[0]
    grid = dataclasses.replace(
        grid, content=grid.content + 1e4, rows=grid.rows + 1e4, columns=grid.columns + 1e4
    )
    dense = np.asarray(grid.dense(), np.float64)
    np.testing.assert_allclose(grid.moments()[1].reshape(BATCH, -1), dense.var(-1), rtol=1e-3)


def test_elements_are_taken_as_of_the_array():
    image = ByteArray((_fourier(5, 7)[0].with_constant(_normal(3)),))
    dense = image.dense()
    points = jnp.asarray([0, 34, 8, 8, 13])
    np.testing.assert_array_equal(image.take(points).dense(), dense[:, points])
    np.testing.assert_array_equal(image.first(21).dense(), dense[:, :21])
    np.testing.assert_array_equal(image.grids[0].take_rows(1, 3).dense(), dense[:, 7:21])
    several = _several()
    np.testing.assert_array_equal(several.first(35 + 4).dense(), several.dense()[:, : 35 + 4])
    np.testing.assert_array_equal(several.first(14).dense(), several.dense()[:, :14])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pieces_and_the_rest_are_all(size):
    grid = _fourier(5, 7)[0]
    (content, rows), rest = grid.pieces(size)
    parts = [
        dataclasses.replace(grid, content=c, rows=r) for c, r in zip(content, rows, strict=True)
    ]
    assert (rest is None) == (5 % size == 0)
    parts += [] if rest is None else [rest]
    written = jnp.concatenate([part.dense() for part in parts], axis=1)
    np.testing.assert_array_equal(written, grid.dense())


def test_what_cannot_be_taken_is_named():
    with pytest.raises(ValueError, match="10 elements end within a row of 7"):
        ByteArray((_fourier(5, 7)[0],)).first(10)


def test_sizes_and_parts():
    several = _several()
    image, sound = several.parts
    assert (image.rows, image.columns, image.content) == (5, 7, 2)
    assert (image.row_channels, image.column_channels) == (7, 7)
    # One axis stands along the rows, so that it can be taken in parts.
    assert (sound.rows, sound.columns, sound.content) == (11, 1, 9)
    assert (sound.row_channels, sound.column_channels) == (7, 0)
    assert several.shape == (*several.dense().shape,) == (BATCH, 46, 16)
    assert (several.batch_size, several.num_elements, several.num_channels) == several.shape


def test_dtypes_follow():
    half = _several().astype(jnp.bfloat16)
    assert half.dtype == half.dense().dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype(jnp.bfloat16)}
    # Rounded before or after being written out is the same.
    np.testing.assert_array_equal(half.dense(), _several().dense().astype(jnp.bfloat16))


def test_is_a_tree_of_arrays_under_transformations():
    several = _several()
    np.testing.assert_array_equal(jax.jit(ByteArray.dense)(several), several.dense())
    doubled = jax.jit(lambda x: jax.tree.map(lambda leaf: 2 * leaf, x))(several)
    assert isinstance(doubled, ByteArray)
    np.testing.assert_array_equal(doubled.dense(), 2 * several.dense())
    mapped = several.map_content(lambda content: 0 * content)
    assert float(jnp.abs(mapped.grids[0].content).max()) == 0.0
    gradient = jax.grad(lambda x: jnp.square(x.dense()).sum())(several)
    chex.assert_trees_all_equal_shapes(gradient, several)
    # A row's features are used once for each example and column.
    np.testing.assert_allclose(
        gradient.grids[0].rows, 2 * BATCH * 7 * several.grids[0].rows, rtol=1e-5
    )
