"""How much of the disk a set takes: guessed beforehand, reckoned when its first parts are there.

AudioSet takes terabytes and days, and a disk that is full on the third day is a pity.
"""

import os
from collections.abc import Callable, Iterable

from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.convert import Conversion
from perceiver_jax.data.audioset.jpeg import DEFAULT
from perceiver_jax.data.conversion.disk import free_bytes, size
from perceiver_jax.data.media.files import VIDEO_SUFFIXES
from perceiver_jax.data.media.frames import FRAME_RATE
from perceiver_jax.data.media.sound import SAMPLE_RATE
from perceiver_jax.errors import UserError

_SOUND = 2 * SAMPLE_RATE  # Bytes of a second.
_FRAME = 21_200  # Bytes of a frame by the defaults, as benchmarks.media_pipeline measured them.
_ENOUGH = 0.9  # Of what is reckoned: parts differ.
# Clips between looks for the first part, or a quarter of those before: to look asks the disk for
# each part, and the first of a large set is there after a hundred thousand clips.
_EVERY = 16


def expected_bytes(conversion: Conversion, clips: Iterable[Clip]) -> float:
    """Guesses what some clips of a set take, by their lengths and the suffixes of their files.

    Of video that is kept as it is no more is known than the size of the files, which is the most.
    """
    total = 0.0
    frame = _FRAME * (conversion.jpeg.shorter_side / DEFAULT.shorter_side) ** 2
    for clip in clips:
        total += _SOUND * clip.segment.seconds
        has_video = clip.path.lower().endswith(tuple(f".{each}" for each in VIDEO_SUFFIXES))
        if has_video and conversion.store == "jpeg":
            total += frame * FRAME_RATE * clip.segment.seconds
        elif has_video and conversion.store == "video":
            total += _bytes_of(os.path.join(conversion.root, clip.path))
    return total


def room_lines(conversion: Conversion, items: Iterable[int]) -> list[str]:
    """Says how much clips will take, and how much is free.

    Args:
      conversion: of the set.
      items: the numbers of the clips.
    """
    clips = [conversion.ordered[item][1] for item in items]
    if not clips:
        return []
    total, free = expected_bytes(conversion, clips), free_bytes(conversion.folder)
    most = "at most " if conversion.store == "video" else "about "
    lines = [
        f"To be written: {most}{size(total)}, {size(total / len(clips))} a recording; "
        f"{size(free)} are free."
    ]
    if free < total:
        smaller = "--store=none, --frame_size and --quality make sets smaller."
        lines.append(f"Warning: {conversion.folder.parent} may have too little room. {smaller}")
    return lines


class Room:
    """Looks, when the first parts of a set are there, whether there is room for the others."""

    def __init__(self, conversion: Conversion, report: Callable[[str], None]):
        self._conversion, self._report = conversion, report
        self._seen, self._next, self._told = 0, _EVERY, False

    def done(self, item: int) -> None:
        """Counts a clip.

        Raises:
          UserError: see `check`.
        """
        self._seen += 1
        if not self._told and self._seen >= self._next:
            self._next = self._seen + max(_EVERY, self._seen // 4)
            self.check()

    def check(self) -> None:
        """Reckons once what the rest will take, if a part is there.

        Raises:
          UserError: there is clearly too little room.
        """
        clips, written = self._conversion.written_so_far()
        if not clips:
            return
        missing = len(self._conversion.missing_items())
        self._told = True
        if not missing:
            return
        each = written / clips
        needed, free = each * missing, free_bytes(self._conversion.folder)
        if free < _ENOUGH * needed:
            raise UserError(
                f"{self._conversion.folder} has too little room: {missing:,} clips will take about "
                f"{size(needed)}, {size(each)} each by those that are done, and {size(free)} are "
                "free. What is converted is kept: when there is room, the same command goes on. "
                "--store=none, --frame_size and --quality make smaller sets, under another --name."
            )
        self._report(
            f"By the first parts: {size(each)} a clip, {size(needed)} to come; {size(free)} are "
            "free."
        )


def _bytes_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
