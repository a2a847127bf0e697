"""The papers' tables of results with our measured column, as text, as Markdown and as JSON."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from perceiver_jax.report import tables
from perceiver_jax.report.measured import (
    Changes,
    Comparison,
    Group,
    MeasuredRow,
    MeasuredTable,
    Measurement,
)
from perceiver_jax.report.paper_results import ResultTable
from perceiver_jax.report.sections.configuration import show

NOT_RUN = "not run"
QUOTED = "quoted"  # A row of somebody else's, of which there is no experiment.
NOT_EVALUATED = "no evaluation yet"

_HEADER = ("row", "paper", "measured", "examples", "checkpoint", "recipe", "work directory")
_RIGHT = ("paper", "examples")
_MOST_CHANGES = 12  # That are listed of a run; a baseline with other sizes may have dozens.
_ELSEWHERE_HEADER = ("run", "measured", "examples", "checkpoint", "remark", "work directory")


def render(comparison: Comparison, *, markdown: bool = False) -> str:
    """Returns all tables, and below them what differs from the papers' recipes.

    Args:
      comparison: the tables and the runs.
      markdown: Markdown instead of text for the terminal.

    Returns:
      The text, without a final line break.
    """
    numbers = _number(comparison)
    parts = [_table(table, numbers, markdown) for table in comparison.tables]
    parts += _remarks(numbers, markdown)
    parts += _elsewhere(comparison.elsewhere, markdown)
    if comparison.unreadable:
        lines = [f"{path}: {message}" for path, message in comparison.unreadable]
        parts.append(_listed("Records that cannot be read", lines, markdown))
    return "\n\n".join(parts)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Returns all of it as JSON values; measured values in the unit of the printed ones."""
    return {
        "tables": [_table_json(table) for table in comparison.tables],
        "elsewhere": [
            {"name": each.run.config.name, "metric": each.metric, **_run_json(each, 1.0)}
            for each in comparison.elsewhere
        ],
        "unreadable": [
            {"workdir": str(path), "error": message} for path, message in comparison.unreadable
        ],
    }


# ---- Text ----------------------------------------------------------------------------------------


def _number(comparison: Comparison) -> dict[int, tuple[int, Measurement]]:
    """Numbers the runs about which something is to be said, by the identity of their record."""
    numbers: dict[int, tuple[int, Measurement]] = {}
    for table in comparison.tables:
        for row in table.rows:
            for group in row.groups:
                for each in group.measurements:
                    told = each.differences or each.remarks or (each.changes and each.changes.found)
                    if told and id(each.run) not in numbers:
                        numbers[id(each.run)] = (len(numbers) + 1, each)
    return numbers


def _table(
    measured: MeasuredTable, numbers: dict[int, tuple[int, Measurement]], markdown: bool
) -> str:
    printed = measured.printed
    unit = "" if printed.unit == "%" else f" ({printed.unit})"
    title = f"{printed.source}: {printed.title}{unit}"
    cells = [line for row in measured.rows for line in _lines(row, printed, numbers)]
    shown = tables.render(_HEADER, cells, right=_RIGHT, markdown=markdown)
    about = (
        f"The paper's numbers are on {printed.examples:,} examples. Every row but those that are "
        f"{QUOTED} is a variant of {printed.experiment}."
    )
    parts = [f"### {title}" if markdown else title, shown, about]
    notes: dict[str, list[str]] = {}
    for row in measured.rows:
        if row.printed.note:
            notes.setdefault(row.printed.note, []).append(row.printed.row)
    if notes:
        lines = [f"{'; '.join(rows)}: {note}" for note, rows in notes.items()]
        parts.append(_bullets(lines, markdown))
    return "\n\n".join(parts) if markdown else "\n".join([parts[0], "", *parts[1:]])


def _lines(
    row: MeasuredRow, table: ResultTable, numbers: dict[int, tuple[int, Measurement]]
) -> Iterator[list[str]]:
    """The cells of a row: a line for each experiment, and at least one."""
    names = [row.printed.row, row.printed.printed]
    if not row.groups:
        variant = row.printed.variant
        # Where the directories would stand: how to get one.
        how = "" if variant is None else f"({table.experiment}:{variant})"
        yield [*names, QUOTED if variant is None else NOT_RUN, "", "", "", how]
    for group in row.groups:
        yield [
            *names,
            _values(group, table),
            _examples(group.counted),
            _checkpoints(group.counted),
            _recipe(group, numbers),
            ", ".join(str(each.run.path) for each in group.measurements),
        ]


def _values(group: Group, table: ResultTable) -> str:
    values = [table.scale * value for value in group.values]
    if not values:
        return NOT_EVALUATED
    mean = f"{sum(values) / len(values):.2f}"
    if len(values) > 1:
        mean += f" ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)"
    return mean if group.counted[0].complete else f"{mean}, so far"


def _examples(measurements: Sequence[Measurement]) -> str:
    counts = sorted({each.examples for each in measurements if each.examples is not None})
    if not counts:
        return "–"
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _checkpoints(measurements: Sequence[Measurement]) -> str:
    steps = sorted({each.step for each in measurements if each.step is not None})
    return ", ".join(f"step {step:,}" for step in steps) or "–"


