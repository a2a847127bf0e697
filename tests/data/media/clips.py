"""Tiny files of sound and video that the tests write: a flash and a click at every whole second."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (48, 64)  # Height and width.
CLICK = 0.002  # Seconds that a click takes.


def frame_times(rate: Fraction | int, seconds: float, first: float = 0.0) -> list[Fraction]:
    """When frames are shown, from `first` to `seconds`."""
    times = [Fraction(str(first)) + Fraction(k) / Fraction(rate) for k in range(1000)]
    return [time for time in times if time < seconds]


def flash_frames(times: Sequence[Fraction], seconds: float) -> set[Fraction]:
    """The frame nearest to each whole second, and others that are within a 25th of a second."""
    flashes = set()
    for second in range(1, int(seconds) + 1):
        near = [time for time in times if abs(time - second) <= Fraction(36, 1000)]
        flashes.update(near or sorted(times, key=lambda time: abs(time - second))[:1])
    return flashes


def write_clip(
    path: Path,
    *,
    seconds: float = 3.0,
    times: Sequence[Fraction] | None = (),
    sample_rate: int | None = 48_000,
    layout: str = "mono",
    sound_from: float = 0.0,
    sound_until: float | None = None,
    click: bool = True,
    size: tuple[int, int] = SIZE,
    rotation: int = 0,
    video_codec: str = "libx264",
    audio_codec: str = "pcm_s16le",
    live: bool = False,
) -> Path:
    """Writes a clip that flashes white and clicks at each whole second.

    Args:
      path: where to; the suffix chooses the format.
      seconds: how long it is.
      times: of the frames, in seconds; (): 25 a second; None: no video.
      sample_rate: of the sound; None: no sound.
      layout: of its channels: "mono", "stereo", "5.1".
      sound_from: when the sound begins.
      sound_until: when it ends; None: with the clip.
      click: False: silence.
      size: height and width of frames.
      rotation: how a player should turn it.
      video_codec: as FFmpeg calls it.
      audio_codec: likewise.
      live: leave out how long the file is (.mkv).
    """
    if times == ():
        times = frame_times(25, seconds)
    with av.open(str(path), "w", options={"live": "1"} if live else {}) as container:
        video = sound = None
        if times is not None:
            video = container.add_stream(video_codec, rate=25)
            video.height, video.width = size
            video.pix_fmt = "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 90_000)
            video.codec_context.gop_size = 10
            if rotation:
                video.set_display_rotation(rotation)
        if sample_rate is not None:
            sound = container.add_stream(audio_codec, rate=sample_rate, layout=layout)
        packets = []
        if video is not None:
            flashes = flash_frames(times, seconds)
            for time in times:
                # A gradient, and an upper left corner that shows which way is up.
                pixels = np.full((*size, 3), 255 if time in flashes else 30, np.uint8)
                pixels[: size[0] // 4, : size[1] // 4, 0] = 220
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
                packets += video.encode(frame)
            if times:
                packets += video.encode(None)
        if sound is not None:
            until = seconds if sound_until is None else sound_until
            packets += _sound_packets(sound, sample_rate, layout, sound_from, until, click)
        container.start_encoding()
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            container.mux(packet)
    return path


def write_seconds(path: Path, seconds: int, group: int, rate: int = 5) -> Path:
    """Writes H.264 with B-frames, a key frame every `group` frames; see `seconds_seen`."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.gop_size = group
        for number in range(seconds * rate):
            pixels = np.full((48, 64, 3), 5 * (number // rate) + 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def seconds_seen(frames: Sequence[np.ndarray]) -> list[int]:
    """Of which second of a file of `write_seconds` frames are: its number is their grey."""
    return [round((float(frame.mean()) - 20) / 5) for frame in frames]


def click_track(rate: int, start: float, end: float) -> np.ndarray:
    """Samples, int16 [n], from `start` to `end`: a loud burst at each whole second."""
    at = np.arange(round(start * rate), round(end * rate)) / rate
    since = at - np.round(at)
    inside = (since >= 0) & (since < max(CLICK, 1.5 / rate)) & (at > 0.5)
    return np.where(inside, 30_000, 0).astype(np.int16)


def _sound_packets(sound, rate, layout, start, end, click) -> list:
    track = click_track(rate, start, end)
    if not click:
        track[:] = 0
    channels = av.AudioLayout(layout).nb_channels
    interleaved = np.repeat(track[None, :], channels, axis=0).T.reshape(1, -1)
    codec_format = sound.codec_context.format.name
    resampler = av.AudioResampler(codec_format, layout, rate)
    packets = []
    step = 1024
    for first in range(0, len(track), step):
        part = np.ascontiguousarray(interleaved[:, first * channels : (first + step) * channels])
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
        frame.sample_rate = rate
        frame.pts, frame.time_base = round(start * rate) + first, Fraction(1, rate)
        for each in resampler.resample(frame):
            packets += sound.encode(each)
    if len(track):
        packets += sound.encode(None)
    return packets


def click_times(samples: np.ndarray, rate: int = 48_000) -> list[float]:
    """When clicks begin, in seconds."""
    loud = np.flatnonzero(np.abs(samples.astype(np.float64)) > 5000)
    begins = [index for k, index in enumerate(loud) if k == 0 or index - loud[k - 1] > rate // 4]
    return [index / rate for index in begins]


def flash_times(frames: Sequence[np.ndarray], rate: int = 25) -> list[float]:
    """The middle of when each flash is seen, in seconds."""
    bright = [k for k, frame in enumerate(frames) if frame[-16:, -16:].mean() > 140]
    groups: list[list[int]] = []
    for k in bright:
        if groups and k == groups[-1][-1] + 1:
            groups[-1].append(k)
        else:
            groups.append([k])
    return [float(np.mean(group)) / rate for group in groups]
