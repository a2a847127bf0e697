"""Sound is cut and changed at random, for sets so small that a clip is seen many times.

Evaluation then takes clips from all over the places that training draws from.
"""

import dataclasses

import numpy as np

from perceiver_jax.data.media.sound import to_float
from perceiver_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoundChanges:
    """What is done to the sound of training clips, if there are no frames to be kept with.

    Ours: neither paper changes sound but for SpecAugment. With `anywhere`, a recording that is
    shorter than a clip is evaluated at several places in it too, where its clips would else be all
    the same; see `spread`.
    """

    anywhere: bool = True  # Clips begin at any sample, and what is shorter lies anywhere in them.
    gain: float = 6.0  # Decibels, by up to which a clip is louder or quieter.
    flip: bool = True  # Half of the waves are upside down, which nobody hears.

    def __post_init__(self) -> None:
        if self.gain < 0:
            raise ConfigError(f"data.sound_changes.gain={self.gain:g} must not be negative.")

    def first_sample(
        self, recording: int, first: int, num_samples: int, rng: np.random.Generator
    ) -> int:
        """Returns the sample that a clip begins with; below 0 where silence comes before it.

        Args:
          recording: how many samples there are.
          first: where the clip begins if it is not moved.
          num_samples: how long it is.
          rng: draws the place.
        """
        if not self.anywhere:
            return first
        lowest, highest = _places(recording, num_samples)
        return int(rng.integers(lowest, highest + 1))

    def __call__(
        self,
        samples: np.ndarray,  # int16 [n]
        first: int,
        num_samples: int,
        rng: np.random.Generator,
    ) -> np.ndarray:  # float32 [num_samples] in [-1, 1]
        """Returns a clip of a recording; silence where there is nothing of it."""
        clip = _cut(samples, self.first_sample(len(samples), first, num_samples, rng), num_samples)
        factor = 10 ** (rng.uniform(-self.gain, self.gain) / 20)
        if self.flip and rng.random() < 0.5:
            factor = -factor
        return np.clip(clip * np.float32(factor), -1, 1)


def spread(
    samples: np.ndarray,  # int16 [n]
    num_samples: int,
    count: int,
) -> list[np.ndarray]:  # float32 [num_samples] in [-1, 1], `count` of them
    """Returns clips that begin at equal distances over all places where `anywhere` lets them.

    The first starts with the recording and the last one ends with it, or the other way round where
    it is shorter than a clip; a single one lies in the middle.
    """
    lowest, highest = _places(len(samples), num_samples)
    ends = np.linspace(lowest, highest, count) if count > 1 else [(lowest + highest) / 2]
    return [_cut(samples, int(start), num_samples) for start in np.rint(ends)]


def _places(recording: int, num_samples: int) -> tuple[int, int]:
    """The lowest and the highest sample that a clip may begin with; below 0 is silence."""
    last = recording - num_samples
    return min(last, 0), max(last, 0)


def _cut(samples: np.ndarray, start: int, num_samples: int) -> np.ndarray:
    """A clip of a recording, float32; silence where there is nothing of it."""
    cut = to_float(samples[max(start, 0) : max(start + num_samples, 0)])
    before = max(-start, 0)
    return np.pad(cut, (before, num_samples - before - len(cut)))
