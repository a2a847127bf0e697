"""What inputs a user names: files, and folders that are searched to the bottom."""

import os
import unicodedata
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from perceiver_jax.data.stored import as_text
from perceiver_jax.errors import DataError

_ENDS_A_LINE = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and separators.


def find_files(
    paths: Iterable[str | Path],
    suffixes: Collection[str],
    one: str,
    several: str,
    fits: Callable[[Path], bool] = lambda path: True,
) -> tuple[list[Path], list[str]]:
    """Lists files: those given, and all of a kind in folders and the folders in them.

    What is of the kind in a folder is told from the suffix and by `fits`; hidden files and folders
    are left out. Files that were named are taken as they are.

    Args:
      paths: files and folders.
      suffixes: of the kind, in lower case, with the dot.
      one: its name: "image".
      several: the name of more than one: "images".
      fits: looks into a file of a folder that has one of the suffixes.

    Returns:
      The files, sorted within each folder, and notes about what was skipped.

    Raises:
      DataError: something does not exist, or a folder has no file of the kind.
    """
    found: list[Path] = []
    notes: list[str] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DataError(f"there is no file or folder {path}.")
        if not path.is_dir():
            found.append(path)
            continue
        files = sorted(
            file
            for file in path.rglob("*")
            if file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        kept = [file for file in files if file.suffix.lower() in suffixes and fits(file)]
        if not kept:
            rest = f"only {_count(len(files), 'other file')}" if files else "nor any other file"
            raise DataError(f"the folder {path} has no {one}, {rest}.")
        if len(kept) < len(files):
            taken = set(kept)
            others = [file.name for file in files if file not in taken]
            shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
            are = f"that is no {one}" if len(others) == 1 else f"that are no {several}"
            notes.append(f"{path}: skipped {_count(len(others), 'file')} {are} ({shown})")
        found += kept
    return found, notes


def shown(path: str | Path) -> str:
    """Returns a path as text in one line, whatever is in it: names may be any bytes but two."""
    return "".join(
        repr(each)[1:-1] if unicodedata.category(each) in _ENDS_A_LINE else each
        for each in as_text(os.fspath(path))
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
