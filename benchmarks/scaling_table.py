"""Points of growth as a table."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks.process_memory import GIGABYTE
from benchmarks.rows import Row, ratios
from benchmarks.table import ratio, seconds
from perceiver_jax.report import tables

HEADER = (
    "axis",
    "size",
    "mode",
    "contender",
    "compile s",
    "run s",
    "peak GB",
    "above imports GB",
    "GFLOP/s",
    "time : size before",
    "memory : size before",
    "time : plain",
    "memory : plain",
)
_WORDS = ("axis", "mode", "contender")
_NONE = "-"


@dataclasses.dataclass(frozen=True)
class Point:
    """A row at one size of an axis."""

    axis: str
    size: int
    row: Row

    def as_json(self) -> dict[str, Any]:
        """The row with the axis and the size before it."""
        return {"axis": self.axis, "size": self.size, **dataclasses.asdict(self.row)}

    @property
    def above_imports(self) -> int | None:
        """Bytes of the peak beyond what its process held after its imports."""
        if self.row.peak_bytes is None or self.row.import_bytes is None:
            return None
        return self.row.peak_bytes - self.row.import_bytes


def render(points: Sequence[Point], *, markdown: bool = False) -> str:
    """Lays out points in rows, and below them why some were not measured."""
    right = [name for name in HEADER if name not in _WORDS]
    cells = [_cells(point, points) for point in points]
    text = tables.render(HEADER, cells, right=right, markdown=markdown)
    lines = [
        f"{point.axis} {point.size:,} {point.row.mode} {point.row.contender}: {remark}"
        for point in points
        for remark in _remarks(point.row)
    ]
    return "\n".join([text, "", *(f"- {line}" if markdown else line for line in lines)]).rstrip()


def _remarks(row: Row) -> list[str]:
    return [f"not measured: {row.error}"] if row.error is not None else row.notes


def _cells(point: Point, points: Sequence[Point]) -> list[str]:
    row = point.row
    alike = [each for each in points if each.axis == point.axis and each.row.mode == row.mode]
    smaller = [
        each for each in alike if each.row.contender == row.contender and each.size < point.size
    ]
    before = max(smaller, key=lambda each: each.size, default=None)
    plain = [
        each.row for each in alike if each.row.contender == "plain" and each.size == point.size
    ]
    growth = ratios(row, None if before is None else before.row)
    to_plain = ratios(row, plain[0] if plain else None)
    above = point.above_imports
    return [
        point.axis,
        f"{point.size:,}",
        row.mode,
        row.contender,
        seconds(row.compile_s),
        seconds(row.run_s),
        _NONE if row.peak_bytes is None else f"{row.peak_bytes / GIGABYTE:.2f}",
        _NONE if above is None else f"{above / GIGABYTE:.2f}",
        _NONE if row.gflop_per_s is None else f"{row.gflop_per_s:.3g}",
        ratio(growth.time),
        ratio(growth.memory),
        ratio(to_plain.time),
        ratio(to_plain.memory),
    ]
