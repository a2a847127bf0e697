"""Reading video files of any format that FFmpeg knows, by PyAV, a few frames at a time.

The video autoencoder was trained on 25 frames and 48,000 samples of sound a second, so that 1,920
samples belong to each frame; files with other rates are brought to these. Time starts with the
first frame: sound before it is cut off, and what is missing is silence.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perceiver_jax.data.images.resize import resize_uint8
from perceiver_jax.data.media.files import open_media
from perceiver_jax.data.media.frames import (
    FRAME_RATE,
    frames_at_rate,
    timed_frames,
    upright,
    video_stream,
)
from perceiver_jax.data.media.sound import (
    SAMPLE_RATE,
    Samples,
    samples_from,
    timed_samples,
    to_float,
)
from perceiver_jax.errors import DataError
from perceiver_jax.infer.pictures import crop_to_aspect

if TYPE_CHECKING:
    import av


class Piece(NamedTuple):
    """Some consecutive frames of a video, and the sound beneath them."""

    frames: np.ndarray  # [t, y, x, 3] uint8 RGB.
    audio: np.ndarray  # [samples, 1] float32 in [-1, 1]; the same number of samples a frame.


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
    with open_media(path) as video, open_media(path) as sound:
        _describe(video, path, note)
        frames = timed_frames(video, path)
        opening = next(frames, None)
        if opening is None:
            raise DataError(f"{os.fspath(path)!r} has a video stream without a single frame.")
        sample_rate = samples_per_frame * FRAME_RATE
        parts = timed_samples(sound, path, sample_rate)
        samples = Samples(samples_from(parts, opening[0], sample_rate))
        samples.take(first * samples_per_frame)
        resampled = frames_at_rate(itertools.chain([opening], frames), FRAME_RATE, path)
        prepared = _prepared(itertools.islice(resampled, first, last), size)
        count = 0
        while piece := list(itertools.islice(prepared, num_frames)):
            count += len(piece)
            audio = to_float(samples.take(len(piece) * samples_per_frame))
            yield Piece(np.stack(piece), audio[:, None])
        if not count:
            raise DataError(f"{os.fspath(path)!r} ends before second {start:g}.")


def _describe(container: "av.container.InputContainer", path: object, note: Callable) -> None:
    """Notes what in a file needed a choice."""
    stream = video_stream(container, path)
    if not container.streams.audio:
        note(f"{path}: no sound in this file; silence is used.")
    rate = stream.average_rate
    if rate is not None and rate != FRAME_RATE:
        note(f"{path}: {float(rate):.5g} frames a second, brought to {FRAME_RATE}.")
    ratio = stream.sample_aspect_ratio
    if ratio not in (None, 0, 1):
        note(f"{path}: its pixels are not square ({ratio}), and are taken as if they were.")


def _prepared(frames: Iterator["av.VideoFrame"], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Frames cropped and resized; one that is shown several times is prepared once."""
    last: tuple[av.VideoFrame, np.ndarray] | None = None
    for frame in frames:
        if last is None or last[0] is not frame:
            last = frame, resize_uint8(crop_to_aspect(upright(frame), size), size, "opencv_linear")
        yield last[1]
