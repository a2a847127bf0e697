"""Image classification sets of TensorFlow Datasets, read without TensorFlow.

TFDS writes a set once, with TensorFlow (docs/data.md has the command). In the format ArrayRecord
its examples can be read in any order, and that needs neither TensorFlow nor TFDS's code for it.
Images are decoded by decode.py, as those of every other set.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from perceiver_jax.data.images import prepare
from perceiver_jax.data.images.decode import check_channels, decode
from perceiver_jax.data.images.raw import (
    HOLD_OUT,
    RawExample,
    as_raw_example,
)
from perceiver_jax.data.splits import check_split
from perceiver_jax.data.stored import FORMAT, StoredSplit, check_shards, find_builder
from perceiver_jax.errors import ConfigError, DataError

# The features that are read. `file_name` is shown in messages, and not every set has it.
_READ = ("image", "label", "file_name")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsConfig:
    """A set of TFDS that has an image and a label: imagenet2012, imagenette, cifar10, ...

    Splits: "train"; "test", which is the set's "validation", or its "test" if it has no other (the
    papers' results are on ImageNet's validation images); and "valid", the first `hold_out` training
    images as they are stored. TFDS shuffles them when it writes them, so they are of all classes.
    """

    name: str = "imagenet2012"  # As TFDS calls it: NAME, NAME/CONFIG, NAME:VERSION.
    data_dir: str | None = None  # Where it is; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.
    hold_out: int = 0  # So many training images are not trained on, but are the split "valid".
    test_split: str | None = None  # What TFDS calls the split to test on; None: see above.
    exif: bool = False  # Turn images as the camera noted; the released models did not.

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError(
                "data.images.name is empty; name a set of TFDS, such as imagenet2012."
            )
        HOLD_OUT.check_field(self.hold_out)

    def open(self, split: str, channels: int) -> "TfdsImages":
        """Opens a split; see `perceiver_jax.data.images.raw.ImageSet`.

        Raises:
          DataError: no such split, or the set is missing, is in a format without random access, or
            has no image and label; with the command that prepares it.
          UserError: tensorflow-datasets or array-record is not installed.
        """
        check_channels(channels, "channels")
        check_split(split, self._what)
        builder = self._builder()
        train = "train"
        stored = train if split != "test" else self._test_split(builder)
        if stored not in builder.info.splits:
            raise DataError(
                f"{self._what} in {builder.data_dir} has no split {stored!r}; it has: "
                f"{', '.join(builder.info.splits)}. "
                + ("" if stored == train else "Choose one with --config.data.images.test_split.")
            )
        count, first = builder.info.splits[stored].num_examples, 0
        if stored == train:  # Also where training images are tested on.
            HOLD_OUT.check(self.hold_out, split, count, self._what)
            first, count = HOLD_OUT.part(self.hold_out, split, count)
        check_shards(builder, stored, self._what)
        return TfdsImages(
            directory=os.fspath(builder.data_dir),
            split=stored,
            class_names=self._class_names(builder),
            first=first,
            count=count,
            channels=channels,
            exif=self.exif,
        )

    @property
    def _what(self) -> str:
        return f"The TFDS set {self.name!r}"

    def _builder(self) -> Any:
        """Finds the set on disk."""
        builder = find_builder(
            self.name,
            self.data_dir,
            what=self._what,
            field="data.images.data_dir",
            mend=self._command,
        )
        found = builder.info.file_format
        if found is None or found.value != FORMAT:
            data_dir = None if self.data_dir is None else os.path.expanduser(self.data_dir)
            raise DataError(
                f"{self._what} in {builder.data_dir} is stored as "
                f"{found.value if found else 'an unknown format'}, whose examples cannot be read "
                f"in any order; {FORMAT} is needed. "
                f"Take it away. {self._command(data_dir or _root_of(builder))}"
            )
        return builder

    def _command(self, data_dir: str) -> str:
        """Says how to prepare the set."""
        return (
            "Prepare it once, with the packages of the extras data and tensorflow (docs/data.md "
            f"says more):\n\n    {prepare.command(self.name, data_dir)}\n"
        )

    def _test_split(self, builder: Any) -> str:
        if self.test_split is not None:
            return self.test_split
        return "validation" if "validation" in builder.info.splits else "test"

    def _class_names(self, builder: Any) -> tuple[str, ...]:
        import tensorflow_datasets as tfds

        features = builder.info.features
        image, label = (features[name] if name in features else None for name in ("image", "label"))
        if not isinstance(image, tfds.features.Image) or not isinstance(
            label, tfds.features.ClassLabel
        ):
            raise DataError(
                f"{self._what} is none of image classification: its features are "
                f"{', '.join(features)}; an 'image' and a 'label' with classes are needed."
            )
        return tuple(label.names)


@dataclasses.dataclass(frozen=True)
class TfdsImages(StoredSplit):
    """A split, or a part of one; see `perceiver_jax.data.images.raw.RawImages`."""

    channels: int  # 3 or 1.
    exif: bool  # See TfdsConfig.

    def __getitem__(self, index: int) -> RawExample:
        record = self._record(index)
        label = int(record["label"])
        where = self._name(record, index)
        if not 0 <= label < len(self.class_names):
            raise DataError(
                f"{where} has the label {label}: the split {self.split!r} has no labels to test "
                "on. Choose another with --config.data.images.test_split."
            )
        image = decode(record["image"], where, channels=self.channels, exif=self.exif)
        return as_raw_example(image, label)

    def describe(self, index: int) -> str:
        """Says where an image is stored: folder, split, number and the original file's name."""
        return self._name(self._record(index), index)

    def _record(self, index: int) -> dict[str, Any]:
        features, decoders = self._read_as
        return features.deserialize_example_np(self.stored(index), decoders=decoders)

    def _name(self, record: dict[str, Any], index: int) -> str:
        stored = record.get("file_name", b"")
        if isinstance(stored, np.ndarray):
            stored = stored.item()
        name = stored.decode(errors="replace") if isinstance(stored, bytes) else str(stored)
        return f"{self.place(index)} ({name})" if name else self.place(index)

    def _open(self) -> Any:
        """Opens the records as bytes: what else a set has costs nothing."""
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self.directory).as_data_source(
            split=self.split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )

    @functools.cached_property
    def _read_as(self) -> tuple[Any, Any]:
        """The features that are read of a record, and how they are decoded."""
        import tensorflow_datasets as tfds

        features = tfds.builder_from_directory(self.directory).info.features
        read = {name: features[name] for name in _READ if name in features}
        return tfds.features.FeaturesDict(read), {"image": tfds.decode.SkipDecoding()}


def _root_of(builder: Any) -> str:
    """The data_dir that a set's folder is in: the part before NAME/."""
    root, _, _ = os.fspath(builder.data_dir).rpartition(f"/{builder.name}/")
    return root or os.fspath(builder.data_dir)
