"""Writing videos with sound, which appear whole or not at all."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.data.media.frames import FRAME_RATE
from perceiver_jax.errors import DataError, require

# Encoders in the order of preference. Builds of FFmpeg without the GPL parts have no libx264.
VIDEO_ENCODERS = ("libx264", "libopenh264", "mpeg4")
AUDIO_ENCODER = "aac"


class VideoWriter:
    """An open video file; made by `writing_video`."""

    def __init__(
        self,
        container: Any,  # PyAV's output container; its types know too little of its streams.
        size: tuple[int, int],
        rate: Fraction,
        sample_rate: int | None,
    ):
        import av

        self._container = container
        self._size = size
        self._video = container.add_stream(_encoder(VIDEO_ENCODERS), rate=rate)
        # Players want yuv420p, whose colours are stored for 2 x 2 pixels together.
        self._video.pix_fmt = "yuv420p"
        self._video.height, self._video.width = (length + length % 2 for length in size)
        if self._video.codec_context.name == "libx264":
            self._video.options = {"crf": "17"}
        else:
            self._video.bit_rate = max(int(8 * size[0] * size[1] * float(rate) / 10), 200_000)
        self._rate, self._num_frames = rate, 0
        self._sample_rate, self._num_samples = sample_rate, 0
        if sample_rate is not None:
            # AAC knows a few rates only.
            known = av.codec.Codec(_encoder((AUDIO_ENCODER,)), "w").audio_rates or [sample_rate]
            rate_written = sample_rate if sample_rate in known else max(known)
            self._audio = container.add_stream(AUDIO_ENCODER, rate=rate_written, layout="mono")
            self._audio.bit_rate = 192_000
            self._resampler = av.AudioResampler("fltp", "mono", rate_written)

    def write(self, frames: np.ndarray, audio: np.ndarray | None = None) -> None:
        """Appends frames and the sound beneath them.

        Args:
          frames: [t, y, x, 3] uint8 RGB.
          audio: [samples, 1] in [-1, 1]; only if the file has sound.
        """
        import av

        if frames.dtype != np.uint8 or frames.shape[1:] != (*self._size, 3):
            raise DataError(
                f"expected uint8 frames [t, {self._size[0]}, {self._size[1]}, 3]; got "
                f"{frames.dtype} {frames.shape}."
            )
        odd = [(0, length % 2) for length in self._size]
        for pixels in np.pad(frames, [(0, 0), *odd, (0, 0)], mode="edge"):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = self._num_frames, 1 / self._rate
            self._num_frames += 1
            self._container.mux(self._video.encode(frame))
        if audio is not None and len(audio):
            assert self._sample_rate is not None, "this file was opened without sound"
            samples = np.clip(audio, -1.0, 1.0).astype(np.float32).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sound.sample_rate = self._sample_rate
            sound.pts, sound.time_base = self._num_samples, Fraction(1, self._sample_rate)
            self._num_samples += samples.shape[1]
            self._encode_sound(sound)

    def finish(self) -> None:
        """Writes what the encoders still hold."""
        if self._num_frames:
            self._container.mux(self._video.encode(None))
        if self._num_samples:
            self._encode_sound(None)
            self._container.mux(self._audio.encode(None))

    def _encode_sound(self, sound: Any) -> None:
        for part in self._resampler.resample(sound):
            self._container.mux(self._audio.encode(part))


@contextlib.contextmanager
def writing_video(
    path: Path | str,
    *,
    size: tuple[int, int],
    rate: Fraction | int = FRAME_RATE,
    sample_rate: int | None = None,
) -> Iterator[VideoWriter]:
    """Opens a new mp4 file (H.264, or MPEG-4 where FFmpeg has no encoder of it; AAC).

    The file takes its name when the block ends well. Frames of odd height or width get their last
    row or column twice, because the format stores pixels in pairs.

    Args:
      path: where to, with suffix .mp4.
      size: height and width of the frames.
      rate: frames a second.
      sample_rate: samples of sound a second; None: a video without sound.

    Raises:
      DataError: FFmpeg cannot encode it.
    """
    require("av", purpose="Writing videos")
    import av

    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
                writer = VideoWriter(
                    container, size, Fraction(rate).limit_denominator(1001), sample_rate
                )
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise DataError(f"cannot write the video {str(path)!r}: {error}.") from error


def _encoder(names: tuple[str, ...]) -> str:
    """The first of some encoders that this FFmpeg has."""
    import av

    for name in names:
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            return av.codec.Codec(name, "w").name
    raise DataError(f"the FFmpeg in PyAV can encode none of {', '.join(names)}.")
