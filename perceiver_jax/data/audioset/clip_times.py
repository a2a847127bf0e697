"""Which part of a recording a model reads: frames and samples of one clip, from one number.

A clip begins with a whole frame, and frame k is shown from sample 1,920 k on, so sound and frames
are cut at the same time, to the sample. Training takes a random clip of 32 frames, 1.28 s;
evaluation 16 that overlap and together cover the recording (Perceiver, Sec. 4.2).
"""

import dataclasses

import numpy as np

from perceiver_jax.data.media.frames import FRAME_RATE
from perceiver_jax.data.media.sound import SAMPLE_RATE

SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE  # 1,920


@dataclasses.dataclass(frozen=True)
class Clip:
    """Some consecutive frames, and the sound that is heard while they are shown."""

    first: int  # Frame, from the beginning of the recording.
    num_frames: int

    @property
    def num_samples(self) -> int:
        """How many samples the frames last."""
        return self.num_frames * SAMPLES_PER_FRAME

    def cut_sound(self, samples: np.ndarray) -> np.ndarray:  # [n] -> [num_samples]
        """Returns the clip's part of a recording's sound; silence where it has ended."""
        first = self.first * SAMPLES_PER_FRAME
        cut = samples[first : first + self.num_samples]
        return np.pad(cut, (0, self.num_samples - len(cut)))

    def frames_of(self, count: int) -> np.ndarray:  # [num_frames]
        """Returns which of a video's `count` frames are shown; the last one where it has ended."""
        return np.minimum(np.arange(self.first, self.first + self.num_frames), count - 1)


def length(num_frames: int, num_samples: int) -> int:
    """Returns how many frames a recording lasts: until the later end of its streams."""
    return max(num_frames, -(-num_samples // SAMPLES_PER_FRAME))


def random_clip(recording: int, num_frames: int, rng: np.random.Generator) -> Clip:
    """Draws a clip, all places in a recording of `recording` frames equally likely.

    That of a shorter recording starts with it.
    """
    return Clip(int(rng.integers(max(recording - num_frames, 0) + 1)), num_frames)


def spread_clips(recording: int, num_frames: int, count: int) -> tuple[Clip, ...]:
    """Returns `count` clips whose starts lie at equal distances.

    The first starts with the recording, and the last one ends with it; a single one lies in its
    middle. Starts are rounded to whole frames: of 10 s, 16 clips of 32 frames start every 14.5
    frames. Those of a recording that is no longer than a clip are all the same.
    """
    last = max(recording - num_frames, 0)
    starts = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    return tuple(Clip(int(start), num_frames) for start in np.rint(starts))


def hopping_clips(recording: int, num_frames: int, hop: int) -> tuple[Clip, ...]:
    """Returns clips that start every `hop` frames, and one more that ends with the recording.

    Of a recording that is no longer than a clip there is one.
    """
    last = max(recording - num_frames, 0)
    return tuple(Clip(start, num_frames) for start in (*range(0, last, hop), last))
