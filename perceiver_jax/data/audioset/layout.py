"""Writes lists in AudioSet's form, for folders that are made of what packages ship.

`perceiver_jax.data.audioset.labels` reads them; the names of the files are those of
asterisk.py and medley.py.
"""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

CLASSES = "class_labels_indices.csv"
RECORDINGS = "recordings.csv"  # Which file was made of which, and what else is known of it.
SPLITS = ("train", "eval")


@dataclasses.dataclass(frozen=True)
class Listed:
    """A line of a list of segments."""

    id: str  # 11 characters.
    start: float  # Seconds.
    end: float
    mids: tuple[str, ...]  # Of its classes: "/asterisk/en"

    def __str__(self) -> str:
        return f'{self.id}, {self.start:.3f}, {self.end:.3f}, "{",".join(self.mids)}"\n'


def write_lists(
    folder: Path,
    classes: Mapping[str, str],
    segments: Mapping[str, Sequence[Listed]],
    recordings: Sequence[Sequence[str]],
) -> None:
    """Writes train.csv, eval.csv, the list of classes, and recordings.csv.

    Args:
      folder: where to.
      classes: names by mid, in the order of their numbers.
      segments: by split, "train" and "eval".
      recordings: rows of recordings.csv, its header first.
    """
    for split in SPLITS:
        lines = "".join(map(str, segments[split]))
        (folder / f"{split}.csv").write_text(
            f"# YTID, start_seconds, end_seconds, positive_labels\n{lines}", encoding="utf-8"
        )
    rows = "".join(f'{k},{mid},"{name}"\n' for k, (mid, name) in enumerate(classes.items()))
    (folder / CLASSES).write_text(f"index,mid,display_name\n{rows}", encoding="utf-8")
    with open(folder / RECORDINGS, "w", encoding="utf-8", newline="") as listing:
        csv.writer(listing, lineterminator="\n").writerows(recordings)
