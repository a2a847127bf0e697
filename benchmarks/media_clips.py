"""Clips for media_pipeline.py: made of photographs and noise, or found; and a set of them."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.clips import media_files
from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.prepare import prepare
from perceiver_jax.data.images.photos import load_photos
from perceiver_jax.data.images.resize import resize_uint8
from perceiver_jax.errors import UserError

SECONDS = 10.0  # Of a recording.

_SIZE, _RATE = (360, 640), 30  # Of clips that are made.


def write_clips(folder: Path, count: int, seconds: float = SECONDS) -> list[Path]:
    """Writes clips with sound: photographs that pass by, and noise whose loudness changes."""
    photos = list(load_photos().values())
    rng = np.random.default_rng(0)
    return [
        _write_clip(folder / f"{number}.mp4", photos[number % len(photos)], seconds, rng)
        for number in range(count)
    ]


def _write_clip(path: Path, photo: np.ndarray, seconds: float, rng: np.random.Generator) -> Path:
    import av

    height, width = _SIZE
    if photo.ndim == 2:
        photo = np.repeat(photo[..., None], 3, axis=-1)
    scale = 1.5 * max(height / photo.shape[0], width / photo.shape[1])
    size = round(photo.shape[0] * scale), round(photo.shape[1] * scale)
    large = resize_uint8(np.ascontiguousarray(photo[..., :3]), size, "opencv_linear")
    rate, length = 44_100, round(seconds * 44_100)
    with av.open(os.fspath(path), "w") as file:
        video = file.add_stream("libx264", rate=_RATE, options={"preset": "veryfast"})
        video.height, video.width, video.pix_fmt = height, width, "yuv420p"
        sound = file.add_stream("aac", rate=rate, layout="stereo")
        frames = round(seconds * _RATE)
        for number in range(frames):
            share = number / frames
            top, left = (int(share * (a - b)) for a, b in zip(size, _SIZE, strict=True))
            part = np.ascontiguousarray(large[top : top + height, left : left + width])
            file.mux(video.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        file.mux(video.encode(None))
        noise = rng.standard_normal((2, length)) * np.sin(np.arange(length) / rate) * 0.1
        for first in range(0, length, 1024):
            part = np.ascontiguousarray(noise[:, first : first + 1024].astype(np.float32))
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    return path


def find_clips(folder: Path, count: int) -> list[Path]:
    """Returns the first clips in a folder that have sound and video.

    Raises:
      UserError: there is none.
    """
    found: list[Path] = []
    for name in media_files(os.fspath(folder)):
        if len(found) == count:
            break
        try:
            recording = read_recording(folder / name, segment(1.0), cut=True)
        except UserError as error:
            print(f"Left out: {error}")
            continue
        if recording.audio is not None and recording.frames:
            found.append(folder / name)
    if not found:
        raise UserError(f"--clips={folder} has no files with sound and video.")
    return found


def store(paths: Sequence[Path], folder: Path, kind: Any) -> RecordingsConfig:
    """Makes a set of some clips, on which to train."""
    clips = folder / "clips"
    clips.mkdir()
    rows = []
    for number, path in enumerate(paths):
        name = f"clip-{number:06}"
        (clips / f"{name}{path.suffix}").symlink_to(path.resolve())
        rows.append(f'{name}, 0.000, {SECONDS:.3f}, "/m/a"\n')
    (folder / "train.csv").write_text("".join(rows))
    (folder / "classes.csv").write_text('index,mid,display_name\n0,/m/a,"Sound"\n')
    lists = [os.fspath(folder / "train.csv")], [], os.fspath(folder / "classes.csv")
    data = os.fspath(folder / "data")
    prepare(*lists, os.fspath(clips), data, name="clips", store=kind, workers=1,
            report=lambda line: None)  # fmt: skip
    return RecordingsConfig(name="clips", data_dir=data)


def segment(seconds: float) -> Segment:
    """The beginning of a recording, as of a list."""
    return Segment("clip", 0.0, seconds, (0,))
