"""Pixels to the range of values that a model reads, and back."""

from collections.abc import Sequence

import numpy as np

# Of ImageNet's training images, red, green and blue from 0 to 255, as the released models were
# trained (Perceiver IO, App. A).
MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
STDDEV = (0.229 * 255, 0.224 * 255, 0.225 * 255)


def normalize(
    image: np.ndarray,  # [..., c], 0..255 and what resizing overshoots
    mean: Sequence[float] = MEAN,  # [c]
    stddev: Sequence[float] = STDDEV,  # [c]
) -> np.ndarray:  # [..., c], float32
    """Subtracts the mean and divides by the deviation, each channel by itself."""
    # By whole rows: NumPy takes four times as long where its innermost loop is over three channels.
    *_, width, channels = (1, *image.shape)
    rows = image.reshape(-1, width * channels).astype(np.float32)
    rows -= np.tile(np.asarray(mean, np.float32), width)
    rows /= np.tile(np.asarray(stddev, np.float32), width)
    return rows.reshape(image.shape)


def denormalize(
    image: np.ndarray,  # [..., c]
    mean: Sequence[float] = MEAN,  # [c]
    stddev: Sequence[float] = STDDEV,  # [c]
) -> np.ndarray:  # [..., c], uint8
    """The inverse of `normalize`, rounded and clipped, for display."""
    values = image * np.asarray(stddev, np.float32) + np.asarray(mean, np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
