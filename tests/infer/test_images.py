"""Image files of all kinds, and the released crop."""

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.images import decode
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError
from perceiver_jax.infer import images

RED, GREEN = (255, 0, 0), (0, 255, 0)


def test_upright_as_the_camera_says(tmp_path):
    image = Image.new("RGB", (4, 3), GREEN)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by 90 degrees clockwise to see it upright.
    image.save(tmp_path / "turned.png", exif=exif)
    array = images.read_image(tmp_path / "turned.png")
    assert array.shape == (4, 3, 3) and array.dtype == np.uint8
    assert tuple(array[0, 2]) == RED and tuple(array[0, 0]) == GREEN


def test_transparency_is_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, 0] = (*RED, 255)
    rgba[0, 1] = (*RED, 0)
    rgba[0, 2] = (0, 0, 0, 128)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    array = images.read_image(tmp_path / "a.png")
    assert tuple(array[0, 0]) == RED and tuple(array[0, 1]) == (255, 255, 255)
    assert abs(int(array[0, 2, 0]) - 127) <= 1


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.gif", transparency=1)
    array = images.read_image(tmp_path / "a.gif")
    assert tuple(array[0, 0]) == RED and tuple(array[0, 1]) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = {"LA": "png", "1": "png", "L": "bmp"}.get(mode, "tiff")
    source = Image.new("L", (5, 3), 255).convert(mode) if mode != "I;16" else None
    if source is None:
        source = Image.fromarray(np.full((3, 5), 65535, np.uint16))
    source.save(tmp_path / f"image.{suffix}")
    array = images.read_image(tmp_path / f"image.{suffix}")
    assert array.shape == (3, 5, 3) and array.dtype == np.uint8
    assert array.min() >= 254


def test_16_bits_are_scaled(tmp_path):
    values = np.array([[0, 257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert images.read_image(tmp_path / "deep.png")[0, :, 1].tolist() == [0, 100, 255]


def test_grey_is_brightness(tmp_path):
    Image.new("RGB", (2, 1), GREEN).save(tmp_path / "a.png")
    array = images.read_image(tmp_path / "a.png", channels=1)
    assert array.shape == (1, 2, 1) and array.tolist() == [[[150], [150]]]  # 0.587 * 255


def test_a_large_picture_is_none_of_a_data_set(tmp_path, monkeypatch):
    # Where training takes an image for damaged, somebody may well want one to be classified.
    monkeypatch.setitem(decode.decode.__kwdefaults__, "max_pixels", 10)
    Image.new("RGB", (4, 3), GREEN).save(tmp_path / "a.png")
    assert images.read_image(tmp_path / "a.png").shape == (3, 4, 3)
    with pytest.raises(CorruptExample, match="4 x 3 pixels; images above 10 are taken"):
        decode.decode((tmp_path / "a.png").read_bytes(), "a.png")


def test_damaged_files_are_named(tmp_path):
    whole = tmp_path / "whole.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(whole)
    data = whole.read_bytes()
    for length in (0, 5, 20, 60, len(data) // 2, len(data) - 60):
        (tmp_path / "cut.png").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.png"):
            images.read_image(tmp_path / "cut.png")
    with pytest.raises(DataError, match=r"no image .*nowhere\.png"):
        images.read_image(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match="is a folder"):
        images.read_image(tmp_path)
    (tmp_path / "words.png").write_text("cat, dog")
    with pytest.raises(
        DataError, match=r"the image .*words\.png: no image of a format that Pillow"
    ):
        images.read_image(tmp_path / "words.png")
    with pytest.raises(DataError, match=r"the image .*x\.png cannot be read: Not a directory"):
        images.read_image(tmp_path / "words.png" / "x.png")


def test_folders(tmp_path):
    for name in ("b.png", "a.JPG", "inner/c.webp", ".hidden.png", ".cache/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, notes = images.find_images([tmp_path / "notes.txt", tmp_path])
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["notes.txt", "a.JPG", "b.png", "inner/c.webp"]  # What is named is tried.
    assert len(notes) == 1 and "notes.txt" in notes[0] and "skipped 1" in notes[0]
    with pytest.raises(DataError, match="nothing"):
        images.find_images([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no image"):
        images.find_images([tmp_path / "empty"])


@pytest.mark.core
@pytest.mark.parametrize(
    ("height", "width", "top", "left", "side"),
    [
        (480, 640, 30, 110, 420),  # 0.875 * 480 = 420; (480 - 420 + 1) // 2 = 30.
        (375, 500, 24, 86, 328),  # 328.125; (47 + 1) // 2 = 24; (172 + 1) // 2 = 86.
        (9, 8, 1, 1, 7),  # 7; (2 + 1) // 2 = 1; (1 + 1) // 2 = 1.
        (7, 8, 1, 1, 6),  # 6.125; (1 + 1) // 2 = 1; (2 + 1) // 2 = 1.
        (1, 1, 0, 0, 1),  # 0.875 would be nothing.
    ],
)
def test_crop_by_hand(height, width, top, left, side):
    image = np.arange(height * width).reshape(height, width, 1)
    expected = image[top : top + side, left : left + side]
    np.testing.assert_array_equal(images.centre_crop(image), expected)
    # The same whatever the square is resized to.
    np.testing.assert_array_equal(images.centre_crop(image, (224, 224)), expected)


def test_crop_of_other_aspects():
    image = np.zeros((100, 100, 1))
    assert images.centre_crop(image, (200, 400)).shape == (43, 87, 1)  # 43.75 and 87.5
    assert images.centre_crop(image, (3, 1)).shape == (87, 29, 1)


def test_normalisation():
    # The constants of ImageNet, times 255.
    np.testing.assert_allclose(images.MEAN, [123.675, 116.28, 103.53], rtol=1e-6)
    np.testing.assert_allclose(images.STDDEV, [58.395, 57.12, 57.375], rtol=1e-6)
    image = np.random.default_rng(0).integers(0, 256, (3, 2, 3), dtype=np.uint8)
    normal = images.normalize(image)
    assert normal.dtype == np.float32
    np.testing.assert_allclose(normal[0, 0, 0], (image[0, 0, 0] - 123.675) / 58.395, rtol=1e-5)
    np.testing.assert_array_equal(images.denormalize(normal), image)


def test_prepare_is_crop_resize_normalize():
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    prepared = images.prepare(image, (56, 56))
    # 0.875 * 64 = 56: nothing is left to resize.
    np.testing.assert_array_equal(images.denormalize(prepared), image[4:60, 12:68])
    assert images.prepare(image).shape == (224, 224, 3)
