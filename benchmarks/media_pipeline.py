"""Recordings a second on one core, stage by stage, and what a pod needs of them.

    python -m benchmarks.media_pipeline [--cores=96] [--clips=FOLDER] [--store=jpeg] [--markdown]

Three tables. From a file to what is stored, as `perceiver_jax.data.audioset.prepare` does it, with
JPEG whatever --store says; from what is stored to what a model reads in training, one clip of each
recording; and, for the variants of experiments/audioset.py, a training example, an evaluated
recording, and the cores and hosts that keep up with the declared batch at 3.8 steps a second, which
Perceiver IO's Table 10 prints. Stages are calls of the pipeline's own parts, and what they make is
compared with what the pipeline makes.

Seconds are those of the processor, of all threads together, so that other programs count little;
waiting for disks is not in them. Medians of the rounds. The clips are made here: photographs that
scikit-image ships, passing by at 640 x 360 and 30 frames a second in H.264, with stereo sound in
AAC, 10 s each. --clips takes real ones, of which those with sound and video are used. How long a
frame takes to decode depends on its size and on what is in it.
"""

import dataclasses
import functools
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from absl import flags

from benchmarks.media_clips import SECONDS, find_clips, segment, store, write_clips
from perceiver_jax.config import load_experiment
from perceiver_jax.data.audioset.audioset import num_frames, read_frames
from perceiver_jax.data.audioset.clip_times import random_clip
from perceiver_jax.data.audioset.config import AudiosetConfig, length_of
from perceiver_jax.data.audioset.decode import read_recording
from perceiver_jax.data.audioset.jpeg import to_jpeg
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.media.excerpts import first_times, frames_from, sound_from
from perceiver_jax.data.media.files import open_media, seek, start_of
from perceiver_jax.data.media.frames import FRAME_RATE, video_streams
from perceiver_jax.data.media.sound import SAMPLE_RATE, to_float
from perceiver_jax.data.source import Source
from perceiver_jax.errors import UserError, run_main
from perceiver_jax.report import tables

STEPS = 3.8  # A second; Perceiver IO, Table 10.
TEST_RECORDINGS = 20_371  # Of AudioSet's evaluation list.
TRAIN_RECORDINGS = 1_700_000
VARIANTS = ("audio_raw", "audio_mel", "video", "audio_video_raw", "audio_video_mel")
STAGED = "audio_video_mel"  # The one whose stages are timed.

T = TypeVar("T")
Seconds = dict[str, float]  # By stage.


@dataclasses.dataclass(frozen=True)
class Variant:
    """Seconds of the processor that a variant takes, reading included."""

    training: float  # An example.
    evaluation: float  # A recording, in 16 clips.


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured, in seconds of the processor a recording: medians over rounds."""

    preparing: Seconds  # From a file to what is stored.
    prepared: float  # All of it, as `read_recording` does it.
    training: Seconds  # From there to an example.
    example: float  # All of it, as `AudiosetConfig.augment` does it, and reading.
    variants: dict[str, Variant]
    recordings: int
    repeats: int
    jpeg_size: float  # Bytes of a stored frame, on average.


class _Clock:
    """Adds up seconds of the processor by stage."""

    def __init__(self) -> None:
        self.seconds: Seconds = defaultdict(float)

    def __call__(self, name: str, call: Callable[[], T]) -> T:
        started = time.process_time()
        value = call()
        self.seconds[name] += time.process_time() - started
        return value

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items of an iterator, whose making is the stage."""
        end = object()
        while (item := self(name, lambda: next(items, end))) is not end:
            yield item  # type: ignore[misc]


def measure(
    paths: Sequence[Path],
    source: Source,
    configs: dict[str, AudiosetConfig],
    repeats: int,
    seconds: float = SECONDS,
) -> Result:
    """Times all stages over all clips, round after round.

    Args:
      paths: of files with sound and video.
      source: the recordings as they are stored.
      configs: by variant, what is made of them; `STAGED` among them.
      repeats: rounds, after one that is not counted.
      seconds: that are read of each file.

    Raises:
      RuntimeError: the stages do not make what the pipeline makes.
    """
    rounds = []
    for number in range(repeats + 1):
        clock = _Clock()
        for path in paths:
            _prepare(path, segment(seconds), clock)
        found = {"prepare": _shares(clock, len(paths))}
        clock = _Clock()
        for index in range(len(source)):
            _train(configs[STAGED], source, index, (number, index), clock)
        found["train"] = _shares(clock, len(source))
        for name, config in configs.items():
            found[name] = _variant(config, source, number)
        rounds.append(found)

    def median(group: str) -> Seconds:  # The first round opens files and fills caches.
        return {
            name: statistics.median(each[group][name] for each in rounds[1:])
            for name in rounds[0][group]
        }

    preparing, training = median("prepare"), median("train")
    frames = [len(data) for index in range(len(source)) for data in _jpegs(source[index])]
    return Result(
        preparing=preparing,
        prepared=preparing.pop(_ALL),
        training=training,
        example=training.pop(_ALL),
        variants={name: Variant(**median(name)) for name in configs},
        recordings=len(source),
        repeats=repeats,
        jpeg_size=statistics.mean(frames) if frames else 0.0,
    )


