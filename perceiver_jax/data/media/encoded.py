"""Video kept as it was encoded: cut between two times without decoding, and read again."""

import dataclasses
import io
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from perceiver_jax.data.media.excerpts import Open, frames_from
from perceiver_jax.data.media.files import open_media, reason, seek
from perceiver_jax.data.media.frames import (
    FRAME_RATE,
    pixel_shape,
    shown_at,
    upright,
    video_stream,
    within,
)
from perceiver_jax.errors import DataError

if TYPE_CHECKING:
    import av

_FORMAT = "matroska"  # Takes streams of any codec.


@dataclasses.dataclass(frozen=True)
class EncodedVideo:
    """A video stream as it was encoded, and a clock in it."""

    data: bytes  # A Matroska file.
    start: float  # Second of the file's own time at which the clock starts.
    rotation: int  # Degrees, counterclockwise, by which frames are turned to be upright.
    num_frames: int  # At 25 a second from `start` on.

    def begins(self, name: str) -> Fraction | None:
        """Second, by its clock, at which the frame is shown that is first; None: it has no frame.

        Args:
          name: of the recording, for messages.

        Raises:
          DataError: the data is damaged.
        """
        start = Fraction(self.start).limit_denominator(1_000_000)
        frames = frames_from(lambda: open_media(name, file=io.BytesIO(self.data)), name, start)
        first = next(frames, None)
        return None if first is None else shown_at(first) - start

    def frames(
        self, first: int, count: int, name: str, shorter_side: int | None = None
    ) -> Iterator[np.ndarray]:
        """Yields frames `first` to `first + count` at 25 a second, upright: [y, x, 3] uint8 RGB.

        Args:
          first: the first, from 0.
          count: how many; fewer, where the video ends.
          name: of the recording, for messages.
          shorter_side: pixels that it may have at most, of frames in true proportions; None: frames
            are as they were encoded.

        Raises:
          DataError: the data is damaged.
        """
        count = min(count, self.num_frames - first)
        start = Fraction(self.start).limit_denominator(1_000_000)  # As it was before rounding.
        origin = start + Fraction(first, FRAME_RATE)
        pixel = Fraction(1)

        def opened() -> "av.container.InputContainer":
            nonlocal pixel
            file = open_media(name, file=io.BytesIO(self.data))
            pixel = pixel_shape(video_stream(file, name))
            return file

        frames = frames_from(opened, name, origin)
        last: tuple[av.VideoFrame, np.ndarray] | None = None
        for frame in itertools.islice(frames, max(count, 0)):
            if last is None or last[0] is not frame:
                size = None
                if shorter_side is not None:
                    size = within(frame.width * pixel, frame.height, shorter_side)
                pixels = upright(frame, size)
                if not frame.rotation and self.rotation:  # The container has lost it.
                    pixels = np.ascontiguousarray(np.rot90(pixels, self.rotation // 90))
                last = frame, pixels
            yield last[1]


def cut_video(
    open_file: Open, path: object, origin: Fraction, end: Fraction
) -> tuple[bytes, float]:
    """Copies a video stream from the last key frame before a time on, without sound.

    Args:
      open_file: opens the file.
      path: its name, for messages.
      origin: where the part begins, in seconds of the file's own time.
      end: where it ends.

    Returns:
      A Matroska file, and where in its own time `origin` is, in seconds.

    Raises:
      DataError: the file is damaged, or its video of a codec that Matroska does not take.
    """
    import av

    written = io.BytesIO()
    try:
        with open_file() as file:
            if not seek(file, origin - Fraction(1, 2)):
                file.seek(0)
            stream = video_stream(file, path)
            with av.open(written, "w", format=_FORMAT) as copy:
                target = copy.add_stream_from_template(stream)
                packets = _packets(file, stream, origin, end)
                if not packets:
                    raise DataError(f"{str(path)!r} has no video at second {float(origin):g}.")
                _, first_shown, first_decoded = packets[0]
                shift = min(first_shown, first_decoded)  # Matroska's clock has no time before 0.
                for packet, shown, decoded in packets:
                    packet.pts, packet.dts = shown - shift, decoded - shift
                    packet.stream = target
                    copy.mux(packet)
                ahead = shift * Fraction(stream.time_base or 0)
    except (av.FFmpegError, ValueError) as error:
        raise DataError(
            f"the video of {str(path)!r} cannot be copied as it is ({reason(error)}); "
            "store JPEG instead."
        ) from error
    return written.getvalue(), float(origin - ahead)


def _packets(
    file: "av.container.InputContainer",
    stream: "av.video.stream.VideoStream",
    origin: Fraction,
    end: Fraction,
) -> list[tuple["av.Packet", int, int]]:
    """Packets with the ticks at which they are shown and decoded.

    They begin with the last key frame that is shown at `origin` or before, or else with the first
    one, and end when all that is shown before `end` was there.
    """
    packets: list[tuple[av.Packet, int, int | None]] = []
    for packet in file.demux(stream):
        if packet.pts is None or packet.time_base is None:
            continue
        if packet.dts is not None and packet.dts * packet.time_base > end:
            break
        if packet.is_keyframe and packet.pts * packet.time_base <= origin:
            packets.clear()  # A file that cannot be entered there is read from its beginning.
        if packets or packet.is_keyframe:
            packets.append((packet, packet.pts, packet.dts))
    # Matroska does not note when frames are decoded. Where frames are not in the order in which
    # they are shown, FFmpeg knows it only some frames after it has entered the file.
    timed: list[tuple[av.Packet, int, int]] = []
    for packet, shown, noted in reversed(packets):
        decoded = noted
        if decoded is None:
            decoded = min(shown, timed[-1][2] - 1) if timed else shown
        timed.append((packet, shown, decoded))
    return timed[::-1]
