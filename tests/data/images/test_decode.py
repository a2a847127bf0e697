"""Image files as they come: every mode and format, and every kind of damage."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from perceiver_jax.data.images.decode import MAX_PIXELS, check_channels, decode
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import ConfigError
from tests.data.images.photos import encoded, photo


def _pixels(data: bytes, **options: object) -> np.ndarray:
    image = decode(data, "a.JPEG", **options)  # type: ignore[arg-type]
    assert image.mode == ("L" if options.get("channels") == 1 else "RGB")
    return np.asarray(image)


def test_a_jpeg_is_what_pillow_makes_of_it() -> None:
    data = encoded(photo())
    np.testing.assert_array_equal(_pixels(data), np.asarray(Image.open(io.BytesIO(data))))
    assert _pixels(data).shape == (47, 61, 3)
    grey = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    np.testing.assert_array_equal(_pixels(data, channels=1), grey)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_the_format_is_told_from_the_bytes(kind: str) -> None:
    image = photo(3)
    expected = np.asarray(image).astype(int)
    found = _pixels(encoded(image, kind)).astype(int)  # called a.JPEG
    assert found.shape == expected.shape
    # GIF has 256 colours, and WebP loses what the eye does not see.
    assert np.abs(found - expected).mean() < {"GIF": 12, "WEBP": 12}.get(kind, 1e-9)


def test_grey() -> None:
    grey = photo().convert("L")
    found = _pixels(encoded(grey, "PNG"))
    np.testing.assert_array_equal(found, np.asarray(grey)[..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(_pixels(encoded(grey, "PNG"), channels=1), np.asarray(grey))
    assert _pixels(encoded(grey)).shape == (47, 61, 3)  # a grey JPEG


def test_one_bit() -> None:
    bits = Image.fromarray(np.array([[True, False, True]]))
    np.testing.assert_array_equal(_pixels(encoded(bits, "PNG"), channels=1), [[255, 0, 255]])


def test_cmyk() -> None:
    # Ink: nothing is white, all cyan leaves no red.
    ink = np.zeros((8, 16, 4), np.uint8)
    ink[:, 8:, 0] = 255
    found = _pixels(encoded(Image.fromarray(ink, "CMYK"), quality=100)).astype(int)
    np.testing.assert_allclose(found[:, :8], 255, atol=3)
    np.testing.assert_allclose(found[:, 8:], np.broadcast_to([0, 255, 255], (8, 8, 3)), atol=3)
    real = photo(1)
    converted = _pixels(encoded(real.convert("CMYK"))).astype(int)
    assert np.abs(converted - np.asarray(real).astype(int)).mean() < 8


def test_palette_with_and_without_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    np.testing.assert_array_equal(_pixels(encoded(image, "PNG"))[0], [[10, 20, 30], [200, 100, 50]])
    see_through = _pixels(encoded(image, "PNG", transparency=1))
    np.testing.assert_array_equal(see_through[0], [[10, 20, 30], [255, 255, 255]])


def test_transparent_pixels_are_on_white() -> None:
    values = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    found = _pixels(encoded(Image.fromarray(values), "PNG"))
    # 51 is a fifth: 0.2 * (0, 100, 200) + 0.8 * 255.
    np.testing.assert_array_equal(found[0], [[10, 20, 30], [255, 255, 255], [204, 224, 244]])
    grey = np.array([[[100, 255], [100, 0]]], np.uint8)
    found = _pixels(encoded(Image.fromarray(grey, "LA"), "PNG"), channels=1)
    np.testing.assert_array_equal(found, [[100, 255]])


def test_16_bits_become_8() -> None:
    values = np.array([[0, 257, 257 * 100, 65535]], np.uint16)
    found = _pixels(encoded(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(found[0, :, 1], [0, 1, 100, 255])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_ignored_unless_asked_for(orientation: int) -> None:
    image = photo(2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, exif=exif)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(_pixels(data), stored)
    turned = {  # What a viewer shows, by the standard.
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    np.testing.assert_array_equal(_pixels(data, exif=True), turned)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_file_cut_short(kind: str, share: float) -> None:
    data = encoded(photo(), kind)
    with pytest.raises(CorruptExample, match=r"^train/n01440764/x\.JPEG: \S"):
        decode(data[: int(len(data) * share)], "train/n01440764/x.JPEG")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged TIFF tags.
@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "it is empty"), (b"cat, dog", "no image of a format that Pillow")]
)
def test_what_is_no_image_says_so(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptExample, match=f"^folder/a.JPEG: {reason}"):
        decode(data, "folder/a.JPEG")


def test_random_damage_is_corrupt_or_some_image() -> None:
    # Whatever Pillow makes of it, nothing else than CorruptExample comes out.
    rng = np.random.default_rng(0)
    corrupt = 0
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF"):
        data = encoded(photo(), kind)
        for _ in range(40):
            damaged = np.frombuffer(data, np.uint8).copy()
            where = rng.integers(len(damaged), size=6)
            where[:3] %= 64  # headers
            damaged[where] = rng.integers(256, size=6)
            try:
                image = decode(damaged.tobytes(), "x")
            except CorruptExample as error:
                assert str(error).startswith("x: ")
                corrupt += 1
            else:
                assert image.mode == "RGB"
    assert corrupt > 40


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\xff\xd8\xff\xe0", bytes(3000)])
def test_no_image_at_all(data: bytes) -> None:
    with pytest.raises(CorruptExample, match="^x: "):
        decode(data, "x")


@pytest.mark.parametrize("size", [(10_000, 9_001), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
    assert size[0] * size[1] > MAX_PIXELS
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(CorruptExample, match="^bomb.png: .*pixels"),
    ):
        decode(png, "bomb.png")


def test_channels() -> None:
    for channels in (1, 3):
        check_channels(channels, "data.channels")
    with pytest.raises(ConfigError, match=r"^data.channels=4 must be 3 \(red.*or 1"):
        check_channels(4, "data.channels")
