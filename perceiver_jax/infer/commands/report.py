"""What a command tells: lines for people, or one JSON object per input for machines."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from perceiver_jax.errors import EXIT_USER_ERROR, UserError

EXIT_SOME_FAILED = 1


class Report:
    """Collects and prints what a command finds.

    With `output="json"`, stdout has one JSON object a line and nothing else; notes, failures and
    names of files go to stderr.
    """

    def __init__(
        self,
        *,
        output: Literal["text", "json"] = "text",
        out_dir: Path | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ):
        self.output = output
        self.out_dir = out_dir  # Where pictures and files go; None if the user named no folder.
        self.records: list[dict[str, Any]] = []  # What `result` was given.
        self.files: list[Path] = []  # What `file` was given.
        self.failures: list[str] = []  # What `failure` was given.
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr

    def result(self, record: Mapping[str, Any], text: str) -> None:
        """Tells what was found for one input.

        Args:
          record: JSON values; NumPy's and paths are converted, NaN and infinity become null.
          text: the same for people, one or more lines.
        """
        plain = _plain(record)
        self.records.append(plain)
        line = json.dumps(plain, allow_nan=False) if self.output == "json" else text
        print(line, file=self._stdout, flush=True)

    def file(self, path: Path | str) -> None:
        """Names a file that was written."""
        self.files.append(Path(path))
        stream = self._stderr if self.output == "json" else self._stdout
        print(f"Wrote {path}", file=stream, flush=True)

    def note(self, text: str) -> None:
        """Tells something that is no result."""
        print(text, file=self._stderr, flush=True)

    def failure(self, error: Exception) -> None:
        """Tells that one input failed, while others go on; the exit code will not be 0."""
        self.failures.append(str(error))
        print(f"error: {error}", file=self._stderr, flush=True)

    def require_out_dir(self, purpose: str) -> Path:
        """Returns the folder for files, or asks the user for it.

        Args:
          purpose: what would be written there: "The pictures".
        """
        if self.out_dir is None:
            raise UserError(f"{purpose} need a folder: give --out_dir=FOLDER.")
        return self.out_dir

    @property
    def exit_code(self) -> int:
        """0; 1 if some inputs failed; 2 if all did, as for any mistake in what was given."""
        if not self.failures:
            return 0
        return EXIT_SOME_FAILED if self.records or self.files else EXIT_USER_ERROR


def _plain(value: Any) -> Any:
    """Returns `value` as what JSON knows."""
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers.
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
