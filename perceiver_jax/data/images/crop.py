"""Which part of an image is used: a random one for training, the middle for evaluation.

Boxes are (left, top, right, bottom) in pixels, the last two outside, as Pillow's `crop` takes them.
"""

import dataclasses
import math

import numpy as np

from perceiver_jax.errors import ConfigError

Box = tuple[int, int, int, int]

# The share of the shorter side that the evaluation keeps: 224 of 256 pixels (Perceiver IO, App. A).
EVAL_CROP = 0.875


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCrop:
    """The crop that Inception was trained with (Szegedy et al. 2015, section 6), as released.

    A ratio of width to height is drawn uniformly, then a height, uniformly among the whole numbers
    for which the area is in range and the box fits; then a place. This is the distribution of
    `tf.image.sample_distorted_bounding_box`, which the released models were trained with. It is not
    the same as drawing the area uniformly, which other libraries do: large crops are rarer here.
    """

    area: tuple[float, float] = (0.08, 1.0)  # Least and largest share of the image.
    aspect: tuple[float, float] = (3 / 4, 4 / 3)  # Least and largest width over height.
    min_covered: float = 0.1  # A box with a smaller share of the image than this is drawn again.
    attempts: int = 10  # If so many draws give no box, the whole image is taken.

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigError(
                f"crop.area={self.area} must be two shares of the image, 0 < least <= largest <= 1."
            )
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise ConfigError(
                f"crop.aspect={self.aspect} must be two ratios of width to height, 0 < least "
                "<= largest."
            )
        if not 0 <= self.min_covered <= self.area[1]:
            raise ConfigError(
                f"crop.min_covered={self.min_covered} must lie between 0 and the largest "
                f"area, {self.area[1]}: no crop could be larger."
            )
        if self.attempts < 1:
            raise ConfigError(f"crop.attempts={self.attempts} must be at least 1.")

    def draw(self, width: int, height: int, rng: np.random.Generator) -> Box:
        """Returns a box inside an image of `width` by `height` pixels; all of it if none fits."""
        for _ in range(self.attempts):
            low, high = self.aspect
            size = self._size(width, height, low + (high - low) * rng.random(), rng)
            if size is None or size[0] * size[1] < self.min_covered * (width * height):
                continue
            # As released, the last place is never drawn: 0 to slack - 1, where slack is possible.
            left, top = (
                int(rng.integers(max(whole - part, 1)))
                for whole, part in zip((width, height), size, strict=True)
            )
            return left, top, left + size[0], top + size[1]
        return 0, 0, width, height

    def _size(
        self, width: int, height: int, aspect: float, rng: np.random.Generator
    ) -> tuple[int, int] | None:
        """Draws (width, height) of a box with about this aspect; None if rounding leaves none."""
        least, most = (share * (width * height) for share in self.area)

        def columns(rows: int) -> int:
            return round(rows * aspect)

        tallest = min(round(math.sqrt(most / aspect)), height)
        while tallest > 0 and columns(tallest) > width:
            # In one step to where rounding decides, then by ones.
            tallest = min(tallest - 1, math.ceil((width + 0.5) / aspect))
        lowest = min(round(math.sqrt(least / aspect)), tallest)
        rows = lowest + int(rng.integers(tallest - lowest + 1))
        # Rounding may have gone out of the range of areas by one row.
        if rows * columns(rows) < least:
            rows += 1
        if rows * columns(rows) > most:
            rows -= 1
        fits = 1 <= rows <= height and 1 <= columns(rows) <= width
        if not fits or not least <= rows * columns(rows) <= most:
            return None
        return columns(rows), rows


def central_box(
    width: int,
    height: int,
    keep: float = EVAL_CROP,
    aspect: tuple[int, int] = (1, 1),  # Height to width of the crop.
) -> Box:
    """The middle of an image: `keep` of the largest rectangle of an aspect, at least one pixel.

    For a square that is `keep` of the shorter side. Rounding is the released evaluation's.
    """
    tall, wide = aspect
    rows = max(1, int(keep * min(height, width * tall / wide)))
    columns = max(1, int(keep * min(width, height * wide / tall)))
    top, left = (height - rows + 1) // 2, (width - columns + 1) // 2
    return left, top, left + columns, top + rows
