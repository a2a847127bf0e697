"""RandAugment (Cubuk et al. 2020) with the 16 operations of the released ImageNet training.

Some operations, drawn uniformly, are applied one after another to the uint8 crop, each with one
common magnitude (Perceiver IO, App. A.1: 4 of them, magnitude 5). They are Pillow's own where
Pillow has them, and take RGB and greyscale.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceiver_jax.errors import ConfigError

if TYPE_CHECKING:
    from PIL import Image

_GREY = 128  # What comes in from outside the image, and what Cutout paints.


@dataclasses.dataclass(frozen=True)
class Strength:
    """How strong operations are: the magnitude, and what it is a share of."""

    share: float  # magnitude / 10; 10 is a scale and not a limit.
    translate: float  # Pixels of a translation at share 1.
    cutout: float  # Half the side of Cutout's square, in pixels, at share 1.
    contrast: str  # See RandAugment.contrast.


_Operation = Callable[["Image.Image", Strength, np.random.Generator], "Image.Image"]


def _autocontrast(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Stretches each channel to 0..255."""
    from PIL import ImageOps

    return ImageOps.autocontrast(image)


def _equalize(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Makes each channel's histogram flat."""
    from PIL import ImageOps

    return ImageOps.equalize(image)


def _invert(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    return _mapped(image, lambda value: 255 - value)


def _rotate(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """By 30 degrees at share 1, either way, about the middle; the nearest pixel is taken."""
    return image.rotate(30.0 * by.share * _sign(rng), fillcolor=_grey(image))


def _posterize(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Keeps the highest bits, 4 at share 1; with none left the image is black."""
    dropped = 8 - min(int(4 * by.share), 8)
    return _mapped(image, lambda value: value >> dropped << dropped)


def _solarize(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Inverts what is at or above a threshold, 256 at share 1: the stronger, the less changes."""
    threshold = int(256 * by.share)
    return _mapped(image, lambda value: np.where(value < threshold, value, 255 - value))


def _color(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Away from grey, or towards it."""
    from PIL import ImageEnhance

    return ImageEnhance.Color(image).enhance(_factor(by))


def _contrast(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Away from a constant grey, or towards it; which grey, `RandAugment.contrast` says."""
    from PIL import Image, ImageEnhance

    if by.contrast == "pillow":
        return ImageEnhance.Contrast(image).enhance(_factor(by))
    grey = min(255, image.width * image.height // 256)
    constant = Image.new(image.mode, image.size, _grey(image, grey))
    return Image.blend(constant, image, _factor(by))


def _brightness(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Away from black, or towards it."""
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(image).enhance(_factor(by))


def _sharpness(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Away from a smoothed image, or towards it."""
    from PIL import ImageEnhance

    return ImageEnhance.Sharpness(image).enhance(_factor(by))


def _shear_x(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Moves each row by 0.3 of its height in the image at share 1, either way."""
    return _affine(image, (1, 0.3 * by.share * _sign(rng), 0, 0, 1, 0))


def _shear_y(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    return _affine(image, (1, 0, 0, 0.3 * by.share * _sign(rng), 1, 0))


def _translate_x(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """By as many pixels in a large crop as in a small one, either way."""
    return _affine(image, (1, 0, by.translate * by.share * _sign(rng), 0, 1, 0))


def _translate_y(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    return _affine(image, (1, 0, 0, 0, 1, by.translate * by.share * _sign(rng)))


def _cutout(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Paints a grey square whose middle is anywhere in the image; what is outside is lost."""
    half = int(by.cutout * by.share)
    x, y = int(rng.integers(image.width)), int(rng.integers(image.height))
    box = (
        max(x - half, 0),
        max(y - half, 0),
        min(x + half, image.width),
        min(y + half, image.height),
    )
    image = image.copy()
    image.paste(_grey(image), box)
    return image


def _solarize_add(image: "Image.Image", by: Strength, rng: np.random.Generator) -> "Image.Image":
    """Makes what is below 128 lighter, by 110 at share 1."""
    added = int(110 * by.share)
    return _mapped(image, lambda value: np.where(value < 128, value + added, value))


def _mapped(image: "Image.Image", function: Callable[[np.ndarray], np.ndarray]) -> "Image.Image":
    """Maps every value 0..255 of every channel, clipping what comes out."""
    table = np.clip(function(np.arange(256)), 0, 255)
    return image.point(table.tolist() * len(image.getbands()))


def _affine(image: "Image.Image", coefficients: tuple[float, ...]) -> "Image.Image":
    """Takes for each pixel (x, y) the one nearest (a x + b y + c, d x + e y + f)."""
    from PIL import Image

    return image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=_grey(image))


def _grey(image: "Image.Image", value: int = _GREY) -> int | tuple[int, ...]:
    return value if image.mode == "L" else (value,) * 3


def _factor(by: Strength) -> float:
    """How far away from (above 1) or towards (below 1) the other image: 1.9 at share 1."""
    return 1.8 * by.share + 0.1


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.integers(2) else -1


OPERATIONS: dict[str, _Operation] = {  # By name, in the released order.
    "AutoContrast": _autocontrast,
    "Equalize": _equalize,
    "Invert": _invert,
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "Color": _color,
    "Contrast": _contrast,
    "Brightness": _brightness,
    "Sharpness": _sharpness,
    "ShearX": _shear_x,
    "ShearY": _shear_y,
    "TranslateX": _translate_x,
    "TranslateY": _translate_y,
    "Cutout": _cutout,
    "SolarizeAdd": _solarize_add,
}
ALL_OPERATIONS = tuple(OPERATIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Several random operations after one another; defaults as released."""

    num_layers: int = 4  # How many, each drawn uniformly from `operations`.
    magnitude: float = 5.0  # Of all; 10 is the scale on which the operations are defined.
    operations: tuple[str, ...] = ALL_OPERATIONS  # Names, of ALL_OPERATIONS.
    translate: float = 100.0  # Pixels of a translation at magnitude 10.
    cutout: float = 40.0  # Half the side of Cutout's square at magnitude 10, in pixels.
    # What Contrast blends with: "released", a grey of min(255, pixels / 256), which the released
    # models were trained with (it is white for most crops); "pillow", the mean grey.
    contrast: Literal["released", "pillow"] = "released"

    def __post_init__(self) -> None:
        for name in ("num_layers", "magnitude", "translate", "cutout"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"data.randaugment.{name}={getattr(self, name)} must not be negative; "
                    "data.randaugment=none turns RandAugment off."
                )
        if not self.operations:
            raise ConfigError(
                "data.randaugment.operations must name at least one operation; "
                "data.randaugment=none turns RandAugment off."
            )
        for name in self.operations:
            if name not in OPERATIONS:
                raise ConfigError(_unknown(name))
        if self.contrast not in ("released", "pillow"):
            raise ConfigError(
                f"data.randaugment.contrast={self.contrast!r} must be 'released' or 'pillow'."
            )

    def __call__(self, image: "Image.Image", rng: np.random.Generator) -> "Image.Image":
        """Returns a uint8 image of mode "RGB" or "L" changed; its size stays."""
        by = Strength(self.magnitude / 10, self.translate, self.cutout, self.contrast)
        for _ in range(self.num_layers):
            name = self.operations[int(rng.integers(len(self.operations)))]
            image = OPERATIONS[name](image, by, rng)
        return image


def _unknown(name: str) -> str:
    lower: Mapping[str, str] = {each.lower(): each for each in ALL_OPERATIONS}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return (
        f"data.randaugment.operations has {name!r}, which is no operation"
        + (f"; did you mean {lower[near[0]]!r}? " if near else ". ")
        + f"There are: {', '.join(ALL_OPERATIONS)}."
    )
