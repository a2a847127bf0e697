"""Pictures inside of pages."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.report import png


@pytest.mark.parametrize("shape", [(5, 3, 1), (2, 7, 3), (1, 1, 3)])
def test_another_reader_reads_what_was_written(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    head, _, content = png.data_uri(image).partition(",")
    assert head == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    np.testing.assert_array_equal(read.reshape(shape), image)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="float64"):
        png.encode(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="4"):
        png.encode(np.zeros((2, 2, 4), np.uint8))


def test_large_images_are_means_of_blocks() -> None:
    image = np.arange(5 * 4, dtype=np.uint8).reshape(5, 4, 1)
    # Blocks of 2 x 2; the last row stands for the one that is missing below it.
    expected = np.array([[2.5, 4.5], [10.5, 12.5], [16.5, 18.5]])[..., None]
    np.testing.assert_allclose(png.scaled_down(image, 3), expected)
    np.testing.assert_array_equal(png.scaled_down(image, 5), image)
    # Blocks as the shorter side needs them, and if that is not enough, as the longer one does.
    assert png.thumbnail(np.zeros((300, 450, 3), np.uint8)).shape == (100, 150, 3)
    assert png.thumbnail(np.zeros((1500, 300, 3), np.uint8)).shape == (300, 60, 3)
    assert png.thumbnail(np.zeros((112, 336, 1), np.uint8)).shape == (112, 336, 1)


def test_heat_goes_from_dark_to_bright() -> None:
    weights = np.linspace(0, 1, 12).reshape(3, 4)
    colours = png.heat(weights).astype(int)
    assert tuple(colours[0, 0]) == (0, 0, 4) and tuple(colours[2, 3]) == (252, 253, 191)
    brightness = colours.sum(axis=-1).ravel()
    assert np.all(np.diff(brightness) > 0)
    np.testing.assert_array_equal(png.heat(weights * 1e-6), png.heat(weights))
    assert np.all(png.heat(np.zeros((2, 2))) == (0, 0, 4))  # Nothing was read: no division by 0.
