"""How well each class is ranked, for tasks with several labels: average precision and AUC."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_jax.errors import CheckpointError
from perceiver_jax.report import numbers
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.tasks.average_precision import d_prime
from perceiver_jax.tasks.base import Collects
from perceiver_jax.train import per_class

TITLE = "Single classes"
MOST = 20  # Classes in each of the two tables, best and worst.

# d' stands last: it is left out where two tables stand side by side.
_HEADER = ["class", "average precision", "AUC", "positives", "d'"]

Row = Mapping[str, Any]  # Of one class, as it stands in the file.


def applies(run: Run) -> bool:
    """Whether the task has anything to say of single classes."""
    return isinstance(run.config.task, Collects)


def render(context: Context) -> Section:
    """Shows the best and the worst classes, and below them, folded away, all of them."""
    run = context.run
    rows, step = _rows(run), run.result["step"]
    scored = [row for row in rows if row.get("average_precision") is not None]
    if not scored:
        raise NotShown(f"no class has an average precision at step {step:,}")
    best = sorted(scored, key=lambda row: -row["average_precision"])
    about = note(f"On {run.config.trainer.eval_split}, at step {step:,}. {_left_out(rows)}".strip())
    if len(best) <= 2 * MOST:
        return Section(TITLE, join([about, _table(best)]))
    sides = [
        element("div", element("h3", title), _table(chosen, columns=4))
        for title, chosen in (("Best", best[:MOST]), ("Worst", best[: -MOST - 1 : -1]))
    ]
    summary = element("summary", f"all {len(rows):,} classes, in the order of the labels")
    everything = element("details", summary, _table(rows))
    return Section(TITLE, join([about, element("div", *sides, style_class="pair"), everything]))


def _rows(run: Run) -> Sequence[Row]:
    """The classes of the run's result."""
    if not run.result:
        raise NotShown("nothing has been evaluated yet")
    name = per_class.FILE
    path = run.path / name
    if run.final is None:
        path = per_class.path_in(run.path, run.result["step"])
        name = f"{path.parent.name}/{path.name}"
    try:
        rows = per_class.read(path)
    except CheckpointError as error:
        raise NotShown(str(error).rstrip(".")) from error
    if rows is None:
        raise NotShown(f"the work directory has no {name}")
    return rows


def _left_out(rows: Sequence[Row]) -> str:
    """Says which classes the mean is not over."""
    names = [str(row["name"]) for row in rows if not row.get("positives")]
    if not names:
        return ""
    have, are = ("has", "is") if len(names) == 1 else ("have", "are")
    listed = ", ".join(names[:MOST]) + (f" and {len(names) - MOST:,} more" if names[MOST:] else "")
    return (
        f"{len(names):,} of {len(rows):,} classes {have} no positive example, and {are} left out: "
        f"{listed}."
    )


def _table(rows: Sequence[Row], columns: int = len(_HEADER)) -> Markup:
    cells = [_cells(row)[:columns] for row in rows]
    return table(_HEADER[:columns], cells, numbers=range(2, columns))


def _cells(row: Row) -> list[Markup | str]:
    precision, auc = row.get("average_precision"), row.get("auc")
    shown = _bar(precision) if precision is not None else "–"
    return [
        str(row["name"]),
        shown,
        "–" if auc is None else f"{auc:.4f}",
        numbers.plain(row.get("positives", "–")),
        "–" if auc is None else _d_prime(float(d_prime(auc))),
    ]


def _d_prime(value: float) -> str:
    """A class that is told perfectly from the others is infinitely far from them."""
    return ("∞" if value > 0 else "−∞") if math.isinf(value) else f"{value:.2f}"


def _bar(share: float) -> Markup:
    filled = element("i", attributes={"style": f"width:{100 * share:.0f}%"})
    return join([element("span", filled, style_class="bar"), f"{100 * share:.1f}%"])
