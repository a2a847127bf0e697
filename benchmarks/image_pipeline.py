"""How long each step of ImageNet's training pipeline takes on one core, beside decoding alone.

    python -m benchmarks.image_pipeline --images=2000

The images are real photographs of ImageNet's usual sizes, cut from the two that scikit-learn ships,
as JPEGs. Everything is the default of `ImagesConfig`: crop, flip, RandAugment, bicubic resizing to
224 x 224, normalisation.
"""

import io
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.decode import decode
from perceiver_jax.data.images.normalize import normalize
from perceiver_jax.data.images.resize import resize
from perceiver_jax.errors import run_main

_FLAGS = flags.FLAGS

_SIZES = ((500, 375), (500, 333), (375, 500), (500, 400))  # Width and height.
_QUALITY = 95
_DECODING_AND_RESIZING = ("decode", "to array", "resize")


def make_files(count: int) -> list[bytes]:
    """Returns JPEGs of different parts of the two photographs."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images  # [427, 640, 3]
    files = []
    for number in range(count):
        width, height = _SIZES[number % len(_SIZES)]
        piece = photographs[number % 2][: min(height, 427), 37 * number % 140 :][:, :width]
        buffer = io.BytesIO()
        Image.fromarray(piece).resize((width, height)).save(buffer, "JPEG", quality=_QUALITY)
        files.append(buffer.getvalue())
    return files


class Clock:
    """Adds up the time that steps take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, step: str, function: Callable[[], Any]) -> Any:
        """Returns what `function` returns."""
        start = time.perf_counter()
        result = function()
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start
        return result


def one(data: ImagesConfig, file: bytes, rng: np.random.Generator, clock: Clock) -> np.ndarray:
    """`ImagesConfig.augment`, step by step."""
    assert data.crop is not None and data.randaugment is not None
    image = clock("decode", lambda: decode(file, "image"))
    box = clock("crop", lambda: data.crop.draw(image.width, image.height, rng))
    image = clock("crop", lambda: image.crop(box))
    if rng.integers(2):
        image = clock("flip", lambda: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    image = clock("randaugment", lambda: data.randaugment(image, rng))
    pixels = clock("to array", lambda: np.asarray(image))
    resized = clock("resize", lambda: resize(pixels, data.size, data.resize))
    return clock("normalise", lambda: normalize(resized, data.mean, data.stddev))


def main(argv: Sequence[str]) -> None:
    """Prints a table."""
    data, files, rng = ImagesConfig(), make_files(32), np.random.default_rng(0)
    count = _FLAGS.images
    for number in range(count):  # The matrices of all sizes are made once.
        one(data, files[number % len(files)], rng, Clock())
    clock = Clock()
    for number in range(count):
        found = one(data, files[number % len(files)], rng, clock)
        assert found.shape == (*data.size, 3)
    start = time.perf_counter()
    for number in range(count):
        Image.open(io.BytesIO(files[number % len(files)])).load()
    alone = count / (time.perf_counter() - start)
    total = sum(clock.seconds.values())
    print(f"{count} JPEGs of {np.mean([len(file) for file in files]) / 1000:.0f} kB on average")
    for step, seconds in clock.seconds.items():
        print(f"{step:12} {seconds / count * 1e3:6.3f} ms  {seconds / total:4.0%}")
    share = sum(clock.seconds[step] for step in _DECODING_AND_RESIZING) / total
    print(f"{count / total:.0f} images/s on one core; decoding and resizing are {share:.0%} of it")
    print(f"Pillow alone decodes {alone:.0f} images/s")


if __name__ == "__main__":
    flags.DEFINE_integer("images", 2000, "Images to measure with.", lower_bound=1)
    run_main(main)