_ALL = "all"


def _shares(clock: _Clock, count: int) -> Seconds:
    return {name: each / count for name, each in clock.seconds.items()}


def _jpegs(example: Any) -> Sequence[bytes]:
    return example.get("frames", ())


def _prepare(path: Path, segment: Segment, clock: _Clock) -> None:
    """From a file to what is stored: the parts of `read_recording`, and all of it."""
    open_file = functools.partial(open_media, path, "sound or video")

    def find_middle() -> None:
        with open_file() as file:
            seek(file, start_of(file) + Fraction(segment.seconds) / 2)

    clock("open and seek", find_middle)
    times = clock("find the beginning", lambda: first_times(open_file, path))
    origin = min(each for each in times if each is not None)
    count, pictures, last = round(segment.seconds * FRAME_RATE), [], None
    for frame in clock.each("decode frames", frames_from(open_file, path, origin)):
        if len(pictures) == count:
            break
        if frame is last:
            pictures.append(pictures[-1])
        else:
            pictures.append(clock("JPEG of frames", functools.partial(to_jpeg, frame)))
        last = frame
    length = round(segment.seconds * SAMPLE_RATE)
    sound = clock("decode sound", lambda: sound_from(open_file, path, origin, length))
    stored = clock(_ALL, lambda: read_recording(path, segment, cut=True))
    if stored.audio is None or not np.array_equal(stored.audio, sound):
        raise RuntimeError(f"{path}: the stages that are timed decode other sound than the set has")
    if len(stored.frames or ()) != len(pictures):
        raise RuntimeError(f"{path}: the stages that are timed decode other frames")
    with open_file() as file:
        square = video_streams(file)[0].sample_aspect_ratio in (None, 0, 1)
    if square and stored.frames != tuple(pictures):
        raise RuntimeError(f"{path}: the stages that are timed store other frames")


def _train(
    config: AudiosetConfig, source: Source, index: int, seed: tuple[int, int], clock: _Clock
) -> None:
    """From what is stored to an example with sound and video: the parts of `augment`, and all."""
    config = dataclasses.replace(config, drop_video=0.0, drop_audio=0.0)
    mel, video, spec_augment = config.audio, config.video, config.spec_augment
    assert isinstance(mel, MelSpectrogram) and video is not None and spec_augment is not None
    example = clock("read the record", lambda: source[index])
    rng = np.random.default_rng(seed)
    clip = random_clip(length_of(example), config.num_frames, rng)
    rng.random(2)  # Whether a stream is left out.
    values = clock("mel", lambda: mel(to_float(clip.cut_sound(example["audio"]))))
    values = clock("SpecAugment", lambda: spec_augment(values, rng))
    shown = clip.frames_of(num_frames(example))
    first, count = int(shown[0]), int(shown[-1] - shown[0]) + 1
    frames = clock(f"decode {config.num_frames} frames", lambda: read_frames(example, first, count))
    frames = [frames[place - first] for place in shown]
    clip_read = clock("crop, resize, colour", lambda: video.augmented(frames, rng))
    example = frames = None  # Or memory for what follows would be asked for anew.
    again = np.random.default_rng(seed)
    whole = clock(_ALL, lambda: config.augment(source[index], again))["inputs"]
    if not (
        np.array_equal(whole["audio"][..., 0], values) and np.array_equal(whole["video"], clip_read)
    ):
        raise RuntimeError("the stages that are timed do not make what the pipeline makes")


