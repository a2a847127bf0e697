"""Files of points: arrays (.npy), and text with the coordinates of a point on each line."""

import io
from pathlib import Path

import numpy as np

from perceiver_jax.data.source import CorruptExample, decoding
from perceiver_jax.errors import DataError

POINT_SUFFIXES = (".npy", ".txt", ".xyz", ".csv")

_MOST_COLUMNS = 16  # Numbers a point: its place, normal, colour and the like.


def read_points(file: str | Path | bytes, name: str = "") -> np.ndarray:  # [points, 3], float32
    """Reads a cloud of points as it is stored: .npy, or text with three or more numbers a line.

    The first three are taken: further ones are normals or colours. In text, commas, semicolons and
    blanks part them; the first line may be their names (`x,y,z`), and # begins a comment.

    Args:
      file: its path, or what is in it.
      name: the file's name, for its suffix and for messages; needed where `file` is bytes.

    Raises:
      CorruptExample: the file makes no sense, or has no points, or some that are no numbers; the
        message begins with the name.
      DataError: there is no such file.
    """
    if not isinstance(file, bytes):
        name = name or str(file)
        try:
            file = Path(file).read_bytes()
        except OSError as error:
            raise DataError(f"the points {name} cannot be read: {error.strerror}.") from error
    if not file.strip():
        raise CorruptExample(f"{name}: it is empty.")
    lines: list[str] | None = None
    with decoding(name, ValueError, EOFError):
        if Path(name).suffix.lower() == ".npy":
            points = np.lib.format.read_array(io.BytesIO(file), allow_pickle=False)
        else:
            lines = _without_header(file.decode("utf-8-sig").splitlines())
            points = _numbers(lines)
    if not points.size:
        raise CorruptExample(f"{name}: it has no points.")
    if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
        raise CorruptExample(
            f"{name}: it must hold three coordinates a point; got shape {list(points.shape)} of "
            f"{points.dtype}."
        )
    if points.shape[1] > max(len(points), _MOST_COLUMNS):
        raise CorruptExample(
            f"{name}: it has {len(points)} rows of {points.shape[1]} numbers, where each row must "
            "be a point; turn rows and columns round."
        )
    points = np.asarray(points[:, :3], np.float32)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        row = int(bad[0])
        where = f"row {row}, counted from 0,"
        if lines is not None:
            where = f"line {[at for at, line in enumerate(lines, 1) if _content(line)][row]}"
        raise CorruptExample(f"{name}: {where} is {points[row].tolist()}, which is no place.")
    return points


def looks_like_points(path: Path) -> bool:
    """Whether a file with a suffix of points is one: it begins with a line of numbers.

    Before it there may be the names of the columns. A README.txt is none. Of .npy files nothing is
    asked, nor of what cannot be opened: reading it will tell.
    """
    if path.suffix.lower() == ".npy":
        return True
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            lines = (_words(line) for line in file if _content(line))
            first = next(lines, [])
            if _is_header(first):
                first = next(lines, [])
    except OSError:
        return True
    return len(first) >= 3 and all(map(_is_number, first))


def _without_header(lines: list[str]) -> list[str]:
    """Blanks a first line that has the names of the columns."""
    first = next((at for at, line in enumerate(lines) if _content(line)), None)
    if first is None or not _is_header(_words(lines[first])):
        return lines
    return [*lines[:first], "", *lines[first + 1 :]]


def _numbers(lines: list[str]) -> np.ndarray:  # [rows, columns]
    if not any(map(_content, lines)):
        return np.empty((0, 0))
    if any(";" in line for line in lines):
        lines = [" ".join(_words(line)) for line in lines]
    return np.loadtxt([line.replace(",", " ") for line in lines], ndmin=2)


def _content(line: str) -> str:
    """Returns a line without its comment."""
    return line.partition("#")[0].strip()


def _words(line: str) -> list[str]:
    """Returns what stands between commas, semicolons and blanks."""
    content = _content(line)
    if ";" in content:  # Then a comma is that of a decimal: 1,5;2,0;3,25
        return content.replace(",", ".").replace(";", " ").split()
    return content.replace(",", " ").split()


def _is_header(words: list[str]) -> bool:
    """Whether they are the names of columns: three or more, none of them a number."""
    return len(words) >= 3 and not any(map(_is_number, words))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
