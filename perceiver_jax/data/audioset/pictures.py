"""A clip as a picture: some of its frames in a row, its spectrogram, its wave."""

import numpy as np

from perceiver_jax.colours import magma
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.video import VideoConfig

WIDTH = 448  # Pixels of a picture of sound without frames.
_HEIGHT = 96  # Of a picture of sound.
_DECIBELS = 80.0  # From black to the brightest colour.
_FRAMES = 4  # Of a clip; the first and the last among them.
_WAVE, _AROUND = 30, 235  # Greys.


def frames_in_a_row(
    clip: np.ndarray,  # [t, y, x, 3] in [-1, 1]
    video: VideoConfig,
) -> np.ndarray:  # uint8 [y, n * x, 3]
    """Returns frames that lie at equal distances, the first and the last among them."""
    numbers = np.rint(np.linspace(0, len(clip) - 1, min(_FRAMES, len(clip)))).astype(int)
    return np.concatenate(list(video.pixels(clip[numbers])), axis=1)


def spectrogram(
    values: np.ndarray,  # [frames, bands]
    mel: MelSpectrogram,
    width: int,
) -> np.ndarray:  # uint8 [y, width, 3]
    """Returns a spectrogram: time to the right, high bands above, the louder the brighter.

    All are on one scale; silence is black.
    """
    shares = (values.T[::-1] * mel.stddev + mel.mean - mel.floor) / _DECIBELS
    rows = np.arange(_HEIGHT) * shares.shape[0] // _HEIGHT
    columns = np.arange(width) * shares.shape[1] // width
    return magma(shares[rows][:, columns])


def wave(
    samples: np.ndarray,  # [n] in [-1, 1]
    width: int,
) -> np.ndarray:  # uint8 [y, width, 3]
    """Returns a wave: from the lowest to the highest of the samples that fall into a column."""
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    heights = np.linspace(1, -1, _HEIGHT)
    near = 1 / _HEIGHT  # So that silence is a line.
    picture = np.full((_HEIGHT, width, 3), _AROUND, np.uint8)
    for column in range(width):
        part = samples[edges[column] : max(edges[column + 1], edges[column] + 1)]
        inside = (heights >= part.min() - near) & (heights <= part.max() + near)
        picture[inside, column] = _WAVE
    return picture
