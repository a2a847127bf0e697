"""What a set of image files is: pictures of any size with labels, before anything is done to them.

A set is described by a frozen dataclass (`ImageSet`: a folder, a TFDS set, a package's file), which
opens a split as `RawImages`. Cropping, augmentation and normalisation come later and are the same
for every set: see config.py.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from perceiver_jax.data.splits import HoldOut

if TYPE_CHECKING:
    from PIL import Image

HOLD_OUT = HoldOut("data.images.hold_out", "images")  # The field that all sets of images have.

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
          split: one of `perceiver_jax.data.splits.SPLITS`.
          channels: 3, images of mode "RGB"; or 1, of mode "L".

        Raises:
          DataError: the set has no such split, or is missing or incomplete, with the mend.
          UserError: a package is missing.
        """


def as_raw_example(image: "Image.Image", label: int) -> RawExample:
    """Returns an image and its label as `RawImages` give them."""
    return {"image": image, "label": np.int32(label)}
