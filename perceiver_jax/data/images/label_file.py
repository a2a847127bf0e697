"""Label files: which folder is which class.

Text, a line for each class, in the order of the labels from 0, with or without a name to show:

    n01440764 tench
    n01443537 goldfish, Carassius auratus

or JSON, from the folder's name to its label:

    {"n01440764": 0, "n01443537": 1}
"""

import dataclasses
import json
import os
from collections.abc import Sequence

from perceiver_jax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Labels:
    """The classes, in the order of the labels."""

    folders: tuple[str, ...]  # Of each class, its folder's name.
    names: tuple[str, ...]  # Of each class, the name to show.
    origin: str = "train/"  # Where this is from, for messages.

    @classmethod
    def in_order(cls, folders: Sequence[str]) -> "Labels":
        """Labels folders as they come, with their own names."""
        return cls(tuple(folders), tuple(folders))


def read_labels(path: str) -> Labels:
    """Reads a label file.

    Raises:
      DataError: it is missing, is neither kind, or names a class or a label twice; with the line.
    """
    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.images.label_file={path} cannot be read: {error}. It should be text or JSON; "
            "without one, labels follow the names of the folders in train/."
        ) from error
    is_json = text.lstrip().startswith(("{", "["))
    return _from_json(text, path) if is_json else _from_lines(text, path)


def _from_lines(text: str, path: str) -> Labels:
    folders: dict[str, str] = {}  # To the names to show.
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        folder, _, name = line.strip().partition(" ")
        if folder in folders:
            raise DataError(f"{path}, line {number}: the class {folder!r} comes a second time.")
        folders[folder] = name.strip() or folder
    if not folders:
        raise DataError(f"{path} is empty; it should have a line for each class: FOLDER NAME.")
    return Labels(tuple(folders), tuple(folders.values()), path)


def _from_json(text: str, path: str) -> Labels:
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no valid JSON: {error}.") from error
    wanted = f'{path} must be an object from folder names to labels, {{"n01440764": 0, ...}}'
    if not isinstance(labels, dict) or not labels:
        raise DataError(f"{wanted}; it is {'empty' if not labels else 'a list'}.")
    for folder, label in labels.items():
        if not isinstance(label, int) or isinstance(label, bool):
            raise DataError(f"{wanted}; {folder!r} has {label!r}.")
    ordered = sorted(labels, key=lambda folder: labels[folder])
    if [labels[folder] for folder in ordered] != list(range(len(ordered))):
        raise DataError(
            f"{wanted}, each label from 0 to {len(labels) - 1} once; the {len(labels)} classes "
            f"have {sorted(labels.values())[:10]}" + (", ..." if len(labels) > 10 else "") + "."
        )
    return Labels(tuple(ordered), tuple(ordered), path)
