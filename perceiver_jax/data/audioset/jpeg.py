"""Frames as pictures: how large they are stored, and how good."""

import dataclasses
import io
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from perceiver_jax.data.media.frames import upright
from perceiver_jax.errors import ConfigError

if TYPE_CHECKING:
    import av


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """What stored pictures are like."""

    shorter_side: int = 256  # Pixels, at most; models read random parts of 224 x 224.
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

    width, height = frame.width * pixel, Fraction(frame.height)
    scale = min(Fraction(jpeg.shorter_side) / min(width, height), Fraction(1))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size != (frame.width, frame.height):
        frame_scaled = frame.reformat(*size, format="rgb24", interpolation="AREA")
        pixels = np.rot90(frame_scaled.to_ndarray(), round(frame.rotation / 90))
    else:
        pixels = upright(frame)
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "JPEG", quality=jpeg.quality)
    return written.getvalue()
