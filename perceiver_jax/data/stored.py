"""Sets that TFDS stored as ArrayRecord: found on disk, and read without TensorFlow."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, require

FORMAT = "array_record"  # TFDS's format whose examples can be read in any order.
_NAMED = 10  # Sets that are listed where one is not there.
_READERS = 16  # Threads that look at files.


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
            f"{what} is not in {where}{reason}. {_others(where, field)}If it is elsewhere, give "
            f"--config.{field}. {mend(where)}"
        ) from error


def remove_unfinished(data_dir: Path, name: str, version: str) -> None:
    """Takes away what TFDS had written of a set when it was killed."""
    for left in (data_dir / name).glob(f"*incomplete*{version}*"):
        shutil.rmtree(left, ignore_errors=True)


def _others(where: str, field: str) -> str:
    """Says which sets are in a folder, where there are some."""
    root = Path(where).expanduser()
    levels = ("*/*/dataset_info.json", "*/*/*/dataset_info.json")  # name/[config/]version
    found = {info.relative_to(root).parts[0] for level in levels for info in root.glob(level)}
    if not found:
        return ""
    shown = ", ".join(sorted(found)[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
    name = f"--config.{field.removesuffix('data_dir')}name"
    return f"There is: {shown}; {name} names one of them. "


def check_shards(builder: Any, split: str, what: str) -> None:
    """Makes sure that a split's files are there and whole, before anything is computed.

    Looks at the end of each file, where it says how many examples it has: a copy that was cut short
    has no end. What is damaged in the middle shows when it is read.

    Args:
      builder: of `find_builder`.
      split: as TFDS calls it.
      what: begins messages, as there.

    Raises:
      DataError: a file is missing, empty or cut short; names the first of them.
    """
    info = builder.info.splits[split]
    shards = list(zip(info.filepaths, info.shard_lengths, strict=True))
    with ThreadPoolExecutor(_READERS) as pool:  # A disk that is far away answers many at once.
        wrong = [each for each in pool.map(_wrong, shards) if each is not None]
    if not wrong:
        return
    more = f" {len(wrong):,} of the split's {len(shards):,} files are damaged." * (len(wrong) > 1)
    raise DataError(
        f"{what} is damaged, in the split {split!r}: {wrong[0]}.{more} Copy the set anew from "
        f"where it is whole; or take {builder.data_dir} away, and prepare it anew (docs/data.md)."
    )


def _wrong(shard: tuple[Any, int]) -> str | None:
    """Says what is wrong with a file that shall have so many examples."""
    from array_record.python.array_record_module import ArrayRecordReader

    path, count = shard
    try:
        if not path.stat().length:
            return f"{path} is empty"
        # Closed when it is collected; to close it is an error itself where there is no end.
        found = ArrayRecordReader(os.fspath(path)).num_records()
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, RuntimeError, ValueError) as error:
        return f"{path} cannot be read ({_first_line(error)})"
    if found != count:
        return f"{path} is cut short, or no file of this set: {found:,} of {count:,} examples"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
          CorruptExample: its bytes are not those that were written.
          DataError: a file has gone, or cannot be read.
        """
        if not 0 <= index < self.count:
            raise IndexError(f"example {index} of {self.count}")
        try:
            records = self._records
        except Exception as error:  # It could be opened, or there were no split.
            raise self._gone(index, error) from error
        try:
            return records[self.first + int(index)]
        except (OSError, RuntimeError) as error:  # As array_record raises them.
            if "Corrupted" in str(error):  # TFDS writes each example as a chunk of its own.
                raise CorruptExample(f"{self.place(index)}: {_first_line(error)}") from error
            raise self._gone(index, error) from error

    def _gone(self, index: int, error: Exception) -> DataError:
        return DataError(
            f"{self.place(index)} cannot be read ({_first_line(error)}). Has the set been moved or "
            "deleted? Copy or prepare it anew."
        )

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
