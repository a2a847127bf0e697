"""Reading video files of any format that FFmpeg knows, by PyAV, a few frames at a time.

The video autoencoder was trained on 25 frames and 48,000 samples of sound a second, so that 1,920
samples belong to each frame; files with other rates are brought to these. Time starts with the
first frame: sound before it is cut off, and what is missing is silence.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perceiver_jax.data.images.resize import resize_uint8
from perceiver_jax.errors import DataError, require
from perceiver_jax.infer.pictures import crop_to_aspect

if TYPE_CHECKING:
    import av

FRAME_RATE = 25
SAMPLE_RATE = 48_000
# Sound whose time stamps are off by less than this (s) is taken to go on without a gap.
_JITTER = Fraction(1, 20)

# Seconds for which one frame may be shown; more is a damaged time stamp.
_LONGEST_STILL = 60


class Piece(NamedTuple):
    """Some consecutive frames of a video, and the sound beneath them."""

    frames: np.ndarray  # [t, y, x, 3] uint8 RGB.
    audio: np.ndarray  # [samples, 1] float32 in [-1, 1]; the same number of samples a frame.


class VideoInfo(NamedTuple):
    """What a file says about itself."""

    rate: Fraction  # Frames a second, on average.
    has_audio: bool


def video_info(path: Path | str) -> VideoInfo:
    """Reads a file's frame rate and whether it has sound.

    Raises:
      DataError: see `read_frames`.
    """
    with _open(path) as container:
        stream = _video_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate or Fraction(FRAME_RATE)
        return VideoInfo(rate, bool(container.streams.audio))


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
    with _open(path) as container:
        frames = (frame for _, frame in _timed_frames(container, path))
        for frame in itertools.islice(frames, start, stop, step):
            yield _upright(frame)


def read_pieces(
    path: Path | str,
    *,
    size: tuple[int, int],
    num_frames: int = 16,
    samples_per_frame: int = SAMPLE_RATE // FRAME_RATE,
    start: float = 0.0,
    seconds: float | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Piece]:
    """Yields a video in pieces of `num_frames` frames, the last of which may be shorter.

    Frames are those nearest in time to every 25th of a second, whatever rate the file has, constant
    or not; they are turned upright, cropped to the largest centred rectangle of the model's aspect
    (a square), and resized. Sound is mixed to one channel. A file without sound has silence.

    Args:
      path: the file.
      size: height and width of the frames that are wanted.
      num_frames: frames of a piece.
      samples_per_frame: samples of sound for each frame, at 25 times as many a second.
      start: seconds to leave out at the beginning.
      seconds: seconds to read; None: to the end.
      note: called with what the reader should know about how the file was treated.

    Raises:
      DataError: the file is missing or damaged, has no video, or ends before `start`.
    """
    first = round(start * FRAME_RATE)
    last = None if seconds is None else first + max(round(seconds * FRAME_RATE), 1)
    with _open(path) as video, _open(path) as sound:
        _describe(video, path, note)
        frames = _timed_frames(video, path)
        opening = next(frames, None)
        if opening is None:
            raise DataError(f"{os.fspath(path)!r} has a video stream without a single frame.")
        sample_rate = samples_per_frame * FRAME_RATE
        samples = _Samples(_sound(sound, path, opening[0], sample_rate))
        samples.take(first * samples_per_frame)
        resampled = _at_rate(itertools.chain([opening], frames), FRAME_RATE, path)
        prepared = _prepared(itertools.islice(resampled, first, last), size)
        count = 0
        while piece := list(itertools.islice(prepared, num_frames)):
            count += len(piece)
            yield Piece(np.stack(piece), samples.take(len(piece) * samples_per_frame)[:, None])
        if not count:
            raise DataError(f"{os.fspath(path)!r} ends before second {start:g}.")


def _describe(container: "av.container.InputContainer", path: object, note: Callable) -> None:
    """Notes what in a file needed a choice."""
    stream = _video_stream(container, path)
    if not container.streams.audio:
        note(f"{path}: no sound in this file; silence is used.")
    rate = stream.average_rate
    if rate is not None and rate != FRAME_RATE:
        note(f"{path}: {float(rate):.5g} frames a second, brought to {FRAME_RATE}.")
    ratio = stream.sample_aspect_ratio
    if ratio not in (None, 0, 1):
        note(f"{path}: its pixels are not square ({ratio}), and are taken as if they were.")


def _open(path: Path | str) -> "av.container.InputContainer":
    require("av", purpose="Reading video files")
    import av

    if not Path(path).is_file():
        raise DataError(f"there is no video file {os.fspath(path)!r}.")
    # Broken text in the metadata is an error for PyAV before 19, and none for later ones.
    options: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        return av.open(os.fspath(path), **options)
    except av.FFmpegError as error:
        raise DataError(
            f"{os.fspath(path)!r} cannot be read as a video ({_reason(error)}): it is damaged, "
            "truncated, or of a format that FFmpeg does not know."
        ) from error


def _video_stream(
    container: "av.container.InputContainer", path: object
) -> "av.video.stream.VideoStream":
    if not container.streams.video:
        raise DataError(f"{str(path)!r} has no video stream.")
    return container.streams.video[0]


def _decode(
    container: "av.container.InputContainer", stream: "av.stream.Stream", path: object
) -> Iterator[Any]:  # Video or audio frames, as the stream is.
    """Decodes one stream; what fails is the file's fault."""
    import av

    count = 0
    try:
        for frame in container.decode(stream):
            yield frame
            count += 1
    except (av.FFmpegError, MemoryError) as error:
        raise DataError(
            f"{str(path)!r} is damaged: decoding its {stream.type} failed after {count} frames "
            f"({_reason(error)})."
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _timed_frames(
    container: "av.container.InputContainer", path: object
) -> Iterator[tuple[Fraction, "av.VideoFrame"]]:
    """Frames with the times in seconds at which they are shown."""
    stream = _video_stream(container, path)
    stream.thread_type = "AUTO"
    rate = stream.average_rate or stream.guessed_rate or Fraction(FRAME_RATE)
    for index, frame in enumerate(_decode(container, stream, path)):
        if frame.pts is None or frame.time_base is None:
            yield index / rate, frame
        else:
            yield frame.pts * frame.time_base, frame


def _at_rate(
    frames: Iterator[tuple[Fraction, "av.VideoFrame"]], rate: int, path: object
) -> Iterator["av.VideoFrame"]:
    """For every tick of a clock that starts with the first frame, the frame nearest in time."""
    ticks = 0
    previous: tuple[Fraction, av.VideoFrame] | None = None
    origin = shown_for = Fraction(0)
    for time, frame in frames:
        if previous is None:
            origin = time
        else:
            shown_for = time - previous[0]
            if shown_for > _LONGEST_STILL:
                raise DataError(
                    f"{str(path)!r} is damaged: its frames' time jumps from second "
                    f"{float(previous[0]):.3f} to {float(time):.3f}."
                )
            while origin + Fraction(ticks, rate) < (previous[0] + time) / 2:
                yield previous[1]
                ticks += 1
        previous = time, frame
    if previous is None:
        return
    time, frame = previous
    if frame.duration and frame.time_base:
        shown_for = min(frame.duration * frame.time_base, Fraction(_LONGEST_STILL))
    # Half a tick counts as one, and a single picture is a video of one frame.
    total = max(round((time + shown_for - origin) * rate), 1)
    for _ in range(total - ticks):
        yield frame


def _upright(frame: "av.VideoFrame") -> np.ndarray:
    """The pixels [y, x, 3] of a frame as a player shows them; phones only note which way is up."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _prepared(frames: Iterator["av.VideoFrame"], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames cropped and resized; one that is shown several times is prepared once."""
    last: tuple[av.VideoFrame, np.ndarray] | None = None
    for frame in frames:
        if last is None or last[0] is not frame:
            last = frame, resize_uint8(crop_to_aspect(_upright(frame), size), size, "opencv_linear")
        yield last[1]


def _sound(
    container: "av.container.InputContainer", path: object, origin: Fraction, rate: int
) -> Iterator[np.ndarray]:
    """Samples [n] of one channel from the time `origin` on, gaps filled with silence."""
    import av

    if not container.streams.audio:
        return
    # 16 bits, as in the released procedure; and FFmpeg mixes floats of several channels too loudly.
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    position = 0  # Samples since `origin` so far.
    stream = container.streams.audio[0]
    for frame in itertools.chain(_decode(container, stream, path), [None]):
        try:
            resampled = resampler.resample(frame)
        except (ValueError, av.FFmpegError) as error:
            raise DataError(
                f"the sound of {str(path)!r} cannot be brought to {rate} samples a second "
                f"({_reason(error)})."
            ) from error
        for part in resampled:
            samples = part.to_ndarray()[0].astype(np.float32) / 2**15
            if part.pts is not None and part.time_base is not None:
                lead = round((part.pts * part.time_base - origin) * rate) - position
                if lead > _JITTER * rate or (position == 0 and lead > 0):
                    position += lead
                    while lead > 0:  # By the second: a damaged time stamp may be years away.
                        yield np.zeros(min(lead, rate), np.float32)
                        lead -= rate
                elif lead < -_JITTER * rate or (position == 0 and lead < 0):
                    samples = samples[-lead:]
            yield samples
            position += len(samples)


class _Samples:
    """Hands sound out in the lengths that are asked for, and silence after its end."""

    def __init__(self, parts: Iterator[np.ndarray]):
        self._parts = parts
        self._left = np.zeros(0, np.float32)

    def take(self, count: int) -> np.ndarray:  # [count]
        parts = [self._left]
        missing = count - len(self._left)
        while missing > 0 and (part := next(self._parts, None)) is not None:
            parts.append(part)
            missing -= len(part)
        if missing > 0:
            parts.append(np.zeros(missing, np.float32))
        joined = np.concatenate(parts)
        self._left = joined[count:]
        return joined[:count]
