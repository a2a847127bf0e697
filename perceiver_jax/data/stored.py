"""Sets that TFDS stored as ArrayRecord: found on disk, and read without TensorFlow."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perceiver_jax.errors import DataError, require

FORMAT = "array_record"  # TFDS's format whose examples can be read in any order.


def as_text(name: str) -> str:
    """Returns a file's name as text, which is stored and printed; names may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def find_builder(
    name: str, data_dir: str | None, *, what: str, field: str, mend: Callable[[str], str]
) -> Any:
    """Finds a set on disk.

    Args:
      name: as TFDS calls it.
      data_dir: where it is; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.
      what: begins messages, such as "The set 'modelnet40'".
      field: the field of the config that says where it is.
      mend: from where sets were looked for to how this one is made.

    Returns:
      TFDS's read-only builder of it.

    Raises:
      DataError: it is not there.
      UserError: tensorflow-datasets or array-record is not installed.
    """
    require("tensorflow_datasets", purpose=what, pip_name="tensorflow-datasets")
    require("array_record", purpose=what, pip_name="array-record")
    import tensorflow_datasets as tfds

    data_dir = None if data_dir is None else os.path.expanduser(data_dir)
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
        where = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        missing = isinstance(error, tfds.core.DatasetNotFoundError)
        reason = "" if missing else f" ({str(error).splitlines()[0]})"
        raise DataError(
            f"{what} is not in {where}{reason}. If it is elsewhere, give --config.{field}. "
            f"{mend(where)}"
        ) from error


def remove_unfinished(data_dir: Path, name: str, version: str) -> None:
    """Takes away what TFDS had written of a set when it was killed."""
    for left in (data_dir / name).glob(f"*incomplete*{version}*"):
        shutil.rmtree(left, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class StoredSplit:
    """A split of a set, or a part of one; picklable, and the base of sources.

    The files are opened when an example is first asked for, in each process by itself.
    """

    directory: str  # Of the set's files.
    split: str  # As TFDS calls it.
    class_names: tuple[str, ...]  # In the order of the labels; all classes of the set.
    first: int  # The first of the split's examples that belongs to this part.
    count: int  # How many do.

    def __len__(self) -> int:
        return self.count

    def place(self, index: int) -> str:
        """Says where an example is stored: folder, split and number."""
        return f"{self.directory}, {self.split} {self.first + int(index)}"

    def stored(self, index: int) -> Any:
        """Returns what is stored of an example: a dictionary by feature, unless `_records` differ.

        Raises:
          IndexError: there is no such example.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        return self._records[self.first + int(index)]

    @functools.cached_property
    def _records(self) -> Any:
        return self._open()

    def _open(self) -> Any:
        """Opens the records of the whole split."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self.directory)
        return builder.as_data_source(split=self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
