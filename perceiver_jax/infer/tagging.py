"""What is heard and seen in a file of sound or video over time: `tag`, and what goes before it.

A file is decoded as `perceiver_jax.data.audioset.prepare` stores recordings, and cut into windows,
each of which is read as `AudiosetConfig.evaluated` reads a clip. Probabilities of the file are the
means of its windows', as the evaluation's are of clips (Perceiver, Sec. 4.2). A file that is
shorter than a window is one; if the model's short recordings are evaluated at several places of a
clip (`SoundChanges.anywhere`), it is the mean of those.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.data.audioset.audioset import num_frames
from perceiver_jax.data.audioset.clip_times import SAMPLES_PER_FRAME, Clip, hopping_clips
from perceiver_jax.data.audioset.config import AudiosetConfig, RawAudio, length_of
from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.data.media import files
from perceiver_jax.data.media.frames import FRAME_RATE, video_streams
from perceiver_jax.data.source import Example
from perceiver_jax.errors import ConfigError, DataError, ModelError
from perceiver_jax.infer.files import shown
from perceiver_jax.infer.loaded import LoadedModel

SUFFIXES = tuple(f".{each}" for each in files.SUFFIXES)  # In lower case, with the dot.
_LONGEST = 24 * 3600.0  # Seconds that are read of a file.
_NAMES = {"audio": "sound", "video": "video"}


@dataclasses.dataclass(frozen=True)
class Media:
    """A file as the data set would have it."""

    example: Example  # With "audio", "frames", or both; see `audioset.Recordings`.
    notes: tuple[str, ...]  # On what is odd about it.

    @property
    def seconds(self) -> float:
        """How long it is: until the later end of its streams."""
        return length_of(self.example) / FRAME_RATE


@dataclasses.dataclass(frozen=True)
class Tags:
    """Probabilities of each class in each window of a file."""

    clips: tuple[Clip, ...]  # The windows.
    windows: np.ndarray  # [windows, classes], float32

    @property
    def mean(self) -> np.ndarray:  # [classes]
        """Those of the file."""
        return self.windows.mean(axis=0)

    def best(self, top_k: int) -> list[int]:
        """The classes that are likeliest in the file, the likeliest first."""
        return [int(index) for index in np.argsort(-self.mean, kind="stable")[:top_k]]

    @property
    def gap(self) -> float:
        """Seconds that no window hears or sees, at most, between one and the next."""
        starts = [clip.first for clip in self.clips]
        apart = max((after - before for before, after in itertools.pairwise(starts)), default=0)
        return max(apart - self.clips[0].num_frames, 0) / FRAME_RATE

    @property
    def spans(self) -> list[tuple[float, float]]:
        """When each window begins and ends, in seconds."""
        return [
            (clip.first / FRAME_RATE, (clip.first + clip.num_frames) / FRAME_RATE)
            for clip in self.clips
        ]


def data_config(loaded: LoadedModel) -> AudiosetConfig:
    """What a model hears and sees: as its run had it, or, of weights alone, as its shapes say.

    Of shapes, sound and video are normalised as by default, and a mel spectrogram has a hop of
    1,024 samples where there is no video that says how long a clip is.

    Raises:
      ModelError: it reads neither sound nor video at 25 frames a second.
    """
    if isinstance(loaded.data, AudiosetConfig):
        return loaded.data
    if loaded.data is not None:
        raise ModelError(
            f"this model was trained on {type(loaded.data).__name__}, and not on recordings: "
            "--task=tag has no sound or video for it."
        )
    assert isinstance(loaded.config, zoo.PerceiverConfig)
    inputs = loaded.config.preprocessor
    streams: dict[str, Any] = {}
    if isinstance(inputs, zoo.MultimodalConfig):
        streams = dict(inputs.modalities)
    else:
        is_video = isinstance(inputs, zoo.ImageConfig) and len(inputs.shape) == 3
        streams = {"video" if is_video else "audio": inputs}
    if not streams or not set(streams) <= set(_NAMES):
        raise ModelError(f"this model reads {', '.join(streams)}, not audio, video, or both.")
    return _of_shapes(streams.get("audio"), streams.get("video"))


def num_classes(loaded: LoadedModel) -> int:
    """How many classes a classifier tells apart."""
    assert isinstance(loaded.config, zoo.PerceiverConfig)
    decoder = loaded.config.decoder
    assert isinstance(decoder, zoo.ClassificationDecoderConfig | zoo.ProjectionDecoderConfig)
    return decoder.num_classes


def _of_shapes(sound: Any, video: Any) -> AudiosetConfig:
    length, size = None, None
    audio: RawAudio | MelSpectrogram | None = None
    if video is not None:
        if not isinstance(video, zoo.ImageConfig) or len(video.shape) != 3 or video.channels != 3:
            raise ModelError("the video that this model reads is none of frames in colour.")
        length, size = video.shape[0], (video.shape[1], video.shape[2])
    if isinstance(sound, zoo.AudioConfig):
        length = _frames(sound.num_samples, length)
        audio = RawAudio()
    elif isinstance(sound, zoo.ImageConfig) and len(sound.shape) == 2 and sound.channels == 1:
        hops, bands = sound.shape
        hop = MelSpectrogram().hop
        if length is not None:
            hop = length * SAMPLES_PER_FRAME // hops
        length = _frames(hops * hop, length)
        try:
            audio = MelSpectrogram(num_bands=bands, hop=hop)
        except ConfigError as error:
            raise ModelError(f"this model reads no spectrogram of ours: {error}") from error
    elif sound is not None:
        raise ModelError("this model reads neither raw sound nor a spectrogram.")
    assert length is not None
    return AudiosetConfig(
        audio=audio,
        video=None if size is None else VideoConfig(size=size),
        num_frames=length,
        eval_clips=None,
    )


def _frames(num_samples: int, length: int | None) -> int:
    """How many frames so many samples last; `length`, where video says it."""
    found = num_samples // SAMPLES_PER_FRAME
    if num_samples % SAMPLES_PER_FRAME or not found or length not in (None, found):
        frames = "whole frames" if length is None else f"{length} frames"
        raise ModelError(
            f"this model hears {num_samples:,} samples at a time, which are no {frames} of "
            f"{SAMPLES_PER_FRAME:,}, as sound is cut here (48 kHz, 25 frames a second). If it was "
            "trained on other data, the work directory of its run says on which."
        )
    return found


def read_media(path: Path | str, config: AudiosetConfig, seconds: float | None = None) -> Media:
    """Decodes a file as a data set stores it: sound at 48 kHz, JPEG pictures at 25 a second.

    Args:
      path: any file of sound or video. Frames are left out where the model sees none.
      config: what the model hears and sees.
      seconds: how much to read; None: all.

    Raises:
      DataError: the file is missing or damaged, or has nothing of what the model reads.
      UserError: PyAV or Pillow is not installed.
    """
    with files.open_media(path, "sound or video") as file:
        has = {"audio": bool(file.streams.audio), "video": bool(video_streams(file))}
    reads = {"audio": config.audio is not None, "video": config.video is not None}
    shared = [name for name in reads if reads[name]]
    if not any(has[name] for name in shared):
        wanted = " or ".join(_NAMES[name] for name in shared)
        raise DataError(f"{os.fspath(path)!r} has no {wanted}, and the model reads nothing else.")
    recording = read_recording(
        path,
        Segment(Path(path).name, 0.0, _LONGEST if seconds is None else seconds, ()),
        cut=True,
        store="jpeg" if reads["video"] else "none",
    )
    example: dict[str, Any] = {"id": os.fspath(path), "label": np.zeros(0, np.float32)}
    name = shown(path)
    notes = [
        f"{name}: {remark}."
        for remark in recording.remarks
        # A file is as long as it is; and of what is missing more is said below.
        if not remark.startswith(("has ", "no ")) and "has no " not in remark
        if reads["audio"] or remark != "silent"
    ]
    if recording.audio is not None:
        example["audio"] = recording.audio
    if recording.frames is not None:
        example["frames"] = list(recording.frames)
    missing = [each for each in shared if not _has(example, each)]
    if len(missing) == len(shared):
        wanted = " or ".join(_NAMES[name] for name in shared)
        raise DataError(f"the {wanted} of {os.fspath(path)!r} is empty.")
    notes += [
        f"{name}: no {_NAMES[each]}; the model reads zeros, as of what is left out in training."
        for each in missing
    ]
    media = Media(example, tuple(notes))
    if length_of(example) < config.num_frames:
        short = (
            f"{name}: {media.seconds:.2f} s, less than the {config.num_frames / FRAME_RATE:.2f} s "
            "that the model reads; the rest is silence, and its last frame."
        )
        media = Media(example, (*notes, short))
    return media


def _has(example: Example, name: str) -> bool:
    return name in example if name == "audio" else num_frames(example) > 0


def hop_frames(config: AudiosetConfig, seconds: float | None) -> int:
    """How many frames lie between the starts of windows; None: half a window's."""
    if seconds is None:
        return max(config.num_frames // 2, 1)
    return max(round(seconds * FRAME_RATE), 1)


def tag(
    loaded: LoadedModel,
    config: AudiosetConfig,
    example: Example,
    *,
    hop: int,
    batch_size: int = 8,
) -> Tags:
    """Computes the probabilities of all classes in all windows of a file.

    Args:
      loaded: a classifier, trained with a sigmoid for each class.
      config: what it hears and sees; see `data_config`.
      example: of `read_media`.
      hop: frames from the start of a window to the next.
      batch_size: windows to prepare and compute at a time.

    Raises:
      ModelError: the windows do not fit the model.
      CorruptExample: a picture is damaged.
    """
    clips = hopping_clips(length_of(example), config.num_frames, hop)
    if len(clips) == 1 and config.sound_changes is not None and config.sound_changes.anywhere:
        several = dataclasses.replace(config, eval_clips=config.eval_clips or 1)
        logits = loaded.apply(several.evaluated(example)["inputs"])
        mean = _sigmoid(np.asarray(logits, np.float64)).mean(axis=0, keepdims=True)
        return Tags(clips, mean.astype(np.float32))
    parts = [
        _sigmoid(np.asarray(loaded.apply(_inputs(config, example, batch)), np.float64))[:count]
        for batch, count in _batches(clips, batch_size)
    ]
    found = np.concatenate(parts).astype(np.float32)
    if found.ndim != 2:
        raise ModelError(f"a classifier gives one row a window; got shape {found.shape[1:]}.")
    return Tags(clips, found)


def _inputs(config: AudiosetConfig, example: Example, clips: Sequence[Clip]) -> Any:
    """What the model reads: arrays [clips, ...] by stream, or the array of the only one."""
    streams = config.streams(example, clips)
    return streams if len(streams) > 1 else next(iter(streams.values()))


def _batches(clips: Sequence[Clip], size: int) -> Iterator[tuple[list[Clip], int]]:
    """Yields batches of one size, filled up with the last clip, and how many of each count."""
    size = min(size, len(clips))
    for first in range(0, len(clips), size):
        batch = list(clips[first : first + size])
        yield batch + batch[-1:] * (size - len(batch)), len(batch)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
