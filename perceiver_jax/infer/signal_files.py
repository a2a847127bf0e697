"""Files of sound, for models that read it."""

from pathlib import Path

import numpy as np

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
