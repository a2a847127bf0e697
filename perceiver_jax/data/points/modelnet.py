"""ModelNet40, ModelNet10 and sets of one's own in their layout, as labelled clouds of points.

prepare.py samples the meshes and stores the clouds, once; here they are read, without TensorFlow.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_jax.data.splits import HoldOut, check_split
from perceiver_jax.data.stored import FORMAT, StoredSplit, check_shards, find_builder
from perceiver_jax.errors import ConfigError, DataError

_HOLD_OUT = HoldOut("data.points.hold_out", "clouds")

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
        _HOLD_OUT.check_field(self.hold_out)

    def open(self, split: str) -> "Clouds":
        """Opens a split: "train", "valid" or "test".

        Raises:
          DataError: no such split, or the set is missing or is none of clouds, with the command
            that makes it.
          UserError: tensorflow-datasets or array-record is not installed.
        """
        check_split(split, self._what)
        builder = self._builder()
        stored = "test" if split == "test" else "train"
        count = builder.info.splits[stored].num_examples
        if stored == "train":
            _HOLD_OUT.check(self.hold_out, split, count, self._what)
        first, count = _HOLD_OUT.part(self.hold_out, split, count)
        check_shards(builder, stored, self._what)
        return Clouds(
            directory=os.fspath(builder.data_dir),
            split=stored,
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
        builder = find_builder(
            self.name,
            self.data_dir,
            what=self._what,
            field="data.points.data_dir",
            mend=self._mend,
        )
        import tensorflow_datasets as tfds

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

    def _mend(self, where: str) -> str:
        """Says how the set is made."""
        return (
            "Make it once, of the downloaded archive or its folder, with the packages of the "
            f"extras data and meshes (docs/data.md says more):\n\n    {command(self.name, where)}\n"
        )


@dataclasses.dataclass(frozen=True)
class Clouds(StoredSplit):
    """A split, or a part of one: a picklable `perceiver_jax.data.source.Source`.

    An example is {"points": float32 [num_points, 3], "label": int32}: coordinates as they are in
    the mesh, neither centred nor scaled, in random order, so that the first n are a uniform subset.
    """

    num_points: int  # Of each cloud, as stored.

    def __getitem__(self, index: int) -> Cloud:
        record = self.stored(index)
        # A copy, which may be written to.
        return {"points": np.array(record["points"]), "label": np.int32(record["label"])}

    def describe(self, index: int) -> str:
        """Says where a cloud is stored, and of which file it was made."""
        name = self.stored(index)["name"].decode(errors="replace")
        return f"{self.place(index)} ({name})"


def command(name: str, data_dir: str) -> str:
    """Returns the command that makes a set, for messages."""
    source = {"modelnet40": "ModelNet40.zip", "modelnet10": "ModelNet10.zip"}.get(name, "FOLDER")
    return (
        f"python -m perceiver_jax.data.points.prepare --source={source} --name={name} "
        f"--data_dir={data_dir}"
    )
