"""Sound of any file, as one channel of 16 bits, on a clock that frames may share."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perceiver_jax.data.media.files import decode, open_media, reason
from perceiver_jax.errors import DataError

if TYPE_CHECKING:
    import av

SAMPLE_RATE = 48_000  # Hz; of all models of both papers.
# Sound whose time stamps are off by less than this (s) is taken to go on without a gap. Frames are
# as near to their times, and so both lie within one frame, 1 / 25 s, of each other.
_JITTER = Fraction(1, 50)

_HIGHEST = 1_000_000  # Samples a second; a damaged file says more, and FFmpeg takes it at its word.

TimedSamples = tuple[Fraction | None, np.ndarray]  # When they begin (s), if known; int16 [n].


def read_sound(path: str | Path) -> np.ndarray:  # [samples], float32
    """Reads the first sound track of a file that PyAV reads: one channel, 48 kHz, from -1 to 1.

    Raises:
      DataError: the file is missing, has no sound, or is damaged.
    """
    with open_media(path, "sound") as container:
        if not container.streams.audio:
            raise DataError(f"{str(path)!r} has no sound.")
        samples = timed_samples(container, path, SAMPLE_RATE)
        opening = next(samples, None)
        if opening is None:
            raise DataError(f"the sound track of {str(path)!r} is empty.")
        parts = list(samples_from(itertools.chain([opening], samples), opening[0], SAMPLE_RATE))
    return to_float(np.concatenate(parts))


def fit_sound(samples: np.ndarray, length: int) -> np.ndarray:  # [length]
    """Cuts sound to `length` samples, or fills it up with silence."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def to_float(samples: np.ndarray) -> np.ndarray:
    """Makes int16 samples float32 ones in [-1, 1)."""
    return samples.astype(np.float32) / 2**15


def timed_samples(
    container: "av.container.InputContainer", path: object, rate: int
) -> Iterator[TimedSamples]:
    """Yields the sound of a file, if it has any, as one channel at a rate, in pieces with times.

    Raises:
      DataError: the file is damaged, or its sound of a form that cannot be converted.
    """
    import av

    if not container.streams.audio:
        return
    stream = container.streams.audio[0]
    if stream.codec_context is not None and stream.codec_context.sample_rate > _HIGHEST:
        raise DataError(
            f"{str(path)!r} is damaged: it says that its sound has "
            f"{stream.codec_context.sample_rate:,} samples a second."
        )
    # Broadcasts change between stereo and 5.1, and a decoder may find out late what it has.
    for _, frames in itertools.groupby(decode(container, stream, path), key=_form):
        # 16 bits, as in the released procedure; and FFmpeg mixes floats of several channels too
        # loudly.
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        for frame in itertools.chain(frames, [None]):
            try:
                resampled = resampler.resample(frame)
            except (ValueError, av.FFmpegError) as error:
                raise DataError(
                    f"the sound of {str(path)!r} cannot be brought to {rate} samples a second "
                    f"({reason(error)})."
                ) from error
            for part in resampled:
                time = None
                if part.pts is not None and part.time_base is not None:
                    time = part.pts * part.time_base
                yield time, part.to_ndarray()[0]


def _form(frame: "av.AudioFrame") -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def samples_from(
    parts: Iterator[TimedSamples], origin: Fraction | None, rate: int
) -> Iterator[np.ndarray]:
    """Yields samples, int16 [n], from the time `origin` on, gaps filled with silence.

    Args:
      parts: in the order of their times, at `rate` samples a second.
      origin: seconds by the file's clock; what is before is left out. None: the first sample.
      rate: samples a second.
    """
    position = 0  # Samples since `origin` so far.
    for time, samples in parts:
        if time is not None and origin is not None:
            lead = round((time - origin) * rate) - position
            if lead > _JITTER * rate or (position == 0 and lead > 0):
                position += lead
                while lead > 0:  # By the second: a damaged time stamp may be years away.
                    yield np.zeros(min(lead, rate), np.int16)
                    lead -= rate
            elif lead < -_JITTER * rate or (position == 0 and lead < 0):
                samples = samples[-lead:]
        if len(samples):
            yield samples
            position += len(samples)


class Samples:
    """Hands sound out in the lengths that are asked for, and silence after its end."""

    def __init__(self, parts: Iterator[np.ndarray]):
        self._parts = parts
        self._left = np.zeros(0, np.int16)

    def take(self, count: int) -> np.ndarray:  # [count]
        """Returns the next samples, int16."""
        joined = self._join(count)
        return np.concatenate([joined, np.zeros(count - len(joined), np.int16)])

    def take_what_is_there(self, count: int) -> np.ndarray:  # [count or less]
        """Returns the next samples; fewer, or none, where the sound has ended."""
        return self._join(count)

    def _join(self, count: int) -> np.ndarray:
        parts = [self._left]
        missing = count - len(self._left)
        while missing > 0 and (part := next(self._parts, None)) is not None:
            parts.append(part)
            missing -= len(part)
        joined = np.concatenate(parts)
        self._left = joined[count:]
        return joined[:count]
