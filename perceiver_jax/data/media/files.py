"""Opening files of sound and video, and decoding their streams: what fails is the file's fault."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from perceiver_jax.errors import DataError, require

if TYPE_CHECKING:
    import av

# What files of sound and video are called, those with video first. In the order in which they are
# taken, where there are several of the same.
VIDEO_SUFFIXES = (
    *("mp4", "mkv", "webm", "mov", "m4v", "avi", "mpg", "mpeg", "ts", "wmv", "flv", "3gp"),
)
SUFFIXES = (*VIDEO_SUFFIXES, "flac", "wav", "m4a", "ogg", "opus", "aac", "mp3")
# Formats that say where in the file a time is. Others are searched by guessing, which may miss.
_INDEXED = {"mov", "mp4", "matroska", "webm", "wav", "flac"}
_MICROSECOND = Fraction(1, 1_000_000)  # What containers count times in.


def open_media(
    path: Path | str, kind: str = "a video", file: BinaryIO | None = None
) -> "av.container.InputContainer":
    """Opens a file; to be used as a context manager.

    Args:
      path: the file.
      kind: what it should be, for messages: "a video", "sound".
      file: what to read, if it is no file on disk; `path` only names it then.

    Raises:
      DataError: it is missing or damaged, or of a format that FFmpeg does not know.
      UserError: PyAV is not installed.
    """
    require("av", purpose="Reading video and sound")
    import av

    if file is None and not Path(path).is_file():
        noun = kind.removeprefix("a ")
        raise DataError(f"there is no {noun} file {os.fspath(path)!r}.")
    # Broken text in the metadata is an error for PyAV before 19, and none for later ones.
    options: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        return av.open(os.fspath(path) if file is None else file, **options)
    except av.FFmpegError as error:
        raise DataError(
            f"{os.fspath(path)!r} cannot be read as {kind} ({reason(error)}): it is damaged, "
            "truncated, or of a format that FFmpeg does not know."
        ) from error


def decode(
    container: "av.container.InputContainer", stream: "av.stream.Stream", path: object
) -> Iterator[Any]:  # Video or audio frames, as the stream is.
    """Decodes one stream from where the container stands.

    Raises:
      DataError: the file is damaged.
    """
    import av

    if stream.codec_context is None:
        raise DataError(
            f"{str(path)!r} is damaged, or its {stream.type} is of a codec that FFmpeg does not "
            "know."
        )
    count = 0
    try:
        for frame in container.decode(stream):
            yield frame
            count += 1
    except (av.FFmpegError, MemoryError) as error:
        raise DataError(
            f"{str(path)!r} is damaged: decoding its {stream.type} failed after {count} frames "
            f"({reason(error)})."
        ) from error


def can_seek(container: "av.container.InputContainer") -> bool:
    """Returns whether the file can be entered in the middle, with right times afterwards."""
    return not _INDEXED.isdisjoint(container.format.name.split(","))


def seek(container: "av.container.InputContainer", seconds: Fraction) -> bool:
    """Goes to a place, in the file's own time, from which all at and after `seconds` is decoded.

    Returns:
      Whether it did; if not, the file is as it was opened.
    """
    import av

    if seconds <= 0 or not can_seek(container):
        return False
    try:
        container.seek(int(seconds / _MICROSECOND), backward=True, any_frame=False)
    except av.FFmpegError:
        return False
    return True


def start_of(container: "av.container.InputContainer") -> Fraction:
    """When a file begins, by its own clock, in seconds: with the first of its streams."""
    return (container.start_time or 0) * _MICROSECOND


def seconds_of(container: "av.container.InputContainer", path: object) -> Fraction:
    """How long a file is: as it says, or, where it does not, until its last packet.

    The file may be at its end afterwards.

    Raises:
      DataError: the file is damaged.
    """
    import av

    if container.duration is not None:
        return container.duration * _MICROSECOND
    last = start_of(container)
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
    except av.FFmpegError as error:
        raise DataError(
            f"{str(path)!r} is damaged: reading it failed after {float(last):.3f} s "
            f"({reason(error)})."
        ) from error
    return last - start_of(container)


def reason(error: Exception) -> str:
    """What an error of FFmpeg's says, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
