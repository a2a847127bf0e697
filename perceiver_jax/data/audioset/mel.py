"""Mel spectrograms: how loud a clip is in each band of frequencies over time, in NumPy.

Perceiver (Sec. 4.2) reads one of 4,800 values, and says no more of it. Open, all of it ours: 60
frames, since 61,440 samples are 60 hops of 1,024, and so 80 bands; windows of 2,048 samples (43
ms), Hann's, each around the middle of its hop; bands from 50 Hz to 16 kHz on Slaney's scale, since
compressed sound has little above; decibels, from -60 on, shifted and scaled by round numbers:
silence is -2, and white noise with a deviation of 0.1 about 0.7. The power is that of
`librosa.feature.melspectrogram` within rounding.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from perceiver_jax.data.media.sound import SAMPLE_RATE
from perceiver_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class MelSpectrogram:
    """How sound becomes a spectrogram [frames, bands]: a frame for each hop of the clip."""

    num_bands: int = 80  # Filters, triangles whose peaks lie at equal distances in mel.
    hop: int = 1024  # Samples from a frame to the next; divides the samples of a clip.
    window: int = 2048  # Samples that a frame hears.
    lowest: float = 50.0  # Hz, where the first filter begins.
    highest: float = 16_000.0  # Hz, where the last one ends.
    floor: float = -60.0  # Decibels below which all is silence.
    mean: float = -20.0  # Decibels; subtracted.
    stddev: float = 20.0  # Decibels; then divided by.

    def __post_init__(self) -> None:
        for name in ("num_bands", "hop", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data.audio.{name}={getattr(self, name)} must be at least 1.")
        if self.window < self.hop or (self.window - self.hop) % 2:
            raise ConfigError(
                f"data.audio.window={self.window} must be hop={self.hop} or longer by an even "
                "number of samples, or there would be sound that no frame hears."
            )
        if not 0 <= self.lowest < self.highest <= SAMPLE_RATE / 2:
            raise ConfigError(
                f"data.audio.lowest={self.lowest:g} and highest={self.highest:g} must be two "
                f"frequencies from 0 to {SAMPLE_RATE // 2} Hz."
            )
        if self.stddev <= 0:
            raise ConfigError(f"data.audio.stddev={self.stddev:g} must be above 0.")
        self._check_bands()

    def _check_bands(self) -> None:
        """Raises a `ConfigError` if a band is so narrow that no frequency lies in it."""
        apart = SAMPLE_RATE / self.window
        corners = _corners(self.num_bands, self.lowest, self.highest)
        begins, ends = corners[:-2], corners[2:]
        deaf = np.flatnonzero((np.floor(begins / apart) + 1) * apart >= ends)
        if len(deaf):
            first = deaf[0]
            raise ConfigError(
                f"data.audio.num_bands={self.num_bands} are too many for "
                f"data.audio.window={self.window}, whose frequencies are {apart:.1f} Hz apart: "
                f"none lies between {begins[first]:.1f} and {ends[first]:.1f} Hz, and band {first} "
                "would always be silent. Give fewer bands, or a longer window."
            )

    def num_frames(self, num_samples: int) -> int:
        """Returns how many frames a clip has.

        Raises:
          ConfigError: it is no whole number of hops.
        """
        if num_samples % self.hop:
            raise ConfigError(
                f"data.audio.hop={self.hop} does not divide the {num_samples:,} samples of a clip, "
                "1,920 for each of data.num_frames: 1,024 does for 8, 16, 24 or 32 frames, 960 for "
                "any number."
            )
        return num_samples // self.hop

    def __call__(self, samples: np.ndarray) -> np.ndarray:  # [n] in [-1, 1] -> [frames, bands]
        """Returns the spectrogram of a clip, float32: decibels, shifted and scaled."""
        decibels = 10 * np.log10(np.maximum(self.power(samples), 10 ** (self.floor / 10)))
        return ((decibels - self.mean) / self.stddev).astype(np.float32)

    def power(self, samples: np.ndarray) -> np.ndarray:  # [n] in [-1, 1] -> [frames, bands]
        """Returns the power in each band, float64; beyond both ends of the clip is silence."""
        frames = self.num_frames(len(samples))
        beside = (self.window - self.hop) // 2
        padded = np.pad(samples.astype(np.float64), beside)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        spectra = np.fft.rfft(windows[:frames] * _hann(self.window))
        power = spectra.real**2 + spectra.imag**2
        return (filters(self.num_bands, self.window, self.lowest, self.highest) @ power.T).T


@functools.lru_cache(maxsize=8)
def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


@functools.lru_cache(maxsize=8)
def filters(num_bands: int, window: int, lowest: float, highest: float) -> Any:
    """Triangles over the frequencies of a spectrum, each of area 1 over its frequencies in Hz.

    Each begins where the one before has its peak, and ends where the next one has.

    Returns:
      A sparse array [num_bands, window // 2 + 1]: dense products would start threads in each of the
      loader's own.
    """
    from scipy import sparse

    frequencies = np.arange(window // 2 + 1) * (SAMPLE_RATE / window)
    corners = _corners(num_bands, lowest, highest)[:, None]
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (frequencies - low) / (peak - low)
    falling = (high - frequencies) / (high - peak)
    return sparse.csr_array(np.maximum(np.minimum(rising, falling), 0) * (2 / (high - low)))


def _corners(num_bands: int, lowest: float, highest: float) -> np.ndarray:  # [num_bands + 2], Hz
    """Where filters begin, peak and end: each is the peak of one, the end of that before it."""
    return from_mel(np.linspace(to_mel(lowest), to_mel(highest), num_bands + 2))


# Slaney's scale (Auditory Toolbox, 1998): linear up to 1,000 Hz, logarithmic above.
_HZ_PER_MEL = 200 / 3
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27  # From a mel to the next, above the break.


def to_mel(hertz: float) -> float:
    """Returns where a frequency lies on the mel scale."""
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return float(_BREAK_MEL + np.log(hertz / _BREAK_HZ) / _LOG_STEP)


def from_mel(mel: np.ndarray) -> np.ndarray:
    """The inverse of `to_mel`, for many."""
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)
