"""Which file of a folder has which segment, whatever the files are called."""

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from perceiver_jax.data.audioset.clip_names import Clip, Named, read_name
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.media.files import SUFFIXES
from perceiver_jax.errors import DataError

_NONE = "there is no clip of it"
LOST = "its segment is left out, with another file of it"  # Of files at hand for what that lacks.


class Unused(NamedTuple):
    """A file that nothing is taken of, and why."""

    path: str  # In the folder.
    reason: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder has of some segments."""

    clips: tuple[Clip, ...]  # In the order of the segments.
    missing: tuple[Segment, ...]  # There is no file of these,
    reasons: Mapping[str, str]  # and why, by the keys of the segments.
    # Of sound or video, or of a missing segment by their names. Those that are at hand for what
    # another one lacks are not among them: whether they are used is seen when that is read.
    unused: tuple[Unused, ...]


def find_clips(folder: str, segments: Sequence[Segment]) -> Found:
    """Looks for the files of segments in a folder, and in folders inside it.

    A file whose name has a time belongs to the segment that starts then, or, if it has a second
    one, to those that lie between; one without may have any segment of its recording: whether it is
    the segment or the whole recording is seen when it is read. Of several files of a segment one is
    taken: by suffix, those with video first; then rather one whose name is just the id, then one
    that begins with the segment by its name, then a longer one with a time. Those that begin when
    it does are at hand if it has no sound, or no video.

    Raises:
      DataError: the folder is missing, or has no files of sound or video.
    """
    root = os.path.expanduser(folder)
    if not os.path.isdir(root):
        raise DataError(f"there is no folder {folder}; name the one with the clips.")
    by_id: dict[str, list[Segment]] = {}
    for segment in segments:
        by_id.setdefault(segment.id, []).append(segment)
    candidates: dict[str, list[Clip]] = defaultdict(list)
    unused: list[Unused] = []
    fitting: list[str] = []  # Files that a segment may be taken of.
    unread: list[tuple[str, Named]] = []  # Files that are neither sound nor video by their names.
    reasons: dict[str, str] = {}
    for path in _files(root):
        named = read_name(path, by_id)
        if _suffix(path) not in SUFFIXES:
            if named.segments:
                unread.append((path, named))
        elif named.clips:
            fitting.append(path)
            for clip in named.clips:
                candidates[clip.segment.key].append(clip)
        elif named.segments:
            unused.append(Unused(path, _of_another_time(named)))
            reasons.update(
                {each.key: f"only a file of {named.time}: {path}" for each in named.segments}
            )
        else:
            unused.append(Unused(path, "its name has no id that is in the lists"))
    if not fitting and not unused:
        raise DataError(f"{folder} has no files of sound or video: {', '.join(SUFFIXES)}.")
    for path, named in unread:
        if not any(each.key in candidates for each in named.segments):
            reason = "it is neither sound nor video by its name"
            unused.append(Unused(path, reason))
            for each in named.segments:
                reasons.setdefault(each.key, f"only a file that is not read: {path}")
    clips = tuple(_best(candidates[each.key]) for each in segments if each.key in candidates)
    missing = tuple(segment for segment in segments if segment.key not in candidates)
    unused.extend(_spare(fitting, clips, candidates))
    return Found(
        clips,
        missing,
        {each.key: reasons.get(each.key, _NONE) for each in missing},
        tuple(unused),
    )


def media_files(root: str) -> Iterator[str]:
    """Yields the files of sound and video in a folder, by their paths in it, hidden ones not.

    Links are followed, and each folder is looked into once.
    """
    return (path for path in _files(root) if _suffix(path) in SUFFIXES)


def _files(root: str) -> Iterator[str]:
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # By a link, which may lead round and round.
            folders.clear()
            continue
        seen.add(real)
        inside = os.path.relpath(place, root)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.normpath(os.path.join(inside, name))


def _best(clips: Sequence[Clip]) -> Clip:
    """The clip that is taken of those of a segment, with the others that begin when it does."""

    def rank(clip: Clip) -> tuple[int, int, str]:
        exact = os.path.splitext(os.path.basename(clip.path))[0] == clip.segment.id
        likeness = 0 if exact else 3 if not clip.cut else 2 if clip.skip else 1
        return SUFFIXES.index(_suffix(clip.path)), likeness, clip.path

    if len(clips) == 1:
        return clips[0]
    first, *rest = sorted(clips, key=rank)
    same = [each.path for each in rest if (each.cut, each.skip) == (first.cut, first.skip)]
    return dataclasses.replace(first, others=tuple(same))


def _spare(
    paths: Sequence[str], clips: Sequence[Clip], candidates: Mapping[str, Sequence[Clip]]
) -> Iterator[Unused]:
    """The files that come after another one of each of their segments, and cannot help it."""
    at_hand = {path for clip in clips for path in (clip.path, *clip.others)}
    before: dict[str, str] = {}
    for clip in clips:
        for each in candidates[clip.segment.key]:
            before.setdefault(each.path, f"of its segment {clip.path} comes first")
    return (Unused(path, before[path]) for path in paths if path not in at_hand)


def spare(clip: Clip, root: str, read: Sequence[Path], remarks: Sequence[str]) -> dict[str, str]:
    """Says which files of a clip its recording is not made of, and why.

    Args:
      clip: the clip.
      root: the folder that it is in.
      read: the files that were read,
      remarks: and what was odd about them.
    """
    taken = [os.path.relpath(path, root) for path in read]
    found = {}
    for path in (clip.path, *clip.others):
        if os.path.normpath(path) in taken:
            continue
        told = f"{os.path.basename(path)} has sound, and is "
        length = next((each for each in remarks if each.startswith(told)), None)
        if length is not None:
            why = f"it is not joined to {taken[0]}: it is {length.removeprefix(told)}"
        elif path == clip.path:
            why = f"it lacks sound or video, or cannot be read; {taken[0]} is read in its place"
        else:
            why = f"of its segment {taken[0]} comes first, and lacks nothing that this one has"
        found[path] = why
    return found


def never_read(clips: Iterable[Clip], spares: Iterable[Mapping[str, str]]) -> Iterator[Unused]:
    """The files that no recording is made of, though they were at hand.

    Args:
      clips: all of a set.
      spares: of each of them what `spare` says.
    """
    reasons: dict[str, str] = {}
    count: Counter[str] = Counter()
    for each in spares:
        count.update(each.keys())
        for path, reason in each.items():
            reasons.setdefault(path, reason)
    if reasons:
        count.subtract(path for clip in clips for path in (clip.path, *clip.others))
    return (Unused(path, reason) for path, reason in sorted(reasons.items()) if not count[path])


def _of_another_time(named: Named) -> str:
    starts = " and ".join(f"{each.start:g}" for each in named.segments)
    what = "segment begins" if len(named.segments) == 1 else "segments begin"
    return f"it is of {named.time} by its name, and the {what} at {starts}"


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower().removeprefix(".")
