"""A part of a file's frames and sound, from any place, on one clock.

The clock starts at second 0 of the part. Frame k is the one nearest to k / 25 s, and sample n
belongs to n / 48,000 s: what happens at a time is found at the same time in both.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from perceiver_jax.data.media.files import seek
from perceiver_jax.data.media.frames import (
    FRAME_RATE,
    frames_at_rate,
    timed_frames,
    video_streams,
)
from perceiver_jax.data.media.sound import SAMPLE_RATE, Samples, samples_from, timed_samples

if TYPE_CHECKING:
    import av

# Files are entered so much (s) before the place: their indices are of the times at which frames are
# decoded, which may be later than they are shown, and sound needs a moment to swing in.
_BEFORE = Fraction(1, 2)

_Value = TypeVar("_Value")
Open = Callable[[], "av.container.InputContainer"]


def frames_from(open_file: Open, path: object, origin: Fraction) -> Iterator["av.VideoFrame"]:
    """Yields the frames at 25 a second from a time on, until the video ends.

    One thread decodes them: whoever needs parts of files reads many files at once.

    Args:
      open_file: opens the file.
      path: its name, for messages.
      origin: when the clock starts, in seconds of the file's own time.

    Raises:
      DataError: the file is damaged, or has no video.
    """
    timed = _entered(open_file, lambda file: timed_frames(file, path, threads=1), origin)
    yield from frames_at_rate(timed, FRAME_RATE, path, origin)


def sound_from(
    open_file: Open, path: object, origin: Fraction, count: int
) -> np.ndarray:  # [count or less], int16
    """Returns the sound at 48 kHz from a time on, one channel; fewer samples, where it ends.

    Raises:
      DataError: see `frames_from`; a file without sound gives no samples.
    """
    timed = _entered(open_file, lambda file: timed_samples(file, path, SAMPLE_RATE), origin)
    with contextlib.closing(timed):
        return Samples(samples_from(timed, origin, SAMPLE_RATE)).take_what_is_there(count)


def first_times(open_file: Open, path: object) -> tuple[Fraction | None, Fraction | None]:
    """When the first frame and the first sample come, by the file's clock; None: there is none.

    Raises:
      DataError: the file is damaged.
    """
    frame = sample = None
    with open_file() as file:
        if video_streams(file):
            frame = next((time for time, _ in timed_frames(file, path, threads=1)), None)
    with open_file() as file:
        sounding = (each for each in timed_samples(file, path, SAMPLE_RATE) if len(each[1]))
        opening = next(sounding, None)
        if opening is not None:
            sample = opening[0] if opening[0] is not None else Fraction(0)
    return frame, sample


def _entered(
    open_file: Open,
    read: Callable[[Any], Iterator[tuple[Any, _Value]]],
    origin: Fraction,
) -> Generator[tuple[Any, _Value], None, None]:
    """Reads a file from shortly before a time; from its beginning, if that cannot be had."""
    with open_file() as file:
        if seek(file, origin - _BEFORE):
            items = read(file)
            opening = next(items, None)
            if opening is not None and opening[0] is not None and opening[0] <= origin:
                yield from itertools.chain([opening], items)
                return
            file.close()
        else:
            yield from read(file)
            return
    with open_file() as file:
        yield from read(file)
