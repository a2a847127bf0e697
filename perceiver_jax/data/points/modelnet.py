"""ModelNet40, ModelNet10 and sets of one's own in their layout, as labelled clouds of points.

prepare.py samples the meshes and stores the clouds, once; here they are read, without TensorFlow.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_jax.data.images.prepare import FORMAT
from perceiver_jax.errors import ConfigError, DataError, require

SPLITS = ("train", "valid", "test")  # "valid" is held out of train; there is one if asked for.

Cloud = Mapping[str, Any]  # {"points": float32 [points, 3], as stored, "label": np.int32}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelNetConfig:
    """A set that `python -m perceiver_jax.data.points.prepare` has made, of any number of classes.

    Splits: "train" and "test" are the set's own; "valid" is the first `hold_out` training clouds as
    they are stored. They are stored in the order of a hash of their names, so these are drawn at
    random from all classes (each has about its share: they are not counted out by class), and are
    the same ones on every machine, whatever the number of points and the seed. (The published forms
    of ModelNet40 name their files in different ways; so of each form it is other ones.)
    """

    name: str = "modelnet40"  # As the set was named when it was made.
    data_dir: str | None = None  # Where it is; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.
    hold_out: int = 0  # So many training clouds are not trained on, but are the split "valid".

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("data.points.name is empty; name a set, such as modelnet40.")
        if self.hold_out < 0:
            raise ConfigError(
                f"data.points.hold_out={self.hold_out} must be 0 or the number of training clouds "
                "to keep back."
            )

    def open(self, split: str) -> "Clouds":
        """Opens a split: "train", "valid" or "test".

        Raises:
          DataError: no such split, or the set is missing or is none of clouds, with the command
            that makes it.
          UserError: tensorflow-datasets or array-record is not installed.
        """
        if split not in SPLITS:
            raise DataError(f"{self._what} has no split {split!r}; it has: {', '.join(SPLITS)}.")
        builder = self._builder()
        first, count = 0, builder.info.splits["test" if split == "test" else "train"].num_examples
        if split == "valid" and not self.hold_out:
            raise DataError(
                f"{self._what} holds no training clouds out, so there is no split 'valid'; say how "
                "many with --config.data.points.hold_out=N."
            )
        if split != "test" and self.hold_out >= count:
            raise DataError(
                f"data.points.hold_out={self.hold_out} must leave some of the {count} training "
                f"clouds of the set {self.name!r} to train on."
            )
        if split == "valid":
            count = self.hold_out
        elif split == "train":
            first, count = self.hold_out, count - self.hold_out
        return Clouds(
            directory=os.fspath(builder.data_dir),
            split="test" if split == "test" else "train",
            class_names=tuple(builder.info.features["label"].names),
            num_points=builder.info.features["points"].shape[0],
            first=first,
            count=count,
        )

    @property
    def _what(self) -> str:
        return f"The set {self.name!r}"

    def _builder(self) -> Any:
        """Finds the set on disk."""
        require("tensorflow_datasets", purpose=self._what, pip_name="tensorflow-datasets")
        require("array_record", purpose=self._what, pip_name="array-record")
        import tensorflow_datasets as tfds

        data_dir = None if self.data_dir is None else os.path.expanduser(self.data_dir)
        where = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        try:
            builder = tfds.core.read_only_builder.builder_from_files(self.name, data_dir=data_dir)
        except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
            missing = isinstance(error, tfds.core.DatasetNotFoundError)
            reason = "" if missing else f" ({str(error).splitlines()[0]})"
            raise DataError(
                f"{self._what} is not in {where}{reason}. If it is elsewhere, give "
                "--config.data.points.data_dir. Make it once, of the downloaded archive or its "
                "folder, with the packages of the extras data and meshes (docs/data.md says "
                f"more):\n\n    {command(self.name, where)}\n"
            ) from error
        features, stored = builder.info.features, builder.info.file_format
        points, label = (
            features[name] if name in features else None for name in ("points", "label")
        )
        if not (
            isinstance(points, tfds.features.Tensor)
            and points.shape[1:] == (3,)
            and isinstance(label, tfds.features.ClassLabel)
            and {"train", "test"} <= set(builder.info.splits)
            and stored is not None
            and stored.value == FORMAT
        ):
            raise DataError(
                f"{self._what} in {builder.data_dir} is none of labelled clouds: its features are "
                f"{', '.join(features)}, and its splits {', '.join(builder.info.splits)}. Name "
                "one that perceiver_jax.data.points.prepare made."
            )
        return builder


@dataclasses.dataclass(frozen=True)
class Clouds:
    """A split, or a part of one: a picklable `perceiver_jax.data.source.Source`.

    An example is {"points": float32 [num_points, 3], "label": int32}: coordinates as they are in
    the mesh, neither centred nor scaled, in random order, so that the first n are a uniform subset.
    The files are opened when an example is first asked for, in each process by itself.
    """

    directory: str  # Of the set's files.
    split: str  # "train" or "test".
    class_names: tuple[str, ...]  # In the order of the labels; all classes of the set.
    num_points: int  # Of each cloud, as stored.
    first: int  # The first of the split's examples that belongs to this part.
    count: int  # How many do.

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Cloud:
        record = self._record(index)
        # A copy, which may be written to.
        return {"points": np.array(record["points"]), "label": np.int32(record["label"])}

    def describe(self, index: int) -> str:
        """Says where a cloud is stored, and of which file it was made."""
        name = self._record(index)["name"].decode(errors="replace")
        return f"{self.directory}, {self.split} {self.first + int(index)} ({name})"

    def _record(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        return self._records[self.first + int(index)]

    @functools.cached_property
    def _records(self) -> Any:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self.directory)
        return builder.as_data_source(split=self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def command(name: str, data_dir: str) -> str:
    """Returns the command that makes a set, for messages."""
    source = {"modelnet40": "ModelNet40.zip", "modelnet10": "ModelNet10.zip"}.get(name, "FOLDER")
    return (
        f"python -m perceiver_jax.data.points.prepare --source={source} --name={name} "
        f"--data_dir={data_dir}"
    )
