"""What a set of image files is: pictures of any size with labels, before anything is done to them.

A set is described by a frozen dataclass (`ImageSet`: a folder, a TFDS set, a package's file), which
opens a split as `RawImages`. Cropping, augmentation and normalisation come later and are the same
for every set: see config.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from perceiver_jax.errors import ConfigError, DataError

if TYPE_CHECKING:
    from PIL import Image

# "valid" is a part of the training images that is held out; there is one only if asked for.
SPLITS = ("train", "valid", "test")

RawExample = Mapping[str, Any]  # {"image": PIL.Image.Image of mode "RGB" or "L", "label": np.int32}


@runtime_checkable
class RawImages(Protocol):
    """One split of a set of images: a `perceiver_jax.data.source.Source`.

    Picklable, with little in memory: reader processes get a copy each. What cannot be pickled, such
    as an open file, is opened when it is first needed.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the labels; all classes of the set."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int) -> RawExample:
        """Returns an image, decoded, of its own size, and its label.

        Raises:
          CorruptExample: the file is damaged; names it.
        """

    def describe(self, index: int) -> str:
        """Says where an image is stored: its path, or the set, the split and the record."""


@runtime_checkable
class ImageSet(Protocol):
    """Where images come from: a frozen dataclass."""

    def open(self, split: str, channels: int) -> RawImages:
        """Opens a split.

        Args:
          split: one of `SPLITS`.
          channels: 3, images of mode "RGB"; or 1, of mode "L".

        Raises:
          DataError: the set has no such split, or is missing or incomplete, with the mend.
          UserError: a package is missing.
        """


def as_raw_example(image: "Image.Image", label: int) -> RawExample:
    """Returns an image and its label as `RawImages` give them."""
    return {"image": image, "label": np.int32(label)}


def check_split(split: str, what: str) -> None:
    """Refuses what is no split.

    Raises:
      DataError: names those that there are; `what` begins the message.
    """
    if split not in SPLITS:
        raise DataError(f"{what} has no split {split!r}; it has: {', '.join(SPLITS)}.")


def check_hold_out(hold_out: int, split: str, num_train: int, what: str) -> None:
    """Checks how many of a set's training images are held out, for a split that is opened.

    Raises:
      DataError: more than there are, or `split` is "valid" and there are none.
    """
    if split == "valid" and not hold_out:
        raise DataError(
            f"{what} holds no training images out, so there is no split 'valid'; say how many with "
            "--config.data.images.hold_out=N."
        )
    if hold_out >= num_train:
        raise DataError(
            f"data.images.hold_out={hold_out} must leave some of the {num_train} training images "
            f"of {what.replace('The ', 'the ', 1)} to train on."
        )


def check_hold_out_field(hold_out: int) -> None:
    """Checks the field of a config by itself.

    Raises:
      ConfigError: it is negative.
    """
    if hold_out < 0:
        raise ConfigError(
            f"data.images.hold_out={hold_out} must be 0 or the number of training images to keep "
            "back."
        )
