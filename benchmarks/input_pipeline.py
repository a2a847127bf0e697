"""Images a second of the input pipeline, stage by stage, on one core.

    python -m benchmarks.input_pipeline [--images=64] [--repeats=7] [--quality=90] [--markdown]

Reads JPEG files of about ImageNet's size (500 x 375 pixels, quality 90), and makes of each what
`ImagesConfig` makes of it in training: the released ImageNet recipe at 224 x 224. Every stage is a
call of the pipeline's own parts; all of them together are compared with `ImagesConfig.augment`,
which must give the same pixels. Beside it stands what Pillow's decoder does alone, on the same
bytes in the same rounds. Medians of the rounds, in one thread; other programs slow it down.

The photographs are those that scikit-image ships, cut and scaled down to that size. They are not
ImageNet's: how long a file takes to decode depends on what is in it. The table gives the mean size
of the files; ImageNet's training images have 115 kB on average (1,281,167 in a tar of 147.9 GB).
"""

import dataclasses
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.decode import decode
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.images.normalize import normalize
from perceiver_jax.data.images.photos import load_photos
from perceiver_jax.data.images.resize import resize
from perceiver_jax.errors import UserError, run_main
from perceiver_jax.report import tables

SIZE = (500, 375)  # Width and height: the most common size in ImageNet.
TARGET = 0.6  # Share of decoding and resizing that the augmentation must leave them.

_HEADER = ("stage", "ms/image", "images/s", "share")

