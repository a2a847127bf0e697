"""What a command tells: lines for people, or one JSON object per input for machines."""

import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from perceiver_jax.errors import EXIT_USER_ERROR, UserError
from perceiver_jax.infer.files import shown

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
        print(f"Wrote {shown(path)}", file=stream, flush=True)

    def note(self, text: str) -> None:
        """Tells something that is no result."""
        print(text, file=self._stderr, flush=True)

    def failure(self, error: Exception) -> None:
        """Tells that one input failed, while others go on; the exit code will not be 0."""
        self.failures.append(str(error))
        print(f"error: {error}", file=self._stderr, flush=True)

    def end(self) -> None:
        """Tells how many inputs were done, where one of several failed."""
        done, failed = len(self.records), len(self.failures)
        if failed and done + failed > 1:
            self.note(f"{done:,} done, {failed:,} failed")

    def require_out_dir(self, purpose: str) -> Path:
        """Returns the folder for files, made if need be, or asks the user for it.

        Args:
          purpose: what would be written there: "The pictures".

        Raises:
          UserError: no folder was named, or nothing can be written there.
        """
        if self.out_dir is None:
            raise UserError(f"{purpose} need a folder: give --out_dir=FOLDER.")
        self.check_out_dir()
        try:
            self.out_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--out_dir={self.out_dir} cannot be made: {error.strerror}; name another folder."
            ) from error
        return self.out_dir

    def check_out_dir(self) -> None:
        """Checks that the folder for files can be written to or made, but does not make it.

        Cheap: to be called before work that would be lost.

        Raises:
          UserError: a folder was named, and it or what it would lie in is no writable folder.
        """
        if self.out_dir is None:
            return
        existing = self.out_dir.absolute()
        while not os.path.lexists(existing):
            existing = existing.parent
        named = f"--out_dir={self.out_dir}"
        if not existing.is_dir():
            what = "is" if existing == self.out_dir.absolute() else f"lies in {existing}, which is"
            raise UserError(f"{named} {what} a file, not a folder; name a folder.")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(
                f"{named} cannot be written to: no permission for {existing}; name another folder."
            )

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
