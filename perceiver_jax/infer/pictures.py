"""Pictures as arrays, and as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.errors import require


def write_png(path: Path | str, picture: np.ndarray) -> None:
    """Writes uint8 RGB [y, x, 3] as a PNG file, whole or not at all."""
    require("PIL", purpose="Writing pictures", pip_name="pillow")
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(np.ascontiguousarray(picture)).save(temporary, format="PNG")


def crop_to_aspect(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest centred part of an image [y, x, c] with the aspect of `size` (height, width)."""
    height, width = image.shape[:2]
    rows = min(height, max(round(width * size[0] / size[1]), 1))
    columns = min(width, max(round(height * size[1] / size[0]), 1))
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Values in [0, 1], clipped to that, as uint8."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def rows_of_frames(rows: Sequence[np.ndarray], count: int = 8) -> np.ndarray:
    """Lays videos out as rows of frames, one row a video, to be compared.

    Args:
      rows: [t, y, x, 3] each, of one shape.
      count: frames shown at most, spread evenly over the videos.

    Returns:
      [rows * y, count * x, 3].
    """
    length = len(rows[0])
    shown = np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int))
    return np.concatenate([np.concatenate(list(row[shown]), axis=1) for row in rows], axis=0)
