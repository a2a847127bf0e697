"""The files of a folder or of a zip file, by the same names."""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from perceiver_jax.data.source import decoding
from perceiver_jax.errors import DataError

_DEEPEST = 6  # Folders in folders; all known sets have four at most.
_NOISE = ("__macosx", "thumbs.db", "desktop.ini")  # Left by file managers; hidden files likewise.


@dataclasses.dataclass(frozen=True)
class Archive:
    """A folder, or a zip file; picklable: each process opens the zip file by itself."""

    path: str

    @classmethod
    def at(cls, path: str) -> "Archive":
        """Returns the archive at a path.

        Raises:
          DataError: there is nothing, or a file that is no whole zip file.
        """
        path = os.path.expanduser(path)
        if not os.path.exists(path):
            raise DataError(f"there is no {path}; name the downloaded zip file, or its folder.")
        if not os.path.isdir(path) and not zipfile.is_zipfile(path):
            raise DataError(
                f"{path} is no zip file, or one that was not downloaded to its end. Get it again, "
                "or name the folder that it was unpacked to."
            )
        return cls(path)

    def names(self) -> list[str]:
        """Returns all files but hidden ones, sorted: "ModelNet10/bed/train/bed_0001.off"."""
        if os.path.isdir(self.path):
            found = _walk(self.path, "", _DEEPEST)
        else:
            found = (info.filename for info in self._zip.infolist() if not info.is_dir())
        return sorted({name for name in found if not _is_noise(name)})

    def read(self, name: str) -> bytes:
        """Returns what is in a file.

        Raises:
          CorruptExample: that part of the zip file is damaged.
          DataError: the file is gone, may not be read, or the disk fails.
        """
        if os.path.isdir(self.path):
            with _reading(self.path, name), open(os.path.join(self.path, name), "rb") as file:
                return file.read()
        bad = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
        with decoding(f"{self.path}, {name}", *bad):
            return self._zip.read(name)

    def open(self, name: str) -> BinaryIO:
        """Opens a file for reading in any order.

        Raises:
          CorruptExample, DataError: see `read`.
        """
        if os.path.isdir(self.path):
            with _reading(self.path, name):
                return open(os.path.join(self.path, name), "rb")
        return io.BytesIO(self.read(name))

    def fingerprint(self) -> str:
        """Returns a short text that changes with the names or the sizes of the files.

        Raises:
          DataError: a file is gone, such as a link to nothing.
        """
        sizes = {name: self._size(name) for name in self.names()}
        text = "\n".join(f"{size} {name}" for name, size in sizes.items())
        return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()

    def _size(self, name: str) -> int:
        if not os.path.isdir(self.path):
            return self._zip.getinfo(name).file_size
        with _reading(self.path, name):
            return os.stat(os.path.join(self.path, name)).st_size

    @functools.cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}


@contextlib.contextmanager
def _reading(folder: str, name: str) -> Iterator[None]:
    """Says which file it is that cannot be read."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name} in {folder} cannot be read: {error.strerror or error}. Take it away, or put "
            "right its permissions or what it is a link to."
        ) from error


def _walk(root: str, inside: str, depth: int) -> Iterator[str]:
    """Lists files, through links as well: a set may be put together of links."""
    with os.scandir(os.path.join(root, inside)) as entries:
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if not entry.is_dir():
                yield name
            elif depth and not _is_noise(entry.name):
                yield from _walk(root, name, depth - 1)


def _is_noise(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _NOISE for part in name.split("/"))
