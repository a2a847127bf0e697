"""Turns a layout's meshes and clouds into clouds of one size, over all cores, part by part.

Parts are files in a folder of their own, each written whole or not at all. Whoever is interrupted
starts the same command again, and only the parts that are not there are made. The folder notes what
it is of; parts of another source, number of points or seed are never mixed with it.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.data.conversion.parts import LeftOut, PartedConversion, digest
from perceiver_jax.data.points.layouts import Entry, Layout
from perceiver_jax.data.points.meshes import Mesh, draw, sample
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import ConfigError, DataError

# Of stored sets. Another one whenever the same files and flags give other clouds.
VERSION = "1.0.0"

_LOOKED_AT = 3  # Clouds of each class, until one has enough points.


@dataclasses.dataclass(frozen=True)
class Converted:
    """A cloud as it will be stored."""

    entry: Entry
    points: np.ndarray  # [num_points, 3], float32.


@dataclasses.dataclass(frozen=True)
class Conversion(PartedConversion):
    """All of a layout's entries as clouds: what is converted, how, and where the parts are."""

    layout: Layout
    num_points: int  # Of each cloud.
    seed: int  # Other seeds give other points.
    folder: Path  # Of the parts.
    part_size: int = 32  # Entries a part: a second's work or so, which an interruption may cost.

    version: ClassVar[str] = VERSION
    part_pattern: ClassVar[str] = "*.npz"
    told: ClassVar[Mapping[str, str]] = {
        "num_points": "with --num_points={}",
        "seed": "with --seed={}",
        "kind": "of {}",
    }

    def __post_init__(self) -> None:
        if self.num_points < 1:
            raise ConfigError(f"--num_points={self.num_points} must be 1 or more.")
        if self.seed < 0:
            raise ConfigError(f"--seed={self.seed} must be 0 or more.")

    @property
    def num_parts(self) -> int:
        return -(-len(self.layout.entries) // self.part_size)

    def provenance(self) -> dict[str, Any]:
        """Says what the clouds are made of: equal for two conversions that give equal clouds."""
        return {
            "kind": self.layout.kind,
            "files": self.layout.archive.fingerprint(),
            "entries": digest(f"{e.split} {e.label} {e.name}" for e in self.layout.entries),
            "num_points": self.num_points,
            "seed": self.seed,
        }

    def items(self, part: int) -> range:
        """Returns the numbers of a part's entries."""
        first = part * self.part_size
        return range(first, min(first + self.part_size, len(self.layout.entries)))

    def describe(self, item: int) -> str:
        """Names an entry."""
        return self.layout.entries[item].name

    def do(self, part: int, done: Callable[[int], None]) -> None:
        """Converts a part, and writes it."""
        rows, clouds, left_out = [], [], []
        for row in self.items(part):
            entry = self.layout.entries[row]
            try:
                clouds.append(cloud(self.layout, entry, self.num_points, self.seed))
                rows.append(row)
            except CorruptExample as error:
                left_out.append([row, _reason(entry, error)])
            done(row)
        points = np.stack(clouds) if clouds else np.empty((0, self.num_points, 3), np.float32)
        with replacing(self._file(part)) as path:
            np.savez(
                path,
                rows=np.array(rows, np.int64),
                points=points,
                left_out=np.array(json.dumps(left_out)),
            )

    def is_done(self, part: int) -> bool:
        """Returns whether a part is there."""
        return self._file(part).exists()

    def clouds(self, split: str) -> Iterator[Converted]:
        """Gives the clouds of a split; all parts must be there."""
        for part in range(self.num_parts):
            with np.load(self._file(part), allow_pickle=False) as stored:
                rows, points = stored["rows"], stored["points"]
            for row, each in zip(rows, points, strict=True):
                if self.layout.entries[row].split == split:
                    yield Converted(self.layout.entries[row], each)

    def left_out(self) -> list[LeftOut]:
        """Returns what was left out, in order; all parts must be there."""
        found = list(self.layout.missing)
        for part in range(self.num_parts):
            with np.load(self._file(part), allow_pickle=False) as stored:
                for row, reason in json.loads(str(stored["left_out"])):
                    entry = self.layout.entries[row]
                    found.append(LeftOut(entry.name, entry.split, reason))
        return found

    def _file(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}-of-{self.num_parts:05d}.npz"


def check_enough_points(conversion: Conversion) -> None:
    """Refuses more points than stored clouds have, by looking at the first few of each class.

    Some may be short: those are left out.

    Raises:
      DataError: none that was looked at has as many; names the largest.
    """
    layout = conversion.layout
    seen: Counter[int] = Counter()
    largest: tuple[int, str] | None = None
    for entry in layout.entries:
        if seen[entry.label] == _LOOKED_AT:
            continue
        seen[entry.label] += 1
        try:
            stored = layout.read(entry)
        except CorruptExample:
            continue  # It is left out, like any other.
        if isinstance(stored, Mesh) or len(stored) >= conversion.num_points:
            return
        largest = max(largest or (0, ""), (len(stored), entry.name))
    if largest is not None:
        raise DataError(
            f"--num_points={conversion.num_points} is more than the {largest[0]} that the clouds "
            f"of {layout.archive.path} have: {largest[1]} is the largest of {seen.total()} that "
            "were looked at. Meshes can be sampled at any number."
        )


def cloud(layout: Layout, entry: Entry, num_points: int, seed: int) -> np.ndarray:
    """Returns an entry as a cloud: float32 [num_points, 3], in random order, not normalised.

    A mesh is sampled on its surface. Of a stored cloud, some points are taken at random. Which, is
    decided by the seed and the entry's name, and so by no other entry, nor by who converts it when.

    Raises:
      CorruptExample: it cannot be read or sampled, or has fewer points; names it.
    """
    stored = layout.read(entry)
    seed = int(digest((str(seed), entry.name))[:16], 16)
    if isinstance(stored, Mesh):
        return sample(stored, num_points, seed)
    if len(stored) < num_points:
        raise CorruptExample(
            f"{entry.name}: it has {len(stored)} points, and --num_points={num_points} are asked "
            "for."
        )
    return draw(stored, num_points, seed)


def _reason(entry: Entry, error: CorruptExample) -> str:
    """Returns what a message says after the entry's name, which stands beside it."""
    _, named, reason = str(error).partition(f"{entry.name}: ")
    return reason if named else str(error)
