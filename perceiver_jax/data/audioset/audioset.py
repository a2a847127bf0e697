"""AudioSet, and sets of one's own in its layout, as recordings with labels.

prepare.py decodes the clips and stores the recordings, once; here they are read, without
TensorFlow.
"""

import dataclasses
import functools
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.data.audioset.jpeg import SHORTER_SIDE
from perceiver_jax.data.audioset.records import Fingerprint, fingerprint, ids_file, to_example
from perceiver_jax.data.source import decoding
from perceiver_jax.data.splits import HoldOut, check_split
from perceiver_jax.data.stored import FORMAT, StoredSplit, check_shards, find_builder
from perceiver_jax.errors import ConfigError, DataError, require

_HOLD_OUT = HoldOut("data.recordings.hold_out", "recordings")

_OTHER_FILES = 512  # That a process may have open beside the shards.

# {"id": str, "label": float32 [classes], 0 or 1} and what the recording has of
# {"audio": int16 [samples], "frames": list of JPEG files, or "video": EncodedVideo}
Example = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingsConfig:
    """A set that `python -m perceiver_jax.data.audioset.prepare` has made, of any classes.

    Splits: "train" and "test" are the set's own (of AudioSet, the balanced and unbalanced lists,
    and the evaluation list); "valid" is the first `hold_out` training recordings as they are
    stored: in the order of a hash of their ids, so that these are drawn at random.
    """

    name: str = "audioset"  # As the set was named when it was made.
    data_dir: str | None = None  # Where it is; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.
    hold_out: int = 0  # So many training recordings are not trained on, but are the split "valid".

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("data.recordings.name is empty; name a set, such as audioset.")
        _HOLD_OUT.check_field(self.hold_out)

    def open(self, split: str) -> "Recordings":
        """Opens a split: "train", "valid" or "test".

        Raises:
          DataError: no such split, or the set is missing or is none of recordings, with the command
            that makes it.
          UserError: tensorflow-datasets or array-record is not installed.
        """
        check_split(split, self._what)
        builder = self._builder()
        stored = "test" if split == "test" else "train"
        if stored not in builder.info.splits:
            raise DataError(
                f"{self._what} in {builder.data_dir} has no recordings to {stored} on: it was made "
                "without such a list."
            )
        count = builder.info.splits[stored].num_examples
        if stored == "train":
            _HOLD_OUT.check(self.hold_out, split, count, self._what)
        first, count = _HOLD_OUT.part(self.hold_out, split, count)
        check_shards(builder, stored, self._what)
        return Recordings(
            directory=os.fspath(builder.data_dir),
            split=stored,
            class_names=tuple(builder.info.features["labels"].feature.names),
            first=first,
            count=count,
            has_video=(builder.info.metadata or {}).get("store") != "none",
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
            field="data.recordings.data_dir",
            mend=self._mend,
        )
        import tensorflow_datasets as tfds

        found, stored = builder.info.features, builder.info.file_format
        if not (
            {"id", "labels", "audio", "frames", "video"} <= set(found)
            and isinstance(getattr(found["labels"], "feature", None), tfds.features.ClassLabel)
            and stored is not None
            and stored.value == FORMAT
        ):
            raise DataError(
                f"{self._what} in {builder.data_dir} is none of recordings: its features are "
                f"{', '.join(found)}. Name one that perceiver_jax.data.audioset.prepare made."
            )
        return builder

    def _mend(self, where: str) -> str:
        """Says how the set is made."""
        return (
            "Make it once, of the lists and a folder with the clips, with the packages of the "
            f"extras data and media (docs/data.md says more):\n\n    {command(self.name, where)}\n"
        )


@dataclasses.dataclass(frozen=True)
class Recordings(StoredSplit):
    """A split, or a part of one: a picklable `perceiver_jax.data.source.Source`.

    An example is {"id": str, "label": float32 [classes]} with "audio" (int16 [samples], one channel
    at 48 kHz) and "frames" (a list of JPEG files, 25 a second) or, where video was stored as it is,
    "video" (`perceiver_jax.data.media.encoded.EncodedVideo`). What a recording does not have, or
    what was not stored, is not in its example. Frame k is shown from sample 1,920 k on.
    `read_frames` decodes either form.
    """

    has_video: bool = True  # Whether the set was made with frames or video, where clips have them.

    def __getitem__(self, index: int) -> Example:
        return to_example(self.stored(index), len(self.class_names))

    def describe(self, index: int) -> str:
        """Says where a recording is stored, and of which file it was made."""
        name = self.stored(index)["file"].decode(errors="replace")
        return f"{self.place(index)} ({name})"

    @property
    def ids(self) -> tuple[str, ...]:
        """The recordings' ids, in order."""
        path = Path(self.directory) / ids_file(self.split)
        try:
            ids = path.read_text(encoding="utf-8").split()
        except OSError as error:
            raise DataError(
                f"{path}, which lists the recordings, cannot be read "
                f"({error.strerror or error}); it belongs to the set."
            ) from error
        return tuple(ids[self.first : self.first + self.count])

    @functools.cached_property
    def fingerprint(self) -> Fingerprint:
        """The number of recordings and a hash of their ids: belongs to every result."""
        return fingerprint(self.ids)

    def ids_digest(self) -> str:
        """Returns that hash; see `perceiver_jax.data.source.KnowsIds`."""
        return self.fingerprint.ids

    def _open(self) -> Any:
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self.directory)
        allow_open_files(builder.info.splits[self.split].num_shards)
        return builder.as_data_source(split=self.split)


def allow_open_files(count: int) -> None:
    """Lets this process have more open files, as far as it may: shards stay open once read."""
    try:
        import resource
    except ImportError:  # Not on Windows.
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def num_frames(example: Example) -> int:
    """How many frames a recording has at 25 a second; 0 without video."""
    if "video" in example:
        return example["video"].num_frames
    return len(example.get("frames", ()))


def read_frames(example: Example, first: int, count: int) -> list[np.ndarray]:
    """Decodes some consecutive frames of a recording, in whichever form they are stored.

    Args:
      example: of `Recordings`.
      first: the first frame, from 0.
      count: how many; fewer are returned where the video ends.

    Returns:
      Pictures [y, x, 3], uint8 RGB, with a shorter side of 256 at most; one that is shown several
      times is the same array.

    Raises:
      CorruptExample: what is stored is damaged; names the recording.
    """
    if first < 0 or count < 0:
        raise ValueError(f"frames {first} to {first + count} of a recording")
    where = f"recording {example['id']}"
    if "video" in example:
        with decoding(where, DataError):
            # As pictures are stored: however recordings are, a model reads the same of them.
            return list(example["video"].frames(first, count, where, SHORTER_SIDE))
    pictures: list[np.ndarray] = []
    last = None
    for data in example.get("frames", ())[first : first + count]:
        # One that is shown again, as of 12 frames a second every other one, is decoded once.
        pictures.append(pictures[-1] if data == last else _picture(data, where))
        last = data
    return pictures


def _picture(data: bytes, where: str) -> np.ndarray:
    require("PIL", purpose="Reading frames", pip_name="pillow")
    from PIL import Image

    with decoding(where, OSError, ValueError, SyntaxError):
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def command(name: str, data_dir: str) -> str:
    """Returns the command that makes a set, for messages."""
    return (
        "python -m perceiver_jax.data.audioset.prepare "
        "--segments=balanced_train_segments.csv,unbalanced_train_segments.csv "
        "--eval_segments=eval_segments.csv --classes=class_labels_indices.csv --clips=FOLDER "
        f"--name={name} --data_dir={data_dir}"
    )