def _recipe(group: Group, numbers: dict[int, tuple[int, Measurement]]) -> str:
    """How many values are not the paper's, how many changed where it is silent, and where which."""
    found = group.measurements[0].differences
    if found is None:
        text = "not recorded"
    elif not found:
        text = "as printed"
    else:
        text = f"{len(found)} differ{'s' if len(found) == 1 else ''}"
    changes = group.measurements[0].changes
    if changes is not None and changes.found:
        text += f", {len(changes.found)} changed"
    marks = sorted(
        numbers[id(each.run)][0] for each in group.measurements if id(each.run) in numbers
    )
    return " ".join([text, *(f"[{mark}]" for mark in marks)])


def _remarks(numbers: dict[int, tuple[int, Measurement]], markdown: bool) -> list[str]:
    """What is to be said about each run that is not as the paper's."""
    parts = []
    for number, measurement in numbers.values():
        lines = list(measurement.remarks)
        lines += [
            f"{each.path}: {show(each.here)}; in the paper {show(each.paper)}"
            for each in measurement.differences or ()
        ]
        title = f"[{number}] {measurement.run.path}"
        if lines:
            parts.append(_listed(title, lines, markdown, level=4))
        changes = measurement.changes
        if changes is not None and changes.found:
            title += f", where the paper is silent: not as {changes.variant} has it"
            parts.append(_listed(title, _changed(changes), markdown, level=4))
    return parts


def _changed(changes: Changes) -> list[str]:
    lines = [
        f"{each.path}: {_value(each.here)}; in the variant {_value(each.variant)}"
        for each in changes.found[:_MOST_CHANGES]
    ]
    more = len(changes.found) - len(lines)
    return [*lines, f"... and {more:,} more"] if more else lines


def _value(value: Any) -> str:
    """A value as text; of a whole config, which has another class here than there, its class."""
    return type(value).__name__ if dataclasses.is_dataclass(value) else show(value)


def _elsewhere(measurements: Sequence[Measurement], markdown: bool) -> list[str]:
    if not measurements:
        return []
    title = "Runs of no row of these tables"
    cells = [
        [
            each.run.config.name,
            _as_its_headline(each),
            _examples([each]),
            _checkpoints([each]),
            "; ".join(remark for remark in each.remarks if remark != NOT_EVALUATED),
            str(each.run.path),
        ]
        for each in measurements
    ]
    shown = tables.render(_ELSEWHERE_HEADER, cells, right=("examples",), markdown=markdown)
    return [f"### {title}\n\n{shown}" if markdown else f"{title}\n\n{shown}"]


def _as_its_headline(each: Measurement) -> str:
    """What a run of no row has measured: its own headline, in per cent if it is a fraction."""
    if each.value is None:
        return NOT_EVALUATED
    return f"{each.metric} {each.run.config.task.headline.show(each.value)}"


def _listed(title: str, lines: Sequence[str], markdown: bool, *, level: int = 3) -> str:
    heading = f"{'#' * level} {title}\n" if markdown else title
    return f"{heading}\n{_bullets(lines, markdown)}"


def _bullets(lines: Sequence[str], markdown: bool) -> str:
    return "\n".join(f"{'-' if markdown else ' '} {line}" for line in lines)


# ---- JSON ----------------------------------------------------------------------------------------


def _table_json(measured: MeasuredTable) -> dict[str, Any]:
    table = measured.printed
    return {
        "source": table.source,
        "title": table.title,
        "metric": table.metric,
        "unit": table.unit,
        "examples": table.examples,
        "rows": [
            {
                "row": row.printed.row,
                "printed": row.printed.printed,
                "value": row.printed.value,
                "note": row.printed.note,
                "experiment": row.printed.variant and f"{table.experiment}:{row.printed.variant}",
                "measured": [_group_json(group, table.scale) for group in row.groups],
            }
            for row in measured.rows
        ],
    }


def _group_json(group: Group, scale: float) -> dict[str, Any]:
    values = [scale * value for value in group.values]
    return {
        "mean": _finite(sum(values) / len(values)) if values else None,
        "lowest": _finite(min(values)) if values else None,
        "highest": _finite(max(values)) if values else None,
        "runs_counted": len(values),
        "runs": [_run_json(each, scale) for each in group.measurements],
    }


def _run_json(each: Measurement, scale: float) -> dict[str, Any]:
    found = each.differences
    return {
        "workdir": str(each.run.path),
        "value": None if each.value is None else _finite(scale * each.value),
        "split": each.split,
        "examples": each.examples,
        "step": each.step,
        "checkpoint": each.has_checkpoint,
        "complete": each.complete,
        "differences": None
        if found is None
        else [{"path": one.path, "paper": one.paper, "here": one.here} for one in found],
        "changes": None if each.changes is None else _changes_json(each.changes),
        "remarks": list(each.remarks),
    }


def _changes_json(changes: Changes) -> dict[str, Any]:
    return {
        "variant": changes.variant,
        "found": [
            {"path": each.path, "variant": _plain(each.variant), "here": _plain(each.here)}
            for each in changes.found
        ],
    }


def _plain(value: Any) -> Any:
    return type(value).__name__ if dataclasses.is_dataclass(value) else value


def _finite(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
