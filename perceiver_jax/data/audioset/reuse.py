"""Recordings of another set that is made of the same files: copied, and not decoded again.

Sets grow: whoever has fetched another thousand clips makes a second set of all of them. What takes
long is decoding; a recording that is in the first set already is copied out of it.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perceiver_jax.data.audioset.audioset import Recordings
from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.described import made_of_file
from perceiver_jax.data.audioset.records import SPLITS
from perceiver_jax.data.conversion.parts import digest
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, UserError


def made_of(clip: Clip, root: str) -> str:
    """Returns a digest of which part of which files a recording is; labels are not in it.

    Files are equal whose names, sizes and times (s) are: sound that is not packed is as large after
    it is made louder. Empty: a file is not there.
    """
    texts = []
    try:
        for path in (clip.path, *clip.others):
            found = os.stat(os.path.join(root, path))
            texts.append(f"{path} {found.st_size} {int(found.st_mtime)}")
    except OSError:
        return ""
    segment = clip.segment
    return digest((*texts, f"{segment.id} {segment.start} {segment.end} {clip.cut} {clip.skip}"))


def note(clip: Clip, root: str, remarks: Sequence[str], spare: Mapping[str, str]) -> str:
    """Returns the line of `made_of_file` on a recording: of what it is made, and what is odd.

    Args:
      clip: the recording's.
      root: the folder that it is in.
      remarks: on it.
      spare: files that it is not made of; see `perceiver_jax.data.audioset.clips.spare`.
    """
    return f"{made_of(clip, root)} {json.dumps({'remarks': list(remarks), 'spare': dict(spare)})}"


@dataclasses.dataclass(frozen=True)
class Copy:
    """Where a recording is in the other set."""

    split: str
    index: int  # Among the split's recordings.
    remarks: tuple[str, ...]  # On it.
    spare: Mapping[str, str]  # Files that it is not made of, and why.


def check_reusable(folder: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """Refuses a set whose recordings cannot be copied; see `find_copies`.

    Returns:
      Its metadata.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
        for split in SPLITS:
            if split in metadata:
                (folder / made_of_file(split)).stat()
    except (OSError, ValueError) as error:
        raise DataError(
            f"--reuse: {folder} is no set whose recordings can be copied ({error}). Name one that "
            "this version of the program has made in the same --data_dir."
        ) from error
    if differing := [key for key in made if metadata.get(key) != made[key]]:
        told = " and ".join(f"--{key}={metadata[key]}" for key in differing if key in metadata)
        raise DataError(f"--reuse: {folder} is made with {told}. Give the same, or no --reuse.")
    return metadata


def find_copies(
    folder: Path, clips: Sequence[Clip], root: str, made: Mapping[str, Any]
) -> dict[int, Copy]:
    """Looks for the recordings of clips in another set.

    Args:
      folder: of the other set: DATA/NAME/VERSION.
      clips: what is looked for.
      root: the folder that they are in.
      made: how recordings are to be made: what metadata.json has of it.

    Returns:
      Those that there are, by the numbers of their clips.

    Raises:
      DataError: there is no such set, or its recordings are made in another way.
    """
    metadata = check_reusable(folder, made)
    lists = {
        split: (folder / made_of_file(split)).read_text("utf-8").split("\n")
        for split in SPLITS
        if split in metadata
    }
    known = {}
    for split, lines in lists.items():
        for index, line in enumerate(lines):
            mark, _, told = line.partition(" ")
            if mark:
                known[mark] = split, index, told
    found = {}
    for number, clip in enumerate(clips):
        if there := known.get(made_of(clip, root)):
            split, index, told = there
            found[number] = Copy(split, index, **_told(json.loads(told)))
    return found


def _told(noted: Any) -> dict[str, Any]:
    """What a line says beside of what a recording is made; once that was remarks alone."""
    told = noted if isinstance(noted, dict) else {"remarks": noted, "spare": {}}
    return {"remarks": tuple(told["remarks"]), "spare": told["spare"]}


class OtherSet:
    """Reads the recordings of another set."""

    def __init__(self, folder: str):
        self._folder = folder
        self._splits: dict[str, Recordings] = {}

    def record(self, copy: Copy, clip: Clip) -> dict[str, Any]:
        """Returns a recording as `features` encodes it, with the labels that the clip has now.

        Raises:
          DataError: it cannot be read.
        """
        if copy.split not in self._splits:
            lines = (Path(self._folder) / made_of_file(copy.split)).read_text("utf-8")
            opened = Recordings(self._folder, copy.split, (), 0, lines.count("\n"))
            self._splits[copy.split] = opened
        try:
            stored = self._splits[copy.split].stored(copy.index)
        except (CorruptExample, UserError, OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"--reuse: recording {copy.index} to {copy.split} on of {self._folder} cannot be "
                f"read ({str(error).splitlines()[0]}). Without --reuse all clips are decoded."
            ) from error
        return {**stored, "labels": list(clip.segment.labels)}