Array = np.ndarray
Stage = Callable[[Any, np.random.Generator], Any]  # What the stage before made, to what it makes.


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured, in seconds an image: medians over rounds."""

    stages: dict[str, float]  # By name, in order.
    whole: float  # `ImagesConfig.augment` with reading and decoding, as the trainer calls it.
    pillow: float  # Pillow's decoder alone.
    images: int  # Images in a round.
    repeats: int  # Rounds.
    file_size: float  # Mean of the files, in bytes.
    quality: int  # Of the JPEG files.

    @property
    def total(self) -> float:
        """All stages together."""
        return sum(self.stages.values())

    def share(self, *names: str) -> float:
        """What part of the time some stages take."""
        return sum(self.stages[name] for name in names) / self.total


def write_images(folder: Path, count: int, quality: int) -> FolderConfig:
    """Writes an ImageFolder of JPEG files of ImageNet's usual size.

    Args:
      folder: where to.
      count: how many images, over all photographs that are large enough.
      quality: of the JPEG files.

    Returns:
      The folder as a data set.
    """
    from PIL import Image

    photos = [
        (name, photo)
        for name, photo in load_photos().items()
        if photo.shape[1] >= SIZE[0] and photo.shape[0] >= SIZE[1]
    ]
    rng = np.random.default_rng(0)
    for number in range(count):
        name, photo = photos[number % len(photos)]
        image = Image.fromarray(photo).convert("RGB")
        # Never enlarged: blurred images would be small files, and fast to decode.
        scale = rng.uniform(1.0, min(image.width / SIZE[0], image.height / SIZE[1]))
        width, height = int(SIZE[0] * scale), int(SIZE[1] * scale)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        cut = image.resize(SIZE, Image.Resampling.LANCZOS, (left, top, left + width, top + height))
        for split in ("train", "val"):
            path = folder / split / name / f"{number:04}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            if split == "train" or number < len(photos):
                cut.save(path, "JPEG", quality=quality)
    return FolderConfig(path=str(folder))


def stages(config: ImagesConfig) -> dict[str, Stage]:
    """The pipeline's parts by name, in the order of `ImagesConfig.augment`.

    The first takes a path, the last returns what goes into a batch.
    """
    from PIL import Image

    def read(path: str, rng: np.random.Generator) -> tuple[bytes, str]:
        with open(path, "rb") as file:
            return file.read(), path

    def decoded(data: tuple[bytes, str], rng: np.random.Generator) -> Image.Image:
        return decode(*data, channels=config.channels)

    def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        assert config.crop is not None
        image = image.crop(config.crop.draw(image.width, image.height, rng))
        if config.flip and rng.integers(2):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image

    def augmented(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        assert config.randaugment is not None
        return config.randaugment(image, rng)

    def resized(image: Image.Image, rng: np.random.Generator) -> Array:
        return resize(np.asarray(image), config.size, config.resize)

    def normalized(image: Array, rng: np.random.Generator) -> Array:
        return normalize(image, config.mean, config.stddev)

    return {
        "read": read,
        "decode": decoded,
        "crop and flip": cropped,
        "RandAugment": augmented,
        "resize": resized,
        "normalise": normalized,
    }


BATCH = "batch"  # The last stage: examples to one array.


def measure(config: ImagesConfig, repeats: int, quality: int) -> Result:
    """Times the pipeline over all training images, round after round.

    Args:
      config: the recipe; its images lie in a folder.
      repeats: rounds, after one that is not counted.
      quality: of the files, for the record.

    Raises:
      RuntimeError: the stages do not make what `ImagesConfig.augment` makes.
    """
    source = config.make_training_source()
    paths = [source.describe(index) for index in range(len(source))]
    parts = stages(config)
    rounds: dict[str, list[float]] = {name: [] for name in (*parts, BATCH, "whole", "pillow")}
    for number in range(repeats + 1):
        seconds, made = _staged(parts, paths, number)
        started = time.perf_counter()
        whole = np.stack([_augmented(config, source, i, number) for i in range(len(paths))])
        seconds["whole"] = time.perf_counter() - started
        if not np.array_equal(made, whole):
            raise RuntimeError("the stages that are timed do not make what the pipeline makes")
        seconds["pillow"] = _pillow(paths)
        for name, value in seconds.items():
            if number:  # The first round fills caches of the file system and of the resizing.
                rounds[name].append(value / len(paths))
    median = {name: statistics.median(values) for name, values in rounds.items()}
    return Result(
        stages={name: median[name] for name in (*parts, BATCH)},
        whole=median["whole"],
        pillow=median["pillow"],
        images=len(paths),
        repeats=repeats,
        file_size=statistics.mean(os.path.getsize(path) for path in paths),
        quality=quality,
    )


def _staged(
    parts: dict[str, Stage], paths: Sequence[str], number: int
) -> tuple[dict[str, float], Array]:
    """Seconds by stage over all images, and what came out. Each image goes through all stages."""
    seconds = dict.fromkeys(parts, 0.0)
    made = []
    for index, path in enumerate(paths):
        rng, value = _rng(number, index), path
        for name, stage in parts.items():
            started = time.perf_counter()
            value = stage(value, rng)
            seconds[name] += time.perf_counter() - started
        made.append(value)
    started = time.perf_counter()
    batch = np.stack(made)
    seconds[BATCH] = time.perf_counter() - started
    return seconds, batch


def _augmented(config: ImagesConfig, source: Any, index: int, number: int) -> Array:
    return config.augment(source[index], _rng(number, index))["image"]


def _pillow(paths: Sequence[str]) -> float:
    """Seconds that Pillow takes to decode all files, whose bytes are read before."""
    from PIL import Image

    files = [Path(path).read_bytes() for path in paths]
    started = time.perf_counter()
    for data in files:
        Image.open(io.BytesIO(data)).load()
    return time.perf_counter() - started


def _rng(number: int, index: int) -> np.random.Generator:
    """What an image of a round draws from; stages and the whole draw alike."""
    return np.random.default_rng((number, index))


def render(result: Result, *, markdown: bool) -> str:
    """The table, and what it says about the target."""
    rows = [
        _row(name, seconds, f"{result.share(name):.0%}") for name, seconds in result.stages.items()
    ]
    rows += [
        _row("all stages", result.total, "100%"),
        _row("as the trainer calls it", result.whole, ""),
        _row("Pillow's decoder alone", result.pillow, f"{result.pillow / result.total:.0%}"),
    ]
    table = tables.render(_HEADER, rows, right=_HEADER[1:], markdown=markdown)
    main = result.share("decode", "resize")
    verdict = "reached" if main >= TARGET else "missed"
    return (
        f"{result.images} files of {SIZE[0]} x {SIZE[1]} pixels and {result.file_size / 1000:.0f} "
        f"kB (photographs of scikit-image, JPEG quality {result.quality}), median of "
        f"{result.repeats} rounds, one thread.\n\n{table}\n\nDecoding and resizing take {main:.0%} "
        f"of the time; the target of at least {TARGET:.0%} is {verdict}."
    )


def _row(name: str, seconds: float, share: str) -> list[str]:
    return [name, f"{1000 * seconds:.2f}", f"{1 / seconds:,.0f}", share]


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given.core if given.core >= 0 else min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        config = ImagesConfig(images=write_images(Path(folder), given.images, given.quality))
        result = measure(config, given.repeats, given.quality)
        print(render(result, markdown=given.markdown))


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    flags.DEFINE_integer("images", 64, "How many files.", lower_bound=10)
    flags.DEFINE_integer("repeats", 7, "Timed rounds over all files.", lower_bound=1)
    flags.DEFINE_integer("quality", 90, "Of the JPEG files.", lower_bound=1, upper_bound=100)
    flags.DEFINE_integer("core", -1, "The core to run on; the first one that is allowed if -1.")
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
