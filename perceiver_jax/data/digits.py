"""Scikit-learn's handwritten digits: 1,797 real grey images of 8 x 8 pixels, in the package.

Pen digits of 43 people (UCI "Optical Recognition of Handwritten Digits", its test part), ten
classes. Nothing is downloaded.
"""

import dataclasses
import functools

import numpy as np

from perceiver_jax import errors
from perceiver_jax.data.source import Example

_SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitsConfig:
    """The digits data set. Splits: "train" (1,437 images) and "test" (360).

    The test split is a stratified fifth, and always the same one:
    `sklearn.model_selection.train_test_split(test_size=0.2, stratify=labels, random_state=0)`.
    """

    max_shift: int = 0  # Augmentation: shift by up to this many pixels each way; 0: none.
    digits: tuple[int, ...] = tuple(range(10))  # Which digits; labels count from 0 in this order.
    train_images_per_digit: int | None = None  # The first so many of each; None: all.

    def __post_init__(self) -> None:
        if not self.digits or len({*self.digits} & {*range(10)}) < len(self.digits):
            raise errors.ConfigError(
                f"data.digits={self.digits} must be different digits from 0 to 9, at least one."
            )
        if self.train_images_per_digit is not None and self.train_images_per_digit < 1:
            raise errors.ConfigError(
                f"data.train_images_per_digit={self.train_images_per_digit} must be at least 1; "
                "none takes all."
            )
        if not 0 <= self.max_shift < 8:
            raise errors.ConfigError(
                f"data.max_shift={self.max_shift} must lie in [0, 8): the images are 8 x 8."
            )

    def make_source(self, split: str) -> "DigitsSource":
        """Opens a split.

        Raises:
          DataError: a split other than "train" and "test".
          UserError: scikit-learn is not installed.
        """
        if split not in _SPLITS:
            raise errors.DataError(
                f"The digits data set has no split {split!r}; it has: {', '.join(_SPLITS)}."
            )
        images, labels = _load()[split]
        most = self.train_images_per_digit if split == "train" else None
        if self.digits == tuple(range(10)) and most is None:
            return DigitsSource(images, labels)
        rows = [np.flatnonzero(labels == digit)[:most] for digit in self.digits]
        new = np.repeat(np.arange(len(rows), dtype=np.int32), [len(each) for each in rows])
        order = np.argsort(np.concatenate(rows))  # As they come in the file.
        return DigitsSource(images[np.concatenate(rows)[order]], new[order])

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Shifts the image by up to `max_shift` pixels each way; background moves in."""
        if not self.max_shift:
            return example
        size = 2 * self.max_shift + 1
        down, right = divmod(int(rng.integers(size**2)), size)
        image = shift(example["image"], down - self.max_shift, right - self.max_shift)
        return {**example, "image": image}

    def class_names(self) -> tuple[str, ...]:
        """Returns the digits as text, in the order of the labels."""
        return tuple(map(str, self.digits))

    def picture(self, example: Example) -> np.ndarray:
        """Returns the image as uint8 [8, 8, 1], the ink bright as in the data."""
        return np.rint((example["image"] + 1.0) * 127.5).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class DigitsSource:
    """Digits in memory. An example is {"image": [8, 8, 1] float32 in [-1, 1], "label": int32}."""

    images: np.ndarray  # [n, 8, 8, 1] float32
    labels: np.ndarray  # [n] int32

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Example:
        return {"image": self.images[index], "label": self.labels[index]}


def shift(
    image: np.ndarray,  # [H, W, C]
    down: int,
    right: int,
    background: float = -1.0,
) -> np.ndarray:  # [H, W, C]
    """Moves an image by whole pixels; what leaves is lost, `background` comes in."""
    height, width = image.shape[:2]
    shifted = np.full_like(image, background)
    shifted[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return shifted


@functools.cache
def _load() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns (images, labels) by split, in the order of the package's file."""
    errors.require("sklearn", purpose="The digits data set", pip_name="scikit-learn")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 8.0 - 1.0).astype(np.float32)[..., None]  # 0..16 -> -1..1
    labels = digits.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    return {
        name: (images[np.sort(rows)], labels[np.sort(rows)])
        for name, rows in (("train", train), ("test", test))
    }
