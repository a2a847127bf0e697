"""Frames as pictures: how large they are stored, and how good."""

import dataclasses
import io
from fractions import Fraction
from typing import TYPE_CHECKING

from perceiver_jax.data.media.frames import upright, within
from perceiver_jax.errors import ConfigError

if TYPE_CHECKING:
    import av

SHORTER_SIDE = 256  # Of pictures, in pixels; models read random parts of 224 x 224.


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """What stored pictures are like."""

    shorter_side: int = SHORTER_SIDE  # Pixels, at most.
    quality: int = 90  # Of JPEG, 1 to 95.

    def __post_init__(self) -> None:
        if not 16 <= self.shorter_side <= 4096:
            raise ConfigError(f"--frame_size={self.shorter_side} must be from 16 to 4096 pixels.")
        if not 1 <= self.quality <= 95:
            raise ConfigError(f"--quality={self.quality} must be from 1 to 95.")


DEFAULT = Jpeg()


def to_jpeg(frame: "av.VideoFrame", pixel: Fraction = Fraction(1), jpeg: Jpeg = DEFAULT) -> bytes:
    """Makes a JPEG file of a frame, upright, in its true proportions; a small one keeps its size.

    Args:
      frame: the frame.
      pixel: the width of one of its pixels by its height.
      jpeg: how large it is to be, and how good.
    """
    from PIL import Image

    pixels = upright(frame, within(frame.width * pixel, frame.height, jpeg.shorter_side))
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=jpeg.quality)
    return written.getvalue()
