"""AudioSet's lists: of classes, and of segments with the classes that are in them.

As they are published (Gemmeke et al., Audio Set, ICASSP 2017). class_labels_indices.csv:

    index,mid,display_name
    0,/m/09x0r,"Speech"

and balanced_train_segments.csv, unbalanced_train_segments.csv and eval_segments.csv:

    # YTID, start_seconds, end_seconds, positive_labels
    --4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"

Labels of one's own are written in the same form; an id is then the name of a file, without suffix.
"""

import csv
import dataclasses
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from perceiver_jax.errors import DataError

NUM_CLASSES = 527  # Of AudioSet's own list.
_HEADER = ["index", "mid", "display_name"]
_ID = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST = 3600  # Seconds of a segment; more is a mistake in the list.


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a set, in the order of their numbers."""

    mids: tuple[str, ...]  # Their ids in the lists: "/m/09x0r".
    names: tuple[str, ...]  # "Speech".


@dataclasses.dataclass(frozen=True)
class Segment:
    """A part of a recording, and what is heard in it."""

    id: str  # Of the recording: YouTube's, 11 characters of A-Z, a-z, 0-9, - and _.
    start: float  # Seconds of the whole recording.
    end: float
    labels: tuple[int, ...]  # Numbers of classes, each once, in order.

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start

    @property
    def key(self) -> str:
        """Its name, of its own among all segments: "--4gqARaEJE_30.000"."""
        return f"{self.id}_{self.start:.3f}"


def read_classes(path: str) -> Classes:
    """Reads class_labels_indices.csv.

    Raises:
      DataError: it is missing or of another form; names the line.
    """
    mids: list[str] = []
    names: list[str] = []
    for number, row in _rows(path, "list of classes"):
        if not mids and row == _HEADER:
            continue
        where = f"{path}, line {number}"
        if len(row) != 3:
            raise DataError(f"{where}: expected {','.join(_HEADER)}; got {','.join(row)!r}.")
        if row[0] != str(len(mids)):
            raise DataError(
                f"{where}: expected the class with index {len(mids)}, since classes are numbered "
                f"from 0 on and stand in that order; got {row[0]!r}."
            )
        mids.append(row[1])
        names.append(row[2])
    if not mids:
        raise DataError(f"{path} has no classes.")
    for what, listed in (("mid", mids), ("display name", names)):
        if len(set(listed)) < len(listed):
            twice = next(each for each in listed if listed.count(each) > 1)
            raise DataError(f"{path} has two classes with the {what} {twice!r}.")
    return Classes(tuple(mids), tuple(names))


def read_segments(path: str, classes: Classes) -> list[Segment]:
    """Reads a list of segments, in its order.

    Args:
      path: the list.
      classes: those that labels may name.

    Raises:
      DataError: it is missing, of another form, or names an unknown class; names the line.
    """
    numbers = {mid: number for number, mid in enumerate(classes.mids)}
    segments = []
    for number, row in _rows(path, "list of segments"):
        where = f"{path}, line {number}"
        if len(row) != 4 or not _ID.fullmatch(row[0]):
            raise DataError(
                f'{where}: expected YTID, start_seconds, end_seconds, "mid,mid,..."; '
                f"got {', '.join(row)!r}."
            )
        start, end = (_seconds(text, where) for text in row[1:3])
        if not 0 <= start < end <= start + _LONGEST:
            raise DataError(
                f"{where}: a segment cannot be from second {row[1]} to second {row[2]}."
            )
        mids = [mid.strip() for mid in row[3].split(",") if mid.strip()]
        if unknown := [mid for mid in mids if mid not in numbers]:
            raise DataError(
                f"{where}: {unknown[0]!r} is none of the {len(numbers)} classes of the list of "
                "classes."
            )
        labels = tuple(sorted({numbers[mid] for mid in mids}))
        segments.append(Segment(row[0], start, end, labels))
    if not segments:
        raise DataError(f"{path} has no segments.")
    return segments


def check_distinct(segments: Sequence[Segment]) -> None:
    """Refuses segments that are in the lists twice: in training and in evaluation, say.

    Raises:
      DataError: names the first.
    """
    seen = set()
    for segment in segments:
        if segment.key in seen:
            raise DataError(
                f"the segment of {segment.id} from second {segment.start:g} is listed twice. Each "
                "may be in one of the lists only, and once: what is trained on is not tested on."
            )
        seen.add(segment.key)


def check_apart(train: Sequence[Segment], test: Sequence[Segment]) -> list[str]:
    """Refuses lists of which one has a moment of a recording that the other has too.

    Returns:
      The ids of recordings that are in both, at different times.

    Raises:
      DataError: names the first recording.
    """
    by_id = defaultdict(list)
    for segment in train:
        by_id[segment.id].append(segment)
    shared: dict[str, None] = {}  # In the order of the list to test on.
    for segment in test:
        for other in by_id.get(segment.id, ()):
            if segment.start < other.end and other.start < segment.end:
                raise DataError(
                    f"{segment.id} is to test on from second {segment.start:g} to "
                    f"{segment.end:g}, and to train on from {other.start:g} to {other.end:g}: what "
                    "is trained on is not tested on. Take one of them out of its list."
                )
            shared[segment.id] = None
    return list(shared)


def _rows(path: str, what: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file, with the numbers of their lines."""
    try:
        # utf-8-sig: what a spreadsheet has saved begins with a mark.
        with open(os.path.expanduser(path), encoding="utf-8-sig", newline="") as file:
            # Quotes in comments are no quotes, and what follows one is no mistake if it is space.
            lines = (line.strip() for line in file)
            reader = csv.reader(
                ("" if line.startswith("#") else line for line in lines),
                skipinitialspace=True,
                strict=True,
            )
            try:
                for row in reader:
                    if row:
                        yield reader.line_num, [cell.strip() for cell in row]
            except csv.Error as error:
                raise DataError(f"{path}, line {reader.line_num}, is no CSV: {error}.") from error
    except OSError as error:
        raise DataError(f"the {what} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the {what} {path} is no text in UTF-8 ({error}); save it so.") from error


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is no number of seconds.")
    return value
