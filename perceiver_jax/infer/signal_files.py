"""Files of sound and of points, for models that read these."""

from pathlib import Path

import numpy as np

from perceiver_jax.data.points import meshes
from perceiver_jax.errors import DataError, require

SAMPLE_RATE = 48_000  # Hz; of all models of both papers.


def read_sound(path: str | Path) -> np.ndarray:  # [samples], float32
    """Reads the first sound track of a file that PyAV reads: one channel, 48 kHz, from -1 to 1.

    Raises:
      DataError: the file is missing, has no sound, or is damaged.
    """
    require("av", purpose="Reading sound")
    import av

    if not Path(path).is_file():
        raise DataError(f"there is no file {path}.")
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise DataError(f"{path} has no sound.")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            frames = [frame for part in file.decode(audio=0) for frame in resampler.resample(part)]
            frames += resampler.resample(None)
    except av.FFmpegError as error:
        raise DataError(f"the sound of {path} cannot be read: {error}") from error
    if not frames:
        raise DataError(f"the sound track of {path} is empty.")
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


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
