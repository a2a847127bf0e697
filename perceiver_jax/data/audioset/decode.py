"""A clip's file as a recording: sound and frames on one clock, ready to be stored."""

import dataclasses
import functools
import io
import itertools
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.media.encoded import EncodedVideo, cut_video
from perceiver_jax.data.media.excerpts import Open, first_times, frames_from, sound_from
from perceiver_jax.data.media.files import open_media, seconds_of, start_of
from perceiver_jax.data.media.frames import (
    FRAME_RATE,
    pixel_shape,
    upright,
    video_streams,
    within,
)
from perceiver_jax.data.media.sound import SAMPLE_RATE
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, require

if TYPE_CHECKING:
    import av

Store = Literal["jpeg", "video", "none"]

# A file that is longer than its segment by more than this (s) may be the whole recording. Tools cut
# where they can, and so leave somewhat more.
_SLACK = 2
_SHORT = 0.1  # Seconds that a recording, or one of its streams, may end early without a remark.
_SILENT = 2  # The largest sample, of 32,767, of silence: encoders leave that much of it.
SHORTER_SIDE = 256  # Of pictures, in pixels; the model reads random parts of 224 x 224.
QUALITY = 90  # Of JPEG, 1 to 95.


@dataclasses.dataclass(frozen=True)
class Recording:
    """A segment as it is stored. At least one of sound and pictures is there."""

    audio: np.ndarray | None  # [samples], int16, one channel, 48 kHz.
    frames: tuple[bytes, ...] | None  # JPEG files, 25 a second.
    video: EncodedVideo | None  # In place of frames.
    remarks: tuple[str, ...]  # What is odd about it: "no sound", "has 3.2 of 10.0 s".

    @property
    def num_frames(self) -> int:
        """How many frames it has at 25 a second."""
        if self.video is not None:
            return self.video.num_frames
        return len(self.frames or ())

    @property
    def seconds(self) -> float:
        """How long it is: until the later end of its streams."""
        samples = 0 if self.audio is None else len(self.audio)
        return max(samples / SAMPLE_RATE, self.num_frames / FRAME_RATE)


def read_recording(
    path: Path | str, segment: Segment, *, cut: bool = False, store: Store = "jpeg"
) -> Recording:
    """Decodes a segment from its file, or from one of the whole recording.

    A file that is more than 2 s longer than the segment, and long enough to have its beginning, is
    taken for the whole recording: the part from segment.start to segment.end is read. Any other is
    taken for the segment itself, with a remark where it is that much longer; what it has beyond the
    segment's length is left out. Its clock starts with the first of its streams; until a later one
    begins, there is silence, or the first frame.

    Args:
      path: the file.
      segment: which part it is of a recording.
      cut: the file is known to be the segment.
      store: "jpeg" decodes frames at 25 a second and stores each as a picture with a shorter side
        of 256 at most; "video" keeps the video as it was encoded, which is decoded all the same, so
        that damage is noticed now; "none" leaves frames out.

    Raises:
      CorruptExample: it is missing or damaged, or has neither sound nor frames at that place; says
        what is wrong with it.
      UserError: PyAV or Pillow is not installed.
    """
    require("av", purpose="Reading recordings")
    require("PIL", purpose="Storing frames", pip_name="pillow")
    try:
        return _read(path, segment, cut, store)
    except CorruptExample:
        raise
    except DataError as error:
        raise CorruptExample(str(error)) from error
    except (ArithmeticError, EOFError, MemoryError, OSError, ValueError) as error:
        # What PyAV raises beside FFmpeg's errors, and these, where a frame makes no sense.
        raise CorruptExample(
            f"{str(path)!r} is damaged: {type(error).__name__}: {str(error) or 'no reason given'}"
        ) from error


def _read(path: Path | str, segment: Segment, cut: bool, store: Store) -> Recording:
    open_file = functools.partial(open_media, path, "sound or video")
    remarks: list[str] = []
    with open_file() as file:
        has_video, has_audio = bool(video_streams(file)), bool(file.streams.audio)
        origin = start_of(file) + Fraction(segment.start)
        # Of a segment at the beginning it does not matter.
        seconds = seconds_of(file, path) if segment.start > 0 and not cut else Fraction(0)
        is_longer = seconds > segment.seconds + _SLACK
        whole = is_longer and seconds > segment.start
    if not whole:
        times = [time for time in first_times(open_file, path) if time is not None]
        if not times:
            raise CorruptExample(f"{str(path)!r} has neither sound nor frames.")
        origin = min(times)
    if is_longer and not whole:
        remarks.append(
            f"taken from its beginning: with {float(seconds):.1f} s it is too long for the "
            "segment, and too short for the whole recording"
        )
    audio = frames = video = None
    if has_audio:
        found = sound_from(open_file, path, origin, round(segment.seconds * SAMPLE_RATE))
        audio = found if len(found) else None
    if has_video and store != "none":
        frames, video = _pictures(open_file, path, segment, origin, store)
    if audio is None and not frames and video is None:
        raise CorruptExample(
            f"{str(path)!r} has neither sound nor frames"
            + (f" from second {segment.start:g} on." if whole else ".")
        )
    if audio is None:
        remarks.append("its sound has no samples" if has_audio else "no sound")
    elif int(np.abs(audio.astype(np.int32)).max()) <= _SILENT:
        remarks.append("silent")
    if not frames and video is None and store != "none":
        remarks.append("its video has no frames" if has_video else "no video")
    recording = Recording(audio, frames or None, video, tuple(remarks))
    return dataclasses.replace(recording, remarks=(*remarks, *_lengths(recording, segment)))


def _lengths(recording: Recording, segment: Segment) -> list[str]:
    """What is to be said about how long a recording is."""
    found, told = recording.seconds, []
    if found < segment.seconds - _SHORT:
        told.append(f"has {found:.2f} of {segment.seconds:.2f} s")
    if recording.audio is not None and recording.num_frames:
        for what, seconds in (
            ("sound", len(recording.audio) / SAMPLE_RATE),
            ("video", recording.num_frames / FRAME_RATE),
        ):
            if seconds < found - _SHORT:
                told.append(f"its {what} ends after {seconds:.2f} s")
    return told


def _pictures(
    open_file: Open, path: object, segment: Segment, origin: Fraction, store: Store
) -> tuple[tuple[bytes, ...] | None, EncodedVideo | None]:
    count = round(segment.seconds * FRAME_RATE)
    frames = itertools.islice(frames_from(open_file, path, origin), count)
    if store == "jpeg":
        with open_file() as file:
            pixel = pixel_shape(video_streams(file)[0])
        pictures: list[bytes] = []
        last: av.VideoFrame | None = None
        for frame in frames:
            # A frame that is shown for several ticks is made a picture of once.
            pictures.append(pictures[-1] if frame is last else to_jpeg(frame, pixel))
            last = frame
        return tuple(pictures), None
    found, rotation = 0, 0
    for frame in frames:
        found, rotation = found + 1, 90 * round(frame.rotation / 90)
    if not found:
        return None, None
    data, start = cut_video(open_file, path, origin, origin + Fraction(segment.seconds))
    return None, EncodedVideo(data, start, rotation, found)


def to_jpeg(frame: "av.VideoFrame", pixel: Fraction = Fraction(1)) -> bytes:
    """Makes a JPEG file of a frame, upright, in its true proportions, with a shorter side of 256.

    A smaller frame keeps its size.

    Args:
      frame: the frame.
      pixel: the width of one of its pixels by its height.
    """
    from PIL import Image

    pixels = upright(frame, within(frame.width * pixel, frame.height, SHORTER_SIDE))
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
