"""metrics.jsonl: one line for each logged step and each evaluation.

    {"step": 40, "split": "train", "loss": 0.31, ..., "timing": {"examples_per_second": ...}}

What stands under "timing" differs from run to run; all else is a function of (config, seed, step).
After a restart the file is cut back to the step that was restored, so that it ends up the same as
that of a run without interruption.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO


class MetricsFile:
    """Appends entries; each is on its way to the disk before `write` returns."""

    def __init__(self, path: Path, *, last_step: int, read_only: bool = False):
        """Opens the file and drops what lies after `last_step`, and lines cut off in writing.

        Args:
          path: the file; made if need be.
          last_step: the last step whose entries are still true.
          read_only: keeps new entries to itself, as processes other than the first do.
        """
        self.entries = [entry for entry in read_metrics(path) if entry["step"] <= last_step]
        self._file: TextIO | None = None
        if read_only:
            return
        text = "".join(_line(entry) for entry in self.entries)
        replacement = path.with_name(path.name + ".tmp")
        replacement.write_text(text)
        os.replace(replacement, path)
        self._file = path.open("a")

    def write(
        self,
        step: int,
        split: str,
        values: Mapping[str, float],
        timing: Mapping[str, float],
    ) -> None:
        """Appends one entry."""
        entry = {"step": step, "split": split, **values, "timing": dict(timing)}
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(_line(entry))
            self._file.flush()

    def has(self, step: int, split: str) -> bool:
        """Says whether there is an entry for this step and split."""
        return any(entry["step"] == step and entry["split"] == split for entry in self.entries)

    def sync(self) -> None:
        """Makes sure that all entries survive a power failure, ahead of a checkpoint."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of a metrics file in order; lines that are no entries are left out."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the process was killed while it wrote this line
        if isinstance(entry, dict) and isinstance(entry.get("step"), int) and "split" in entry:
            entries.append(entry)
    return entries


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"
