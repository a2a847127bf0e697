"""SpecAugment (Park et al. 2019): bands and stretches of a spectrogram are covered at random."""

import dataclasses

import numpy as np

from perceiver_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """How much is covered. Used by Perceiver (Sec. 4.2), which does not say how much.

    Open: two of each, of at most a fifth of the bands or frames, covered with 0, about the mean of
    a normalised spectrogram; no warping of time, which helped its authors least.
    """

    num_time_masks: int = 2  # Stretches of time.
    longest: float = 0.2  # Of one, at most this share of the frames.
    num_frequency_masks: int = 2  # Bands of frequencies.
    widest: float = 0.2  # Of one, at most this share of the bands.

    def __post_init__(self) -> None:
        for name in ("num_time_masks", "num_frequency_masks"):
            if getattr(self, name) < 0:
                raise ConfigError(f"data.spec_augment.{name}={getattr(self, name)} must not be "
                                  "negative.")  # fmt: skip
        for name in ("longest", "widest"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.spec_augment.{name}={getattr(self, name)} must lie in "
                                  "[0, 1].")  # fmt: skip

    def __call__(
        self,
        spectrogram: np.ndarray,  # [frames, bands]
        rng: np.random.Generator,
    ) -> np.ndarray:  # [frames, bands]
        """Returns a copy with parts of it covered; each width, none too, is equally likely."""
        covered = spectrogram.copy()
        frames, bands = spectrogram.shape
        for _ in range(self.num_time_masks):
            covered[_stretch(frames, self.longest, rng)] = 0
        for _ in range(self.num_frequency_masks):
            covered[:, _stretch(bands, self.widest, rng)] = 0
        return covered


def _stretch(size: int, share: float, rng: np.random.Generator) -> slice:
    width = int(rng.integers(int(share * size) + 1))
    first = int(rng.integers(size - width + 1))
    return slice(first, first + width)
