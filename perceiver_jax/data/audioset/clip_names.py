"""What the name of a file says: whose recording it is, and from when to when.

Names contain the recording's id: --4gqARaEJE.mp4, Y--4gqARaEJE.wav, video/--4gqARaEJE_30_40.mkv.
No other letter or digit touches it but that Y. A number after the id, seconds or milliseconds, is
the time in the recording that the file starts with, and a second one that with which it ends. Ids
that are not YouTube's are the whole name of the file.
"""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from perceiver_jax.data.audioset.labels import Segment

_YOUTUBE = 11  # Characters of an id.
# A time after an id: "_30", "_30.000", "_30000", "-30.000_40.000", "_30.0,40.0"
_TIME = re.compile(r"[_ -](\d+(?:\.\d+)?)(?:[_ ,-](\d+(?:\.\d+)?))?(?![A-Za-z\d])")
_CLOCK = re.compile(r"[_ -](\d\d)[-:]([0-5]\d)[-:]([0-5]\d(?:\.\d+)?)(?![A-Za-z\d])")  # "_00-01-30"
# A number that is one of these is rather the height of frames, unless a segment begins then.
_HEIGHTS = ("360", "480", "720", "1080", "1440", "2160")
# An id wherever it begins in a name, unless another letter or digit touches it: "man-speech1" is in
# neither "woman-speech1" nor "man-speech12". A Y may stand before it.
_OTHER = "[A-Za-z0-9]"
_ID = re.compile(
    rf"(?:(?<!{_OTHER})|(?<!{_OTHER}Y)(?<=Y))(?=([A-Za-z0-9_-]{{{_YOUTUBE}}})(?!{_OTHER}))"
)


@dataclasses.dataclass(frozen=True)
class Clip:
    """A segment, and the file that has it."""

    segment: Segment
    path: str  # In the folder.
    cut: bool  # The name says that the file begins with the segment,
    skip: float = 0.0  # or so many seconds before.
    others: tuple[str, ...] = ()  # Files that have the same; see `read_recording`.


@dataclasses.dataclass(frozen=True)
class Named:
    """What a file's name says of segments."""

    segments: Sequence[Segment]  # Of its recording; none: the name has no id that is asked for.
    clips: Sequence[Clip]  # Those of them that it may have.
    time: str = ""  # Where it has none of them: "second 60", "seconds 60 to 70".


def read_name(path: str, by_id: Mapping[str, Sequence[Segment]]) -> Named:
    """Reads the name of a file.

    Args:
      path: the file.
      by_id: the segments that are asked for, by the ids of their recordings.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    for id_, rest in _ids_in(stem, by_id):
        segments = by_id[id_]
        found = _times(rest)
        if found is None:
            return Named(segments, [Clip(segment, path, cut=False) for segment in segments])
        begins, ends = found
        clips = _clips_at(path, segments, float(begins), float(ends or 0))
        if not clips and ends is None and begins in _HEIGHTS:
            clips = [Clip(segment, path, cut=False) for segment in segments]
        time = f"second {float(begins):g}" if ends is None else f"seconds {begins} to {ends}"
        return Named(segments, clips, "" if clips else time)
    return Named([], [])


def _clips_at(path: str, segments: Sequence[Segment], begins: float, ends: float) -> list[Clip]:
    """What a file has that begins, and may end, at a time, in seconds or milliseconds."""
    units = (1000, 1)  # So "0_10000" is of 10 s, where those have a segment, and not of hours.
    starts = [begins / unit for unit in units]
    clips = [Clip(each, path, cut=True) for each in segments if each.start in starts]
    for unit, start in zip(units, starts, strict=True):
        inside = [each for each in segments if start <= each.start and each.end <= ends / unit]
        if inside:
            clips += [
                Clip(each, path, cut=True, skip=round(each.start - start, 3))
                for each in inside
                if each.start != start
            ]
            break
    # Names are often cut to whole seconds.
    return clips or [Clip(each, path, cut=True) for each in segments if int(each.start) in starts]


def _times(rest: str) -> tuple[str, str | None] | None:
    """The times that follow an id: seconds or milliseconds, as text."""
    if clock := _CLOCK.match(rest):
        hours, minutes, seconds = map(float, clock.groups())
        return f"{3600 * hours + 60 * minutes + seconds:g}", None
    time = _TIME.match(rest)
    return None if time is None else (time[1], time[2])


def _ids_in(stem: str, by_id: Mapping[str, Sequence[Segment]]) -> Iterator[tuple[str, str]]:
    """Ids that a name has, with what follows them: the whole name first, then from the left."""
    if stem in by_id:
        yield stem, ""
    for found in _ID.finditer(stem):
        if found[1] in by_id:
            yield found[1], stem[found.end(1) :]
