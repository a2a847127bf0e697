"""Which file of a folder has which segment, whatever the files are called.

Names contain the recording's id: --4gqARaEJE.mp4, Y--4gqARaEJE.wav, video/--4gqARaEJE_30_40.mkv.
No other letter or digit touches it but that Y. A number after the id, seconds or milliseconds, is
the time in the recording that the file starts with. Ids that are not YouTube's are the whole name
of the file.
"""

import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.errors import DataError

# In the order in which they are taken, if there are several of a segment: those with frames first.
SUFFIXES = (
    *("mp4", "mkv", "webm", "mov", "avi"),
    *("flac", "wav", "m4a", "ogg", "opus", "mp3"),
)
_YOUTUBE = 11  # Characters of an id.
# A time after an id: "_30", "_30.000", "_30000", "-30.000_40.000", "_30.0,40.0"
_TIME = re.compile(r"[_ -](\d+(?:\.\d+)?)(?:[_ ,-](\d+(?:\.\d+)?))?(?![A-Za-z\d])")
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
    cut: bool  # The name says that the file is of this segment only.


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder has of some segments."""

    clips: tuple[Clip, ...]  # In the order of the segments.
    missing: tuple[Segment, ...]  # There is no file of these.
    unused: int  # Files of sound or video that belong to no segment, or to one that has another.


def find_clips(folder: str, segments: Sequence[Segment]) -> Found:
    """Looks for the files of segments in a folder, and in folders inside it.

    A file whose name has a time belongs to the segment that starts then. One without a time may
    have any segment of its recording: whether it is the segment or the whole recording is seen when
    it is read. Of several files of a segment one is taken: by suffix, those with video first; then
    rather one whose name is just the id, then one with a time.

    Raises:
      DataError: the folder is missing, or has no files of sound or video.
    """
    root = os.path.expanduser(folder)
    if not os.path.isdir(root):
        raise DataError(f"there is no folder {folder}; name the one with the clips.")
    by_id: dict[str, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_id[segment.id].append(segment)
    candidates: dict[str, tuple[tuple[int, int, str], Clip]] = {}
    count = 0
    for path in media_files(root):
        count += 1
        for clip in _clips_of(path, by_id):
            exact = os.path.splitext(os.path.basename(path))[0] == clip.segment.id
            likeness = 0 if exact else 1 if clip.cut else 2
            rank = (SUFFIXES.index(_suffix(path)), likeness, path)
            best = candidates.get(clip.segment.key)
            if best is None or rank < best[0]:
                candidates[clip.segment.key] = rank, clip
    if not count:
        raise DataError(f"{folder} has no files of sound or video: {', '.join(SUFFIXES)}.")
    clips = tuple(candidates[segment.key][1] for segment in segments if segment.key in candidates)
    missing = tuple(segment for segment in segments if segment.key not in candidates)
    return Found(clips, missing, count - len({clip.path for clip in clips}))


def media_files(root: str) -> Iterator[str]:
    """Yields the files of sound and video in a folder, by their paths in it, hidden ones not.

    Links are followed, and each folder is looked into once.
    """
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # By a link, which may lead round and round.
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and _suffix(name) in SUFFIXES:
                yield os.path.relpath(os.path.join(place, name), root)


def _clips_of(path: str, by_id: dict[str, list[Segment]]) -> Iterable[Clip]:
    """The segments that a file may have."""
    stem = os.path.splitext(os.path.basename(path))[0]
    for id_, rest in _ids_in(stem, by_id):
        segments = by_id[id_]
        time = _TIME.match(rest)
        if time is None:
            return [Clip(segment, path, cut=False) for segment in segments]
        starts = (float(time[1]), float(time[1]) / 1000)
        timed = [segment for segment in segments if segment.start in starts]
        if not timed:  # Names are often cut to whole seconds.
            timed = [segment for segment in segments if int(segment.start) in starts]
        return [Clip(segment, path, cut=True) for segment in timed]
    return []


def _ids_in(stem: str, by_id: dict[str, list[Segment]]) -> Iterator[tuple[str, str]]:
    """Ids that a name has, with what follows them: the whole name first, then from the left."""
    if stem in by_id:
        yield stem, ""
    for found in _ID.finditer(stem):
        if found[1] in by_id:
            yield found[1], stem[found.end(1) :]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower().removeprefix(".")
