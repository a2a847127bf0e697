"""A clip's file as a recording: sound and frames on one clock, ready to be stored."""

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from perceiver_jax.data.audioset.jpeg import DEFAULT, Jpeg, to_jpeg
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.sources import Source, choose
from perceiver_jax.data.media.encoded import EncodedVideo, cut_video
from perceiver_jax.data.media.excerpts import first_times, frames_from, sound_from
from perceiver_jax.data.media.frames import FRAME_RATE, pixel_shape, shown_at, video_streams
from perceiver_jax.data.media.sound import SAMPLE_RATE
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, require

if TYPE_CHECKING:
    import av

Store = Literal["jpeg", "video", "none"]

# A file as long as its segment but for this (s) is the segment. Tools cut where they can, and so
# leave somewhat more.
_SLACK = 2
_LONGER = 1  # One that is so much longer (s) is remarked on, if it may be the whole recording too.
# Of a recording that ends within its segment, so much (s) must be in it; or half of a shorter one.
_LEAST = 1
_SHORT = 0.1  # Seconds that a recording, or one of its streams, may end early without a remark.
_SILENT = 2  # The largest sample, of 32,767, of silence: encoders leave that much of it.


@dataclasses.dataclass(frozen=True)
class Recording:
    """A segment as it is stored. At least one of sound and pictures is there."""

    audio: np.ndarray | None  # [samples], int16, one channel, 48 kHz.
    frames: tuple[bytes, ...] | None  # JPEG files, 25 a second.
    video: EncodedVideo | None  # In place of frames.
    remarks: tuple[str, ...]  # What is odd about it: "no sound", "has 3.2 of 10.0 s".
    read: tuple[Path, ...] = ()  # The files that it is made of.

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
    path: Path | str,
    segment: Segment,
    *,
    cut: bool = False,
    skip: float = 0.0,
    others: Sequence[Path | str] = (),
    store: Store = "jpeg",
    jpeg: Jpeg = DEFAULT,
) -> Recording:
    """Decodes a segment from its file, or from one of the whole recording.

    A file that is as long as the segment, give or take 2 s, and not rather as long as the recording
    until its end, is taken for the segment itself; what it has beyond that is left out. Any other
    is taken for the whole recording, from which the part from segment.start to segment.end is read;
    if it ends before that begins, or within the first second, it is refused, since it may be of
    anything. The clock of a segment starts with the first of its streams; until a later one begins,
    there is silence, or the first frame.

    Args:
      path: the file.
      segment: which part it is of a recording.
      cut: the file is known to begin with the segment, however long it is,
      skip: or so many seconds before.
      others: files that have the same. If `path` lacks sound or video, one that has both is read
        in its place; if there is none, sound and video of two that are equally long.
      store: "jpeg" decodes frames at 25 a second and stores each as a picture with a shorter side
        of 256 at most, unless `jpeg` says otherwise; "video" keeps the video as it was encoded,
        which is decoded all the same, so that damage is noticed now; "none" leaves frames out.
      jpeg: what the pictures are to be like.

    Raises:
      CorruptExample: it is missing or damaged, or has neither sound nor frames at that place; says
        what is wrong with it.
      UserError: PyAV or Pillow is not installed.
    """
    require("av", purpose="Reading recordings")
    require("PIL", purpose="Storing frames", pip_name="pillow")
    try:
        sources = choose([path, *others], video=store != "none")
        return _read(sources, segment, cut, skip, store, jpeg)
    except CorruptExample:
        raise
    except DataError as error:
        raise CorruptExample(str(error)) from error
    except (ArithmeticError, EOFError, MemoryError, OSError, ValueError) as error:
        # What PyAV raises beside FFmpeg's errors, and these, where a frame makes no sense.
        raise CorruptExample(
            f"{str(path)!r} is damaged: {type(error).__name__}: {str(error) or 'no reason given'}"
        ) from error