def _variant(config: AudiosetConfig, source: Source, number: int) -> Seconds:
    """A training example and an evaluated recording of a variant, with reading."""
    rates = {config.drop_video: 1.0}
    if config.drop_video:  # Measured with and without, so that chance is not in it.
        rates = {0.0: 1 - config.drop_video, 1.0: config.drop_video}
    clock, seconds = _Clock(), {"training": 0.0}
    for rate, share in rates.items():
        changed = dataclasses.replace(config, drop_video=rate)
        for index in range(len(source)):
            rng = np.random.default_rng((number, index))
            clock(str(rate), functools.partial(_augmented, changed, source, index, rng))
        seconds["training"] += share * clock.seconds[str(rate)] / len(source)
    for index in range(len(source)):
        clock("evaluation", functools.partial(_evaluated, config, source, index))
    return {**seconds, "evaluation": clock.seconds["evaluation"] / len(source)}


def _augmented(config: AudiosetConfig, source: Source, index: int, rng: Any) -> Any:
    return config.augment(source[index], rng)


def _evaluated(config: AudiosetConfig, source: Source, index: int) -> Any:
    return config.evaluated(source[index])


def hosts(seconds: float, batch: int, cores: int) -> tuple[float, int]:
    """Cores that make `batch` examples `STEPS` times a second, and the hosts that have them.

    Args:
      seconds: of one core for an example.
      batch: examples of a step.
      cores: of a host.
    """
    needed = seconds * batch * STEPS
    return needed, math.ceil(needed / cores)


def render(result: Result, *, batch: int, cores: int, markdown: bool) -> str:
    """The tables, and what was measured."""

    def staged(title: str, stages: Seconds, name: str, whole: float) -> str:
        rows = [[each, f"{1e3 * value:.2f}", f"{1 / value:,.1f}" if value else "-"]
                for each, value in [*stages.items(), (name, whole)]]  # fmt: skip
        header = (title, "ms", "a second")
        return tables.render(header, rows, right=header[1:], markdown=markdown)

    header = (
        "variant", "training (ms)", "a second", "cores", f"hosts of {cores}", "evaluation (ms)",
        f"core-hours for {TEST_RECORDINGS:,}",
    )  # fmt: skip
    rows = []
    for name, variant in result.variants.items():
        needed, machines = hosts(variant.training, batch, cores)
        rows.append([
            name, f"{1e3 * variant.training:.1f}", f"{1 / variant.training:,.1f}",
            f"{needed:,.1f}", str(machines), f"{1e3 * variant.evaluation:.0f}",
            f"{variant.evaluation * TEST_RECORDINGS / 3600:.2f}",
        ])  # fmt: skip
    hours = result.prepared * TRAIN_RECORDINGS / 3600 / cores
    size = f", {result.jpeg_size / 1000:.1f} kB a stored frame" if result.jpeg_size else ""
    return "\n\n".join([
        f"{result.recordings} recordings{size}, median of {result.repeats} rounds, seconds of one "
        "core.",
        staged("file to set", result.preparing, "read_recording", result.prepared),
        staged("set to example", result.training, "with augment", result.example),
        f"A batch of {batch} at {STEPS} steps a second is {batch * STEPS:,.0f} clips a second:",
        tables.render(header, rows, right=header[1:], markdown=markdown),
        f"{TRAIN_RECORDINGS:,} recordings are prepared in {hours:.1f} hours of a host of {cores} "
        "cores.",
    ])  # fmt: skip


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    experiments = {name: load_experiment(f"experiments/audioset.py:{name}") for name in VARIANTS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.clips is not None:
            paths = find_clips(Path(given.clips), given.recordings)
        else:
            paths = write_clips(folder, given.recordings)
        recordings = store(paths, folder, given.store)
        configs = {
            name: dataclasses.replace(each.data, recordings=recordings)
            for name, each in experiments.items()
        }
        result = measure(paths, recordings.open("train"), configs, given.repeats)
        batch = experiments[STAGED].trainer.batch_size
        print(render(result, batch=batch, cores=given.cores, markdown=given.markdown))


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    flags.DEFINE_integer("recordings", 6, "How many clips.", lower_bound=1)
    flags.DEFINE_integer("repeats", 5, "Timed rounds over all clips.", lower_bound=1)
    flags.DEFINE_string("clips", None, "A folder with clips, in place of those that are made.")
    flags.DEFINE_enum("store", "jpeg", ["jpeg", "video"], "How frames are stored.")
    flags.DEFINE_integer("cores", 96, "Of a host.", lower_bound=1)
    flags.DEFINE_bool("markdown", False, "Prints Markdown tables.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
