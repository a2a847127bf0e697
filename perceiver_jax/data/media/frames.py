"""Frames of videos, as they are in the file and at a rate of one's own, a few at a time."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perceiver_jax.data.media.files import decode, open_media
from perceiver_jax.errors import DataError

if TYPE_CHECKING:
    import av

FRAME_RATE = 25  # Frames a second, of both papers' models.
# Seconds for which one frame may be shown; more is a damaged time stamp.
_LONGEST_STILL = 60

TimedFrame = tuple[Fraction, "av.VideoFrame"]  # When a frame is shown first, in seconds.


class VideoInfo(NamedTuple):
    """What a file says about itself."""

    rate: Fraction  # Frames a second, on average.
    has_audio: bool


def video_info(path: Path | str) -> VideoInfo:
    """Reads a file's frame rate and whether it has sound.

    Raises:
      DataError: see `read_frames`.
    """
    with open_media(path) as container:
        return VideoInfo(rate_of(video_stream(container, path)), bool(container.streams.audio))


def read_frames(
    path: Path | str, *, start: int = 0, stop: int | None = None, step: int = 1
) -> Iterator[np.ndarray]:
    """Yields frames of a video as they are in the file, upright: [y, x, 3] uint8 RGB.

    Args:
      path: the file.
      start: the first frame that is wanted, counted from 0.
      stop: where to stop, exclusive; None: at the end.
      step: 2 for every second one, and so on.

    Raises:
      DataError: the file is missing or damaged, or has no video.
    """
    with open_media(path) as container:
        frames = (frame for _, frame in timed_frames(container, path))
        for frame in itertools.islice(frames, start, stop, step):
            yield upright(frame)


def video_stream(
    container: "av.container.InputContainer", path: object
) -> "av.video.stream.VideoStream":
    """Returns the first video stream of a file.

    Raises:
      DataError: it has none.
    """
    streams = video_streams(container)
    if not streams:
        raise DataError(f"{str(path)!r} has no video stream.")
    return streams[0]


def video_streams(
    container: "av.container.InputContainer",
) -> "list[av.video.stream.VideoStream]":
    """Returns the video streams of a file; the picture on a record's sleeve is none."""
    from av.stream import Disposition

    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def shown_at(frame: "av.VideoFrame") -> Fraction:
    """When a frame is shown, in seconds by its file's clock; 0, where it does not say."""
    if frame.pts is None or frame.time_base is None:
        return Fraction(0)
    return frame.pts * frame.time_base


def rate_of(stream: "av.video.stream.VideoStream") -> Fraction:
    """Frames a second that a stream says it has, on average."""
    return stream.average_rate or stream.guessed_rate or Fraction(FRAME_RATE)


def timed_frames(
    container: "av.container.InputContainer", path: object, *, threads: int = 0
) -> Iterator[TimedFrame]:
    """Yields frames with the times in seconds at which they are shown, by the file's clock.

    Args:
      container: the file.
      path: its name, for messages.
      threads: that decode; 0: as many as there are cores.

    Raises:
      DataError: the file is damaged, or has no video.
    """
    stream = video_stream(container, path)
    if stream.codec_context is not None:
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
    rate = rate_of(stream)
    for index, frame in enumerate(decode(container, stream, path)):
        if frame.pts is None or frame.time_base is None:
            yield index / rate, frame
        else:
            yield frame.pts * frame.time_base, frame


def frames_at_rate(
    frames: Iterator[TimedFrame], rate: int, path: object, origin: Fraction | None = None
) -> Iterator["av.VideoFrame"]:
    """Yields, for every tick of a clock, the frame nearest in time, as long as frames are shown.

    Args:
      frames: in the order of their times.
      rate: ticks a second.
      path: the file's name, for messages.
      origin: when the clock starts; None: with the first frame. Until a frame that comes later, the
        first one is shown.

    Raises:
      DataError: a time stamp is damaged.
    """
    ticks = 0
    previous: TimedFrame | None = None
    start = origin if origin is not None else Fraction(0)
    shown_for = Fraction(0)
    for time, frame in frames:
        if previous is None:
            start = time if origin is None else origin
            _check_still(start, time, path)
        else:
            shown_for = time - previous[0]
            _check_still(previous[0], time, path)
            while start + Fraction(ticks, rate) < (previous[0] + time) / 2:
                yield previous[1]
                ticks += 1
        previous = time, frame
    if previous is None:
        return
    time, frame = previous
    if frame.duration and frame.time_base:
        shown_for = min(frame.duration * frame.time_base, Fraction(_LONGEST_STILL))
    # Half a tick counts as one, and a single picture is a video of one frame.
    total = max(round((time + shown_for - start) * rate), 1 if time >= start else 0)
    for _ in range(total - ticks):
        yield frame


def _check_still(before: Fraction, time: Fraction, path: object) -> None:
    if time - before > _LONGEST_STILL:
        raise DataError(
            f"{str(path)!r} is damaged: its frames' time jumps from second "
            f"{float(before):.3f} to {float(time):.3f}."
        )


def pixel_shape(stream: "av.video.stream.VideoStream") -> Fraction:
    """Returns the width of a stream's pixels by their height; 1 where it makes no sense."""
    ratio = stream.sample_aspect_ratio
    return ratio if ratio and Fraction(1, 8) < ratio < 8 else Fraction(1)


def within(width: Fraction | int, height: Fraction | int, shorter_side: int) -> tuple[int, int]:
    """Returns the whole width and height of a frame whose shorter side may have so many pixels."""
    scale = min(Fraction(shorter_side) / min(width, height), Fraction(1))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def upright(frame: "av.VideoFrame", size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels [y, x, 3] of a frame as a player shows them; phones only note which way is up.

    Args:
      frame: the frame.
      size: width and height, as it lies, that it is brought to by means over areas; None: its own.
    """
    if size is None or size == (frame.width, frame.height):
        pixels = frame.to_ndarray(format="rgb24")
    else:
        pixels = frame.reformat(*size, format="rgb24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
