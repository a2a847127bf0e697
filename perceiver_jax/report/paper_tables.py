"""The papers' parameters and operations beside ours, row by row, with the difference."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from perceiver_jax.report import tables
from perceiver_jax.report.anatomy import Anatomy, dissect
from perceiver_jax.report.flops import Flops
from perceiver_jax.report.paper_rows import ROWS, Alternative, Figure, Row
from perceiver_jax.zoo import Model, build

_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}

# How ours compares with what is printed:
#   'equal'        to the printed digit
#   'close'        within 1 %
#   'explained'    further off, but a misprint, or to the digit the figure of an alternative
#   'unexplained'  further off, and nobody knows why
Verdict = Literal["equal", "close", "explained", "unexplained"]
CLOSE = 0.01


@dataclasses.dataclass(frozen=True)
class Tried:
    """The figure of an alternative."""

    what: str
    ours: int
    equal: bool  # To the printed digit.


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A printed figure and ours."""

    source: str
    label: str
    model: str
    column: Literal["params", "FLOPs"]
    printed: str
    ours: int
    verdict: Verdict
    note: str
    tried: tuple[Tried, ...]

    @property
    def difference(self) -> float:
        """Ours less the printed one."""
        return self.ours - printed_value(self.printed)

    @property
    def relative(self) -> float:
        """The difference as a share of the printed figure."""
        return self.difference / printed_value(self.printed)

    def as_json(self) -> dict[str, Any]:
        """As plain values, with the differences."""
        return {
            **dataclasses.asdict(self),
            "difference": self.difference,
            "relative": self.relative,
        }


class Anatomies:
    """Dissects every model once, however many rows it has and whatever it is called there."""

    def __init__(self) -> None:
        self._known: list[tuple[Model, Mapping[str, int | None] | None, Anatomy]] = []

    def get(self, model: Model, points: Mapping[str, int | None] | None = None) -> Anatomy:
        """The anatomy of a model, its cost that of decoding `points` outputs by modality."""
        for known, known_points, anatomy in self._known:
            if known.config == model.config and known_points == points:
                return anatomy
        shapes = None
        if points is not None:
            shapes = {
                name: None if size is None else jax.ShapeDtypeStruct((size,), jnp.int32)
                for name, size in points.items()
            }
        anatomy = dissect(model, subsampled_output_points=shapes)
        self._known.append((model, points, anatomy))
        return anatomy


def printed_value(printed: str) -> float:
    """The number that the papers print as "44.9M"."""
    return float(printed[:-1]) * _UNITS[printed[-1]]


def like(value: float, printed: str) -> str:
    """A number with the unit and the digits of a printed one: "44.9M"."""
    digits = len(printed[:-1].partition(".")[2])
    return f"{value / _UNITS[printed[-1]]:.{digits}f}{printed[-1]}"


def compare(rows: Iterable[Row] = ROWS, anatomies: Anatomies | None = None) -> list[Comparison]:
    """Compares the papers' figures with ours.

    Args:
      rows: what the papers print.
      anatomies: what is known already; new if None.
    """
    anatomies = anatomies or Anatomies()
    comparisons = []
    for row in rows:
        if row.params is not None:
            comparisons.append(_compare(row, row.params, "params", anatomies))
        if row.flops is not None:
            comparisons.append(_compare(row, row.flops, "FLOPs", anatomies))
    return comparisons


def _compare(
    row: Row, figure: Figure, column: Literal["params", "FLOPs"], anatomies: Anatomies
) -> Comparison:
    ours = _ours(row, column, anatomies, None)
    equal = like(ours, figure.printed) == figure.printed
    tried = []
    # Those that help nobody are not computed: a figure that fits needs no explanation.
    for alternative in () if equal else figure.alternatives:
        value = _ours(row, column, anatomies, alternative)
        fits = like(value, figure.printed) == figure.printed
        tried.append(Tried(alternative.what, value, fits))
    verdict: Verdict = "unexplained"
    if equal:
        verdict = "equal"
    elif abs(ours / printed_value(figure.printed) - 1) <= CLOSE:
        verdict = "close"
    elif figure.misprint or any(each.equal for each in tried):
        verdict = "explained"
    return Comparison(
        source=row.source,
        label=row.label,
        model=row.model,
        column=column,
        printed=figure.printed,
        ours=ours,
        verdict=verdict,
        note="" if equal else figure.note,
        tried=tuple(tried),
    )


def _ours(
    row: Row, column: Literal["params", "FLOPs"], anatomies: Anatomies, change: Alternative | None
) -> int:
    change = change or Alternative("")
    model = build(change.model or row.model, **change.overrides)
    anatomy = anatomies.get(model, row.points)
    if column == "params":
        return anatomy.num_params
    parts = anatomy.flops if change.parts is None else change.parts
    return sum((anatomy.flops.get(part, Flops()) for part in parts), Flops()).total


def render(comparisons: Iterable[Comparison], *, markdown: bool = False) -> str:
    """The comparison as a table, and the notes below it."""
    rows, notes = [], dict[str, list[str]]()
    for each in comparisons:
        mark = ""
        if each.note or each.tried:
            # Rows with the same note share it; what was tried stands there by row.
            notes.setdefault(each.note, []).extend(_tried(each))
            mark = f"[{list(notes).index(each.note) + 1}]"
        rows.append(
            [
                each.source,
                each.label,
                f"`{each.model}`" if markdown else each.model,
                each.column,
                each.printed,
                like(each.ours, each.printed),
                f"{each.ours:,}",
                f"{each.difference:+,.0f}",
                f"{each.relative:+.2%}".replace("%", " %"),
                f"{each.verdict} {mark}".strip(),
            ]
        )
    header = "source row model column printed ours exactly difference relative verdict".split()
    table = tables.render(
        header,
        rows,
        right=("printed", "ours", "exactly", "difference", "relative"),
        markdown=markdown,
    )
    lines = [table, ""]
    for i, (note, tried) in enumerate(notes.items()):
        lines.append(f"{'- ' if markdown else ''}[{i + 1}] {note}")
        lines += [f"{'  - ' if markdown else '      '}{each}" for each in dict.fromkeys(tried)]
    return "\n".join(lines)


def _tried(comparison: Comparison) -> list[str]:
    return [
        f"{comparison.label}, {comparison.column}, {each.what}: "
        f"{like(each.ours, comparison.printed)}"
        + (", as printed" if each.equal else f" (printed {comparison.printed})")
        for each in comparison.tried
    ]
