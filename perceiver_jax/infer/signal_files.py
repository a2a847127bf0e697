"""Files of sound and of points, for models that read these."""

from pathlib import Path

import numpy as np

from perceiver_jax.data.points import meshes


def fit_sound(samples: np.ndarray, length: int) -> np.ndarray:  # [length]
    """Cuts sound to `length` samples, or fills it up with silence."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def read_points(path: str | Path) -> np.ndarray:  # [points, 3], float32
    """Reads a cloud of points: .npy, or text with three numbers a line (.xyz, .csv, .txt).

    Clouds that reach beyond [-1, 1] are centred and scaled into the unit ball.

    Raises:
      DataError: the file is missing or holds no points.
    """
    points = meshes.read_points(path)
    if np.abs(points).max() > 1:
        points = points - points.mean(axis=0)
        points /= np.linalg.norm(points, axis=1).max()
    return points
