"""metrics.jsonl: one line for each logged step and each evaluation.

    {"step": 40, "split": "train", "loss": 0.31, ..., "timing": {"examples_per_second": ...}}

What stands under "timing" differs from run to run; all else is a function of (config, seed, step).
After a restart the file is cut back to the step that was restored, so that it ends up the same as
that of a run without interruption.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.checkpoints.failures import describe
from perceiver_jax.errors import CheckpointError


class MetricsFile:
    """Appends entries; each is on its way to the disk before `write` returns.

    Where the disk is full, entries wait in memory for the next write, and the user is told.
    """

    def __init__(
        self,
        path: Path,
        *,
        last_step: int,
        read_only: bool = False,
        check: Callable[[], None] = lambda: None,
        report: Callable[[str], None] = print,
    ):
        """Opens the file and drops what lies after `last_step`, and lines cut off in writing.

        Args:
          path: the file; made if need be.
          last_step: the last step whose entries are still true.
          read_only: keeps new entries to itself, as processes other than the first do.
          check: called before every write; raises where the work directory has vanished.
          report: takes a line for the user.

        Raises:
          CheckpointError: the file cannot be written.
        """
        self.path = path
        self.entries = [entry for entry in read_metrics(path) if entry["step"] <= last_step]
        self._check = check
        self._report = report
        self._unwritten = b""
        self._told = False
        self._descriptor: int | None = None
        if read_only:
            return
        check()
        try:
            self._open()
        except OSError as error:
            raise self._refused(error) from error

    def write(
        self,
        step: int,
        split: str,
        values: Mapping[str, float],
        timing: Mapping[str, float],
    ) -> None:
        """Appends one entry.

        Raises:
          CheckpointError: the file has vanished, or cannot be written any more.
        """
        entry = {"step": step, "split": split, **values, "timing": dict(timing)}
        self.entries.append(entry)
        if self._descriptor is None:
            return
        self._unwritten += _line(entry).encode()
        try:
            self._flush()
        except OSError as error:
            failure = describe(error)
            if failure.lasting:
                raise self._refused(error) from error
            if not self._told:
                self._report(
                    f"{self.path} cannot be written: {failure.reason}. {failure.mend} Training "
                    "goes on; what is to be written waits."
                )
            self._told = True

    def has(self, step: int, split: str) -> bool:
        """Says whether there is an entry for this step and split."""
        return any(entry["step"] == step and entry["split"] == split for entry in self.entries)

    def sync(self) -> None:
        """Makes sure that all entries survive a power failure, ahead of a checkpoint.

        Raises:
          OSError: some of them cannot be written.
          CheckpointError: the file has vanished.
        """
        if self._descriptor is not None:
            self._flush()
            os.fsync(self._descriptor)

    def complete(self) -> None:
        """Makes sure, at the end of a run, that all entries are on the disk.

        Raises:
          CheckpointError: some of them cannot be written.
        """
        try:
            self.sync()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        """Writes all entries to a new file, which takes the old one's place."""
        content = "".join(map(_line, self.entries)).encode()
        replacement = self.path.with_name(self.path.name + ".tmp")
        replacement.write_bytes(content)
        os.replace(replacement, self.path)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        # Not before: while the file cannot be made, the old descriptor says that it is to be.
        self.close()
        self._descriptor = descriptor
        self._size = len(content)  # What is whole; a line cut off by a full disk is cut away.
        self._unwritten = b""

    def _flush(self) -> None:
        assert self._descriptor is not None
        self._check()
        if os.fstat(self._descriptor).st_nlink == 0:  # Deleted: all is still known here.
            self._open()
        try:
            rest = memoryview(self._unwritten)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(self._unwritten)
        self._unwritten, self._told = b"", False

    def _refused(self, error: OSError) -> CheckpointError:
        failure = describe(error)
        return CheckpointError(
            f"{self.path} cannot be written: {failure.reason}. {failure.mend} Then run the same "
            "command again; it goes on from the newest checkpoint."
        )


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"
