"""Small files cut from the two real photographs that scikit-learn ships, made when a test runs."""

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@functools.cache
def _photographs() -> tuple[np.ndarray, ...]:
    from sklearn.datasets import load_sample_images

    return tuple(load_sample_images().images)  # Two of [427, 640, 3], uint8.


def photo(number: int = 0, width: int = 61, height: int = 47) -> Image.Image:
    """A piece of a photograph; each number is another piece."""
    whole = _photographs()[number % 2]
    top = number * 53 % (whole.shape[0] - height)
    left = number * 89 % (whole.shape[1] - width)
    return Image.fromarray(whole[top : top + height, left : left + width])


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def write_tree(root: Path, counts: dict[str, int], *, test_folder: str = "val") -> Path:
    """Writes an image folder: so many training images of each class, and two to test on."""
    number = 0
    for name, count in counts.items():
        for split, images in (("train", count), (test_folder, 2)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(images):
                number += 1
                width, height = 31 + 7 * (number % 5), 29 + 11 * (number % 3)
                data = encoded(photo(number, width, height))
                (folder / f"{name}_{i}.JPEG").write_bytes(data)
    return root
