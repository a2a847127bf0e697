"""Each of the 16 operations against Pillow's own or an image computed by hand; and their draw."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from perceiver_jax.data.images import randaugment
from perceiver_jax.data.images.randaugment import (
    ALL_OPERATIONS,
    OPERATIONS,
    RandAugment,
)
from perceiver_jax.errors import ConfigError
from tests.data.images.photos import photo

MAGNITUDES = (0.0, 1.0, 3.0, 5.0, 7.0, 10.0)
GREY = (128, 128, 128)


class Chosen:
    """Stands for a generator: gives these numbers for whole numbers below a bound, in turn."""

    def __init__(self, *numbers: int):
        self.numbers = list(numbers)
        self.bounds: list[int] = []

    def integers(self, bound: int) -> int:
        self.bounds.append(bound)
        assert self.numbers[0] < bound
        return self.numbers.pop(0)


PLUS, MINUS = 1, 0


def _apply(
    name: str, image: Image.Image, magnitude: float, *draws: int, **fields: object
) -> np.ndarray:
    augment = RandAugment(num_layers=1, magnitude=magnitude, operations=(name,), **fields)  # type: ignore[arg-type]
    rng = Chosen(0, *draws)
    changed = augment(image, rng)  # type: ignore[arg-type]
    assert not rng.numbers and changed.size == image.size and changed.mode == image.mode
    return np.asarray(changed).astype(int)


def _values(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint8))


@pytest.fixture(params=["RGB", "L"])
def image(request: pytest.FixtureRequest) -> Image.Image:
    return photo(1, 43, 31).convert(request.param)


def test_there_are_16() -> None:
    # The released names, in the released order. Those of RandAugment's own paper are others: 14,
    # with Identity and without Invert, Cutout and SolarizeAdd.
    assert ALL_OPERATIONS == (
        "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "Color",
        "Contrast", "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY",
        "Cutout", "SolarizeAdd",
    )  # fmt: skip
    assert RandAugment() == RandAugment(num_layers=4, magnitude=5, translate=100, cutout=40)


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_as_pillow_whatever_the_magnitude(image: Image.Image, magnitude: float) -> None:
    for name, pillow in (
        ("AutoContrast", ImageOps.autocontrast),
        ("Equalize", ImageOps.equalize),
        ("Invert", ImageOps.invert),
    ):
        np.testing.assert_array_equal(_apply(name, image, magnitude), np.asarray(pillow(image)))


def test_autocontrast_and_invert_by_hand() -> None:
    # 50..200 becomes 0..255: 100 is a third of the way.
    np.testing.assert_array_equal(_apply("AutoContrast", _values(50, 100, 200), 5), [[0, 85, 255]])
    np.testing.assert_array_equal(_apply("Invert", _values(0, 100, 255), 5), [[255, 155, 0]])
    # Each channel is stretched by itself.
    pixels = np.array([[[0, 10, 100], [255, 20, 151]]], np.uint8)
    found = _apply("AutoContrast", Image.fromarray(pixels), 5)
    np.testing.assert_array_equal(found, [[[0, 0, 0], [255, 255, 255]]])


def test_equalize_by_hand() -> None:
    # 510 pixels, half of them 10 and half 20. A step is the 255 of all values but the last, by 255:
    # 1. Below 10 there are none, below 20 there are 255.
    pixels = np.repeat(np.array([10, 20], np.uint8), 255).reshape(2, 255)
    found = _apply("Equalize", Image.fromarray(pixels), 5)
    np.testing.assert_array_equal(found, pixels.astype(int) * 255 // 10 - 255)


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("sign", [PLUS, MINUS])
def test_geometry_as_pillow(image: Image.Image, magnitude: float, sign: int) -> None:
    share = magnitude / 10 * (1 if sign else -1)
    fill = GREY if image.mode == "RGB" else 128

    def affine(*coefficients: float) -> np.ndarray:
        kind = Image.Transform.AFFINE
        return np.asarray(image.transform(image.size, kind, coefficients, fillcolor=fill))

    nearest = Image.Resampling.NEAREST
    expected = {
        "Rotate": np.asarray(image.rotate(30 * share, resample=nearest, fillcolor=fill)),
        "ShearX": affine(1, 0.3 * share, 0, 0, 1, 0),
        "ShearY": affine(1, 0, 0, 0.3 * share, 1, 0),
        "TranslateX": affine(1, 0, 100 * share, 0, 1, 0),
        "TranslateY": affine(1, 0, 0, 0, 1, 100 * share),
    }
    for name, pixels in expected.items():
        np.testing.assert_array_equal(_apply(name, image, magnitude, sign), pixels)


def test_translation_by_hand() -> None:
    # 100 pixels * 0.3 * 0.1: three columns, and grey comes in.
    image = _values(1, 2, 3, 4, 5)
    left = _apply("TranslateX", image, 3, PLUS, translate=10)
    np.testing.assert_array_equal(left, [[4, 5, 128, 128, 128]])
    right = _apply("TranslateX", image, 3, MINUS, translate=10)
    np.testing.assert_array_equal(right, [[128, 128, 128, 1, 2]])
    column = Image.fromarray(np.array([[1], [2], [3]], np.uint8))
    np.testing.assert_array_equal(
        _apply("TranslateY", column, 1, PLUS, translate=10), [[2], [3], [128]]
    )
    # The released 50 pixels at magnitude 5 leave nothing of an image so small.
    np.testing.assert_array_equal(_apply("TranslateX", image, 5, PLUS), [[128] * 5])


def test_shear_by_hand() -> None:
    # At magnitude 10, 0.3 of a row's number of columns: rows 0 to 4 have their centres at 0.15,
    # 0.45, 0.75, 1.05 and 1.35 columns to the side.
    image = Image.fromarray(np.tile(np.array([10, 20, 30, 40], np.uint8), (5, 1)))
    expected = [
        [10, 20, 30, 40],
        [10, 20, 30, 40],
        [20, 30, 40, 128],
        [20, 30, 40, 128],
        [20, 30, 40, 128],
    ]
    np.testing.assert_array_equal(_apply("ShearX", image, 10, PLUS), expected)
    np.testing.assert_array_equal(
        _apply("ShearY", image.transpose(Image.Transpose.TRANSPOSE), 10, PLUS),
        np.transpose(expected),
    )


def test_rotation_by_hand() -> None:
    # Three times magnitude 10 is 90 degrees: a square stays whole.
    image = photo(0, 20, 20)
    np.testing.assert_array_equal(_apply("Rotate", image, 30, PLUS), np.rot90(np.asarray(image)))
    np.testing.assert_array_equal(
        _apply("Rotate", image, 30, MINUS), np.rot90(np.asarray(image), -1)
    )
    # 15 degrees: the corners come from outside.
    turned = _apply("Rotate", image, 5, PLUS)
    assert (turned[0, 0] == GREY).all() and (turned[-1, -1] == GREY).all()


@pytest.mark.parametrize(
    ("magnitude", "bits"), [(0, 0), (2.4, 0), (2.5, 1), (5, 2), (7.5, 3), (10, 4), (20, 8), (50, 8)]
)
def test_posterize(image: Image.Image, magnitude: float, bits: int) -> None:
    found = _apply("Posterize", image, magnitude)
    pixels = np.asarray(image).astype(int)
    np.testing.assert_array_equal(found, pixels // 2 ** (8 - bits) * 2 ** (8 - bits))
    if bits:
        np.testing.assert_array_equal(found, np.asarray(ImageOps.posterize(image, bits)))
    else:
        assert not found.any()  # Pillow refuses; the released code makes it black.


@pytest.mark.parametrize(
    ("magnitude", "threshold"), [(0, 0), (1, 25), (5, 128), (10, 256), (12, 307)]
)
def test_solarize(image: Image.Image, magnitude: float, threshold: int) -> None:
    found = _apply("Solarize", image, magnitude)
    np.testing.assert_array_equal(found, np.asarray(ImageOps.solarize(image, threshold)))
    np.testing.assert_array_equal(_apply("Solarize", _values(127, 128, 129), 5), [[127, 127, 126]])


@pytest.mark.parametrize(("magnitude", "added"), [(0, 0), (1, 11), (5, 55), (10, 110), (20, 220)])
def test_solarize_add(magnitude: float, added: int) -> None:
    found = _apply("SolarizeAdd", _values(0, 100, 127, 128, 255), magnitude)
    clipped = [min(value + added, 255) for value in (0, 100, 127)]
    np.testing.assert_array_equal(found, [[*clipped, 128, 255]])


@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_enhancement_as_pillow(image: Image.Image, magnitude: float) -> None:
    factor = 1.8 * magnitude / 10 + 0.1
    for name in ("Color", "Brightness", "Sharpness"):
        expected = getattr(ImageEnhance, name)(image).enhance(factor)
        np.testing.assert_array_equal(_apply(name, image, magnitude), np.asarray(expected))
    expected = ImageEnhance.Contrast(image).enhance(factor)
    found = _apply("Contrast", image, magnitude, contrast="pillow")
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_enhancement_by_hand() -> None:
    # Magnitude 5 is factor 1: nothing changes.
    image = photo(0, 9, 9)
    for name in ("Color", "Brightness", "Sharpness", "Contrast"):
        np.testing.assert_array_equal(_apply(name, image, 5), np.asarray(image))
    np.testing.assert_array_equal(_apply("Brightness", _values(0, 100, 200), 0), [[0, 10, 20]])
    np.testing.assert_array_equal(_apply("Brightness", _values(0, 100, 200), 10), [[0, 190, 255]])
    # Grey has no colour to gain.
    np.testing.assert_array_equal(_apply("Color", _values(0, 100, 200), 10), [[0, 100, 200]])
    # Red's brightness is 0.299 * 255 = 76: at factor 0.1, 76 + 0.1 * (255 - 76) and 76 - 7.6.
    red = Image.new("RGB", (1, 1), (255, 0, 0))
    np.testing.assert_array_equal(_apply("Color", red, 0), [[[93, 68, 68]]])
    # A dot of 130 on black is smoothed to 5/13 of it; at factor 1.9, 50 + 1.9 * 80 = 202.
    dot = np.zeros((3, 3), np.uint8)
    dot[1, 1] = 130
    assert _apply("Sharpness", Image.fromarray(dot), 10)[1, 1] == 202


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize(("shape", "grey"), [((16, 32), 2), ((200, 128), 100), ((300, 300), 255)])
def test_released_contrast(magnitude: float, shape: tuple[int, int], grey: int) -> None:
    # Away from, or towards, min(255, pixels / 256), in float32, cut off and not rounded.
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = _apply("Contrast", Image.fromarray(pixels), magnitude)
    factor = np.float32(1.8 * magnitude / 10 + 0.1)
    expected = np.float32(grey) + factor * (pixels.astype(np.float32) - np.float32(grey))
    np.testing.assert_array_equal(found, np.clip(expected, 0, 255).astype(np.uint8))
    grey_image = Image.fromarray(pixels[..., 0])
    np.testing.assert_array_equal(_apply("Contrast", grey_image, magnitude), found[..., 0])


def test_the_two_contrasts_differ() -> None:
    image = photo(0, 256, 224)
    assert (
        np.abs(
            _apply("Contrast", image, 8) - _apply("Contrast", image, 8, contrast="pillow")
        ).mean()
        > 20
    )


@pytest.mark.parametrize("magnitude", [0, 2.5, 5, 10])
@pytest.mark.parametrize("centre", [(0, 0), (30, 20), (59, 49), (3, 48)])
def test_cutout_is_clipped_at_the_border(magnitude: float, centre: tuple[int, int]) -> None:
    image, (x, y) = photo(0, 60, 50), centre
    half = int(4 * magnitude)
    expected = np.asarray(image).astype(int)
    rows, columns = np.mgrid[:50, :60]
    inside = (abs(rows - y + 0.5) < half) & (abs(columns - x + 0.5) < half)
    expected[inside] = 128
    np.testing.assert_array_equal(_apply("Cutout", image, magnitude, x, y), expected)
    if centre == (30, 20) and magnitude == 2.5:
        assert inside.sum() == 400  # 20 by 20


def test_cutouts_place_is_anywhere_in_the_image() -> None:
    rng = Chosen(0, 6, 3)
    RandAugment(num_layers=1, operations=("Cutout",))(photo(0, 7, 4), rng)  # type: ignore[arg-type]
    assert rng.bounds == [1, 7, 4]


def test_the_image_that_is_given_stays(image: Image.Image) -> None:
    before = np.array(image)
    for name in ALL_OPERATIONS:
        for _ in range(2):
            RandAugment(operations=(name,), magnitude=9)(image, np.random.default_rng(0))
    np.testing.assert_array_equal(np.asarray(image), before)


def test_operations_are_drawn_uniformly_and_always_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    for name in ALL_OPERATIONS:
        monkeypatch.setitem(
            OPERATIONS, name, lambda image, by, rng, name=name: (drawn.append(name), image)[1]
        )
    rng, augment = np.random.default_rng(0), RandAugment()
    for _ in range(4000):
        augment(_values(1), rng)
    assert len(drawn) == 16_000
    counts = Counter(drawn)
    assert all(abs(counts[name] - 1000) < 5 * 31 for name in ALL_OPERATIONS)  # 5 deviations
    pairs = Counter(zip(drawn[0::4], drawn[1::4], strict=True))
    assert len(pairs) == 256  # each layer draws by itself


def test_signs_are_even() -> None:
    rng = np.random.default_rng(0)
    assert abs(sum(randaugment._sign(rng) for _ in range(10_000))) < 500


def test_a_function_of_the_generator() -> None:
    image, augment = photo(0, 200, 200), RandAugment()
    results = [
        np.asarray(augment(image, np.random.default_rng(seed))).tobytes() for seed in (1, 1, 2, 3)
    ]
    assert results[0] == results[1] and len(set(results)) == 3


def test_a_subset_by_name() -> None:
    image = _values(10, 20)
    only = RandAugment(operations=("Invert",), num_layers=3)
    np.testing.assert_array_equal(np.asarray(only(image, np.random.default_rng(0))), [[245, 235]])
    none = RandAugment(num_layers=0)
    np.testing.assert_array_equal(np.asarray(none(image, np.random.default_rng(0))), [[10, 20]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"operations": ("Invert", "solarize")},
            "has 'solarize', .* did you mean 'Solarize'.* There are: AutoC",
        ),
        (
            {"operations": ("Blur",)},
            "data.randaugment.operations has 'Blur', which is no operation",
        ),
        ({"operations": ()}, "at least one operation"),
        ({"num_layers": -1}, "data.randaugment.num_layers=-1 must not be negative"),
        ({"magnitude": -0.5}, "data.randaugment.magnitude=-0.5"),
        ({"translate": -1.0}, "data.randaugment.translate"),
        ({"cutout": -1.0}, "data.randaugment.cutout"),
        ({"contrast": "gray"}, "data.randaugment.contrast='gray' must be 'released' or 'pillow'"),
    ],
)
def test_mistakes(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RandAugment(**fields)  # type: ignore[arg-type]
