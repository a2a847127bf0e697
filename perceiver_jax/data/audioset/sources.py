"""Which of several files of a segment are read: one with sound and video, or one for each.

Downloaders leave the two apart where nothing joins them: "title [id].f137.mp4" has no sound, and
"title [id].f140.m4a" no video.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_jax.data.media.files import open_media, seconds_of, start_of
from perceiver_jax.data.media.frames import video_streams
from perceiver_jax.errors import DataError

if TYPE_CHECKING:
    import av

# Seconds by which sound and video of one recording differ in length; of others they differ by more.
_ALIKE = 1
# Formats whose clocks begin anywhere. Those of others begin with the recording, at 0.
_ANYWHERE = ("mpegts", "mpeg")


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, and what is read of it."""

    path: Path
    has_video: bool
    has_audio: bool
    remark: str = ""  # What is odd about its being read.
    ahead: Fraction = Fraction(0)  # Seconds that its clock shows more than that of the first file.

    def open(self) -> "av.container.InputContainer":
        """Opens it; see `open_media`."""
        return open_media(self.path, "sound or video")

    def start(self) -> Fraction:
        """When it begins, by the clock of the first file; see `start_of`."""
        with self.open() as file:
            return start_of(file) - self.ahead

    def zero(self) -> Fraction:
        """What its own clock shows when the recording begins."""
        with self.open() as file:
            return start_of(file) if file.format.name in _ANYWHERE else Fraction(0)

    def seconds(self) -> float:
        """How long it is; see `seconds_of`."""
        with self.open() as file:
            return float(seconds_of(file, self.path))


def choose(paths: Sequence[Path | str], *, video: bool) -> list[Source]:
    """Chooses what to read of a segment.

    Args:
      paths: its files, the one that is rather taken first.
      video: whether frames are wanted.

    Returns:
      The first file that has all that is wanted; or else the first with video and the first with
      sound, if they are equally long; or else the first that can be opened.

    Raises:
      DataError: none can be opened; says why of the first.
    """
    opened = []
    for source in _opened(paths):
        if source.has_audio and (source.has_video or not video):
            return [source]
        opened.append(source)
    seen = next((each for each in opened if each.has_video and video), None)
    sounding = next((each for each in opened if each.has_audio), None)
    if seen is None or sounding is None:
        return [seen or sounding or opened[0]]
    lengths = seen.seconds(), sounding.seconds()
    if abs(lengths[0] - lengths[1]) <= _ALIKE:
        return [
            dataclasses.replace(seen, has_audio=False),
            dataclasses.replace(
                sounding,
                has_video=False,
                remark=f"its sound is that of {sounding.path.name}",
                ahead=sounding.zero() - seen.zero(),
            ),
        ]
    apart = f"{sounding.path.name} has sound, and is {lengths[1]:.1f} s long, not {lengths[0]:.1f}"
    return [dataclasses.replace(seen, remark=apart)]


def _opened(paths: Sequence[Path | str]) -> Iterator[Source]:
    """Opens files one after the other, without those that cannot be opened, if another can."""
    failure: DataError | None = None
    count = 0
    for path in map(Path, paths):
        try:
            with open_media(path, "sound or video") as file:
                source = Source(path, bool(video_streams(file)), bool(file.streams.audio))
        except DataError as error:
            if not path.is_file():  # It was there: whoever asks finds out what happened.
                raise
            failure = failure or error
        else:
            count += 1
            yield source
    if failure is not None and not count:
        raise failure
