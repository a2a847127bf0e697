"""The `DataConfig` of recordings with labels: what of them a model hears and sees, and when.

Training: a clip from a random place, its frames augmented, its spectrogram partly covered, and
whole streams left out at random. Evaluation: several clips that cover the recording, of which the
task averages the scores (Perceiver, Sec. 4.2). Sound and frames are cut at the same time.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perceiver_jax.data.audioset import pictures
from perceiver_jax.data.audioset.audioset import (
    Recordings,
    RecordingsConfig,
    num_frames,
    read_frames,
)
from perceiver_jax.data.audioset.clip_times import (
    SAMPLES_PER_FRAME,
    Clip,
    length,
    random_clip,
    spread_clips,
)
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.sound_changes import SoundChanges, spread
from perceiver_jax.data.audioset.spec_augment import SpecAugment
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.data.evaluated import Evaluated
from perceiver_jax.data.media.sound import to_float
from perceiver_jax.data.source import CorruptExample, Example
from perceiver_jax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RawAudio:
    """Sound as it is: [samples, 1] in [-1, 1), 1,920 samples for each frame.

    Ours are two changes of it, off by default. Recordings that were made with fewer samples a
    second have nothing above half of that: as many fewer values say the same. And a model that
    normalises its inputs hears little beside position features of about 1, as speech is about 0.1.
    """

    mean_of: int = 1  # A value is the mean of so many samples; divides the 1,920 of a frame.
    stddev: float = 1.0  # Values are divided by it.

    def __post_init__(self) -> None:
        if self.mean_of < 1 or SAMPLES_PER_FRAME % self.mean_of:
            raise ConfigError(
                f"data.audio.mean_of={self.mean_of} must divide the {SAMPLES_PER_FRAME:,} samples "
                "of a frame: 6 leaves 8,000 values a second, 3 leaves 16,000."
            )
        if self.stddev <= 0:
            raise ConfigError(f"data.audio.stddev={self.stddev:g} must be above 0.")

    def __call__(self, samples: np.ndarray) -> np.ndarray:  # [n] in [-1, 1] -> [n / mean_of]
        """Returns the values of a clip, float32."""
        means = samples.reshape(-1, self.mean_of).mean(axis=1) if self.mean_of > 1 else samples
        return means / np.float32(self.stddev)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudiosetConfig:
    """Recordings with labels. Splits: "train", "valid" (held out, if asked for) and "test".

    An example is {"inputs": ..., "label": float32 [classes], 0 or 1}. Inputs are {"audio": ...,
    "video": ...}, or without the names if there is only one of them:

        audio   RawAudio: float32 [values, 1]; MelSpectrogram: float32 [frames, bands, 1]
        video   float32 [num_frames, height, width, 3] in [-1, 1]

    Those of an evaluation have an axis more, the first one: [eval_clips, ...].

    What a recording is short of is silence, or its last frame; a whole stream that it has not is
    zeros, like one that is left out at random. Open: that, and how often; of video, 0.3 is printed,
    and 0.1 for the spectrogram of the tuned model. Both may be left out of one example.
    """

    recordings: RecordingsConfig = RecordingsConfig()  # Where they come from.
    audio: RawAudio | MelSpectrogram | None = RawAudio()  # How sound is read; None: not.
    video: VideoConfig | None = VideoConfig()  # How frames are read; None: not.
    num_frames: int = 32  # Length of a clip, at 25 frames a second.
    eval_clips: int | None = 16  # Of a recording; None: one from its middle, without the axis.
    spec_augment: SpecAugment | None = None  # Of training spectrograms; None: not.
    sound_changes: SoundChanges | None = None  # Of sound without video; None: not.
    drop_video: float = 0.0  # How often a training example has no video, where a model hears too.
    drop_audio: float = 0.0  # The same of sound, where it sees too.

    def __post_init__(self) -> None:
        if self.audio is None and self.video is None:
            raise ConfigError("data.audio and data.video are none: there is nothing to read.")
        for name in ("num_frames", "eval_clips"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"data.{name}={value} must be at least 1.")
        for name in ("drop_video", "drop_audio"):
            rate = getattr(self, name)
            if not 0 <= rate <= 1:
                raise ConfigError(f"data.{name}={rate} must lie in [0, 1].")
            if rate and (self.audio is None or self.video is None):
                raise ConfigError(
                    f"data.{name}={rate} would leave nothing to learn from: there is one stream "
                    f"only. Give --config.data.{name}=0."
                )
        if isinstance(self.audio, MelSpectrogram):
            self.audio.num_frames(self.num_frames * SAMPLES_PER_FRAME)
        elif self.spec_augment is not None:
            raise ConfigError(
                "data.spec_augment covers parts of a spectrogram, and data.audio has none. Give "
                "--config.data.spec_augment=none."
            )
        if self.sound_changes is not None and (self.audio is None or self.video is not None):
            raise ConfigError(
                "data.sound_changes moves sound, which must stay with its frames where there is "
                "video, and needs data.audio. Give --config.data.sound_changes=none."
            )

    def make_source(self, split: str) -> "EvaluatedRecordings":
        """Opens a split as it is evaluated.

        Raises:
          DataError: no such split, or what is missing, with the mend.
          UserError: a package is missing.
        """
        return EvaluatedRecordings(self, self._open(split))

    def make_training_source(self) -> Recordings:
        """Opens the split "train" as `augment` takes it: recordings as they are stored.

        Raises:
          DataError: see `make_source`.
        """
        return self._open("train")

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns a random clip of a stored example, changed at random."""
        clip = random_clip(length_of(example), self.num_frames, rng)
        drops_video, drops_audio = rng.random(2) < (self.drop_video, self.drop_audio)
        streams: dict[str, np.ndarray] = {}
        if self.audio is not None:
            sound = None if drops_audio else self._training_sound(example, clip, rng)
            if self.spec_augment is not None and sound is not None:
                sound = self.spec_augment(sound[..., 0], rng)[..., None]
            streams["audio"] = self._silence() if sound is None else sound
        if self.video is not None:
            # One that is left out is not decoded either.
            frames = [] if drops_video else _training_frames(example, clip)
            streams["video"] = self.video.augmented(frames, rng) if frames else self._no_video()
        return self._finished(example, streams)

    def evaluated(self, example: Example) -> Example:
        """Returns the clips of a stored example that are evaluated."""
        count = self.eval_clips or 1
        if self.sound_changes is not None and self.sound_changes.anywhere and "audio" in example:
            sounds = spread(example["audio"], self.num_frames * SAMPLES_PER_FRAME, count)
            streams = {"audio": np.stack([self._read(sound) for sound in sounds])}
        else:
            streams = self.streams(
                example, spread_clips(length_of(example), self.num_frames, count)
            )
        if self.eval_clips is None:
            streams = {name: stream[0] for name, stream in streams.items()}
        return self._finished(example, streams)

    def streams(self, example: Example, clips: Sequence[Clip]) -> dict[str, np.ndarray]:
        """Returns clips of a stored example as they are evaluated: "audio", "video", or both.

        Args:
          example: of `Recordings`.
          clips: any, of `num_frames` each.

        Returns:
          By name, [clips, ...].

        Raises:
          CorruptExample: what is stored is damaged.
        """
        streams: dict[str, np.ndarray] = {}
        if self.audio is not None:
            sounds = [self._sound(example, clip) for clip in clips]
            streams["audio"] = np.stack(
                [self._silence() if sound is None else sound for sound in sounds]
            )
        if self.video is not None:
            streams["video"] = self._evaluated_video(example, clips)
        return streams

    def class_names(self) -> tuple[str, ...]:
        """Returns the names of the classes, in the order of the labels.

        Raises:
          DataError: see `make_source`.
        """
        try:
            return self.recordings.open("test").class_names
        except DataError:  # There may be none, where training is judged on what is held out.
            return self.recordings.open("train").class_names

    def picture(self, example: Example) -> np.ndarray:
        """Returns a clip, uint8 [y, x, 3]; of an example to evaluate the middle one.

        Some of its frames in a row, and under them its spectrogram or its wave.
        """
        inputs = example["inputs"]
        if not isinstance(inputs, Mapping):
            inputs = {"video" if self.audio is None else "audio": inputs}
        shown: list[np.ndarray] = []
        if "video" in inputs:
            assert self.video is not None
            shown.append(pictures.frames_in_a_row(_middle(inputs["video"], 4), self.video))
        if "audio" in inputs:
            sound, width = inputs["audio"], shown[0].shape[1] if shown else pictures.WIDTH
            if isinstance(self.audio, MelSpectrogram):
                values = _middle(sound, 3)[..., 0]
                shown.append(pictures.spectrogram(values, self.audio, width))
            else:
                assert self.audio is not None
                shown.append(pictures.wave(_middle(sound, 2)[..., 0] * self.audio.stddev, width))
        return np.concatenate(shown)

    def picture_note(self) -> str:
        """Returns what zeros look like in pictures: they are what is covered, or not there."""
        said = []
        if isinstance(self.audio, MelSpectrogram):
            covered = "" if self.spec_augment is None else "covered by SpecAugment; all of it: "
            said.append(f"Even magenta: {covered}sound that is absent or dropped.")
        if self.video is not None:
            said.append("Grey frames: video that is absent or dropped.")
        return " ".join(said)

    def _open(self, split: str) -> Recordings:
        found = self.recordings.open(split)
        if self.video is not None and not found.has_video:
            raise DataError(
                f"data.video would be zeros in every example: the set {self.recordings.name!r} in "
                f"{found.directory} was made with --store=none, of sound alone. Make another with "
                "--store=jpeg and a --name of its own, or give --config.data.video=none and a "
                "model of sound."
            )
        return found

    def _finished(self, example: Example, streams: dict[str, np.ndarray]) -> Example:
        inputs: Any = streams if len(streams) > 1 else next(iter(streams.values()))
        return {"inputs": inputs, "label": example["label"]}

    def _sound(self, example: Example, clip: Clip) -> np.ndarray | None:
        """The sound of a clip, [values, 1] or [frames, bands, 1]; None where there is no track."""
        if "audio" not in example:
            return None
        return self._read(to_float(clip.cut_sound(example["audio"])))

    def _training_sound(
        self, example: Example, clip: Clip, rng: np.random.Generator
    ) -> np.ndarray | None:
        """The same, changed at random."""
        if self.sound_changes is None or "audio" not in example:
            return self._sound(example, clip)
        first = clip.first * SAMPLES_PER_FRAME
        return self._read(self.sound_changes(example["audio"], first, clip.num_samples, rng))

    def _read(self, samples: np.ndarray) -> np.ndarray:  # [n] -> [values, 1] or [frames, bands, 1]
        assert self.audio is not None
        return self.audio(samples)[..., None]

    def _silence(self) -> np.ndarray:
        """What stands for sound that is not there."""
        num_samples = self.num_frames * SAMPLES_PER_FRAME
        if isinstance(self.audio, MelSpectrogram):
            shape = self.audio.num_frames(num_samples), self.audio.num_bands, 1
            return np.zeros(shape, np.float32)
        assert self.audio is not None
        return np.zeros((num_samples // self.audio.mean_of, 1), np.float32)

    def _no_video(self) -> np.ndarray:
        assert self.video is not None
        return np.zeros((self.num_frames, *self.video.size, 3), np.float32)

    def _evaluated_video(self, example: Example, clips: Sequence[Clip]) -> np.ndarray:
        """[clips, num_frames, height, width, 3]; a frame of several clips is decoded once."""
        assert self.video is not None
        count = num_frames(example)
        if not count:
            return np.stack([self._no_video()] * len(clips))
        shown = np.stack([clip.frames_of(count) for clip in clips])
        first = int(shown.min())
        frames = self.video.evaluated(_decode(example, first, int(shown.max())))
        return frames[np.minimum(shown - first, len(frames) - 1)]


def _middle(stream: np.ndarray, num_axes: int) -> np.ndarray:
    """The middle one of several clips; `num_axes` are those of a single one."""
    return stream[len(stream) // 2] if stream.ndim > num_axes else stream


def length_of(example: Example) -> int:
    """Returns how many frames a recording lasts; the same whatever of it is read."""
    return length(num_frames(example), len(example.get("audio", ())))


def _training_frames(example: Example, clip: Clip) -> list[np.ndarray]:
    """The frames of a clip, some perhaps the same array; none where there is no video."""
    count = num_frames(example)
    if not count:
        return []
    shown = clip.frames_of(count)
    frames = _decode(example, int(shown[0]), int(shown[-1]))
    return [frames[min(index, len(frames) - 1)] for index in shown - shown[0]]


def _decode(example: Example, first: int, last: int) -> list[np.ndarray]:
    """Decodes frames `first` to `last`; fewer, where a video ends before it says."""
    frames = read_frames(example, first, last - first + 1)
    if not frames:
        raise CorruptExample(f"recording {example['id']}: its video ends before frame {first}")
    return frames


@dataclasses.dataclass(frozen=True)
class EvaluatedRecordings(Evaluated):
    """Recordings as they are evaluated; they know their ids."""

    stored: Recordings

    def ids_digest(self) -> str:
        """Returns a hash of the ids of the recordings."""
        return self.stored.ids_digest()