def _read(
    sources: Sequence[Source],
    segment: Segment,
    cut: bool,
    skip: float,
    store: Store,
    jpeg: Jpeg,
) -> Recording:
    first = sources[0]
    sounding = next((each for each in sources if each.has_audio), None)
    seen = next((each for each in sources if each.has_video), None)
    origin, whole, longer = _origin(sources, segment, cut, skip)
    audio = frames = video = None
    remarks = [each for each in (longer, *(source.remark for source in sources)) if each]
    if sounding is not None:
        count = round(segment.seconds * SAMPLE_RATE)
        found = sound_from(sounding.open, sounding.path, origin + sounding.ahead, count)
        audio = found if len(found) else None
    if seen is not None and store != "none":
        frames, video, remark = _pictures(seen, segment, origin, store, jpeg)
        remarks += [remark] if remark else []
    if audio is None and not frames and video is None:
        if seen is not None and store == "none":
            raise CorruptExample(f"{str(first.path)!r} has no sound, and frames are not wanted.")
        raise CorruptExample(
            f"{str(first.path)!r} has neither sound nor frames"
            + (f" from second {segment.start:g} on." if whole else ".")
        )
    if audio is None:
        remarks.append("its sound has no samples" if sounding is not None else "no sound")
    elif int(np.abs(audio.astype(np.int32)).max()) <= _SILENT:
        remarks.append("silent")
    if not frames and video is None and store != "none":
        remarks.append("its video has no frames" if seen is not None else "no video")
    read = tuple(each.path for each in sources)
    recording = Recording(audio, frames or None, video, tuple(remarks), read)
    return dataclasses.replace(recording, remarks=(*remarks, *_lengths(recording, segment)))


def _origin(
    sources: Sequence[Source], segment: Segment, cut: bool, skip: float
) -> tuple[Fraction, bool, str]:
    """When the segment begins, by the first file's clock; if they are of more than it; a remark.

    Raises:
      CorruptExample: they are not of the segment, or have nothing at all.
    """
    path = sources[0].path
    begins = skip if cut else segment.start  # Seconds of the file, if it is of more.
    whole, remark = begins > 0, ""  # Of a segment at the beginning it does not matter.
    if whole:
        seconds = sources[0].seconds()
        if not cut:
            beyond = abs(seconds - segment.seconds)
            whole = beyond > _SLACK or beyond > abs(seconds - segment.end)
            if not whole and seconds > segment.seconds + _LONGER and seconds > begins:
                remark = f"taken for the segment, though {beyond:.1f} s longer"
        if whole and seconds < begins + min(_LEAST, segment.seconds / 2):
            # A file that says when it begins is told of by the recording's time.
            ends = seconds + (segment.start - skip if cut else 0)
            least = "a second" if segment.seconds >= 2 * _LEAST else "half of its length"
            raise CorruptExample(
                f"{str(path)!r} ends at {ends:.1f} s, "
                + ("before" if seconds <= begins else f"less than {least} after")
                + f" the segment begins ({segment.start:.1f} s)"
                + ("." if cut else f", and is not as long as it ({segment.seconds:.1f} s).")
            )
    if whole:
        # As it is written: of two frames that are equally near the same one is taken from a copy.
        exact = Fraction(begins).limit_denominator(1_000_000)
        return min(each.start() for each in sources) + exact, True, ""
    there = [
        time - each.ahead
        for each in sources
        for time in first_times(each.open, each.path)
        if time is not None
    ]
    if not there:
        raise CorruptExample(f"{str(path)!r} has neither sound nor frames.")
    return min(there), False, remark


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
    source: Source, segment: Segment, origin: Fraction, store: Store, jpeg: Jpeg
) -> tuple[tuple[bytes, ...] | None, EncodedVideo | None, str]:
    """Frames or video, and what is odd about them."""
    open_file, path = source.open, source.path
    count = round(segment.seconds * FRAME_RATE)
    frames = itertools.islice(frames_from(open_file, path, origin), count)
    if store == "jpeg":
        with open_file() as file:
            pixel = pixel_shape(video_streams(file)[0])
        pictures: list[bytes] = []
        last: av.VideoFrame | None = None
        for frame in frames:
            # A frame that is shown for several ticks is made a picture of once.
            pictures.append(pictures[-1] if frame is last else to_jpeg(frame, pixel, jpeg))
            last = frame
        return tuple(pictures), None, ""
    found, rotation, begins, longest = 0, 0, Fraction(0), Fraction(1, FRAME_RATE)
    for frame in frames:
        if not found:
            begins = shown_at(frame) - origin
            longest = max(longest, (frame.duration or 0) * Fraction(frame.time_base or 0))
        found, rotation = found + 1, 90 * round(frame.rotation / 90)
    if not found:
        return None, None, ""
    data, start = cut_video(open_file, path, origin, origin + Fraction(segment.seconds))
    video = EncodedVideo(data, start, rotation, found)
    # What is read again must be what was seen here.
    copied = video.begins(str(path))
    if copied is None or copied >= min(Fraction(found, FRAME_RATE), Fraction(segment.seconds)):
        raise DataError(
            f"the video of {str(path)!r} cannot be copied as it is (nothing of the segment is in "
            "the copy); store JPEG instead."
        )
    late = copied - begins
    remark = f"its copied video begins {float(late):.2f} s late" if late > longest else ""
    return None, video, remark
