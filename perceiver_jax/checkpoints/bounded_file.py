"""A file that is not trusted: the sizes in it are checked before anything is allocated.

`pickle_reader` reads through it. All errors are of one line, and say at which byte.
"""

import codecs
import os
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from perceiver_jax.checkpoints import aligned
from perceiver_jax.errors import CheckpointError

MAX_NAME = 4_096  # Bytes; of a name of a parameter, that is, or of a function.

_PIECE = 1 << 18  # Long text is decoded in pieces of this many bytes.
_SHOWN = 80  # Characters of a foreign name that a message shows.


class BoundedFile:
    """A binary file that is read from its start to its end.

    Attributes:
      path: where it is; for messages.
      size: its bytes.
      position: how many have been read.
      start: where the operation starts that is under way; for messages. The reader keeps it.
    """

    def __init__(self, path: Path, file: BinaryIO):
        self.path = path
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self.start = 0
        self._file = file

    def damaged(self, what: str) -> NoReturn:
        """Raises an error: the file makes no sense, for the reason `what`."""
        raise CheckpointError(
            f"{self.path} is damaged, or is not a DeepMind checkpoint: at byte {self.start}, "
            f"{what}. Download it again."
        )

    def expect(self, condition: bool, what: str) -> None:
        """Raises an error unless `condition`: there is something else than `what`."""
        if not condition:
            self.damaged(f"there should be {what}")

    def refuse(self, what: str, mend: str = "") -> NoReturn:
        """Raises an error: the file asks for `what`, which no checkpoint needs."""
        raise CheckpointError(
            f"{self.path} is refused: at byte {self.start} it asks for {what}, which no file of "
            "arrays needs. Nothing in it was run. "
            + (mend or "It is damaged, or is not a DeepMind checkpoint; do not open it elsewhere.")
        )

    def need(self, count: int) -> None:
        """Raises an error unless the file has `count` more bytes."""
        if count > (left := self.size - self.position):
            raise CheckpointError(
                f"{self.path} ends too early: at byte {self.position}, {count} more "
                f"{'byte' if count == 1 else 'bytes'} should follow, and {left} do. The file is "
                "not complete: download it again."
            )

    def read(self, count: int) -> bytes:
        """Reads `count` bytes, a few."""
        self.need(count)
        data = self._file.read(count)
        if len(data) < count:
            self._was_cut(len(data), count)
        self.position += count
        return data

    def read_number(self, size: int, *, signed: bool = False) -> int:
        """Reads an integer of `size` bytes, the lowest first."""
        return int.from_bytes(self.read(size), "little", signed=signed)

    def read_line(self) -> str:
        """Reads a name that ends with its line, at most `MAX_NAME` bytes."""
        data = self._file.readline(min(MAX_NAME, self.size - self.position))
        self.position += len(data)
        if not data.endswith(b"\n"):
            self.need(1)
            self.damaged(f"a name is longer than {MAX_NAME} bytes")
        return data[:-1].decode("latin-1")

    def read_array(self, count: int) -> np.ndarray:
        """Reads `count` bytes straight into memory of their own: uint8 [count]."""
        self.need(count)
        data = aligned.empty(count)
        view, done = data.data, 0
        while done < count:
            # Buffered files have it; typing's BinaryIO does not say so.
            step = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not step:
                self._was_cut(done, count)
            done += step
        self.position += count
        return data

    def read_name(self, count: int) -> str:
        """Reads a name of `count` bytes."""
        self.expect(count <= MAX_NAME, f"a name of at most {MAX_NAME} bytes")
        try:
            return self.read(count).decode()
        except UnicodeDecodeError:
            self.damaged("a name is not UTF-8")

    def read_latin1(self, count: int) -> np.ndarray:
        """Reads bytes that were written as text, byte 255 as U+00FF: uint8, at most [count].

        In pieces, so that no more is held than the bytes and a piece.
        """
        self.need(count)
        data = aligned.empty(count)  # What is never written to takes no memory.
        decoder = codecs.getincrementaldecoder("utf-8")()
        end, filled = self.position + count, 0
        while self.position < end:
            piece = self.read(min(_PIECE, end - self.position))
            try:
                latin1 = decoder.decode(piece, final=self.position == end).encode("latin-1")
            except UnicodeError:
                self.damaged("text that stands for bytes has other characters")
            data[filled : filled + len(latin1)] = np.frombuffer(latin1, np.uint8)
            filled += len(latin1)
        return data[:filled]

    def _was_cut(self, done: int, count: int) -> NoReturn:
        """The file became shorter while it was read."""
        self.size = self.position + done
        self.need(count)
        raise AssertionError("It has become longer again.")


def shown(name: str) -> str:
    """A name from a file for a message: of one line, and not long."""
    text = name if name.isascii() and name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
