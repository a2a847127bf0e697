"""Which classes are taken for which: a confusion matrix, or a table where classes are many."""

import numpy as np

from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.predicted import Predicted
from perceiver_jax.report.run_record import Run
from perceiver_jax.tasks import MultilabelConfig
from perceiver_jax.tasks.predictions import ClassPredictions

TITLE = "Classes"
MOST_IN_MATRIX = 20  # Classes; more do not fit on a phone.
_MOST_PAIRS = 8  # In the list of what is confused.
_MOST_ROWS = 20  # Of the table, before the rest is folded away.


def applies(run: Run) -> bool:
    """Whether an example has one class; those with several have sections of their own."""
    return not isinstance(run.config.task, MultilabelConfig)


def render(context: Context) -> Section:
    """Shows the matrix or the table, with the examples that it is about."""
    predicted = context.model.predicted
    values = predicted.values
    if not isinstance(values, ClassPredictions):
        raise NotShown("the task does not choose one of several classes")
    labels, guesses = np.asarray(values.labels), np.asarray(values.guesses)[:, 0]
    count = values.num_classes
    names = context.class_names(count)
    step, _ = context.model.loaded
    about = note(_about(predicted, labels, guesses, step))
    confused = confusion(labels, guesses, count)
    if count <= MOST_IN_MATRIX:
        explained = note("Rows: what an example is. Columns: what the model said of it.")
        both = [_matrix(confused, names), element("div", _often(confused, names))]
        both_sides = element("div", *both, style_class="pair")
        return Section("Confusion matrix", join([about, explained, both_sides]))
    return Section(TITLE, join([about, _table(confused, names)]))


def confusion(labels: np.ndarray, guesses: np.ndarray, count: int) -> np.ndarray:
    """Returns [classes, classes] counts: a row for each label, a column for each guess."""
    return np.bincount(labels * count + guesses, minlength=count * count).reshape(count, count)


def _about(predicted: Predicted, labels: np.ndarray, guesses: np.ndarray, step: int) -> str:
    right = int(np.sum(labels == guesses))
    return (
        f"{right:,} of {len(labels):,} right, with the checkpoint of step {step:,} "
        f"({predicted.sentence()})."
    )


def _matrix(confused: np.ndarray, names: tuple[str, ...]) -> Markup:
    """A row for each label; the colour is the share of the row."""
    short = max(map(len, names)) <= 3
    columns = names if short else tuple(map(str, range(len(names))))

    def width(size: str) -> Markup:
        return Markup(f'<col style="width:{size}">')

    widths = element(
        "colgroup",
        width("2.4em" if short else "30%"),
        *(width("auto") for _ in columns),
        width("4em"),
    )
    head = element(
        "tr",
        element("th", style_class="name"),
        *(element("th", name) for name in columns),
        element("th", "right", style_class="rate"),
    )
    lines = []
    for label, row in enumerate(confused):
        total = max(int(row.sum()), 1)
        cells = []
        for guess, number in enumerate(row):
            hint = {"title": f"is {names[label]}, said {names[guess]}: {number:,}"}
            if not number:
                cells.append(element("td", style_class="none", attributes=hint))
                continue
            # The root, so that a single mistake can be seen.
            share = f"--share:{0.12 + 0.75 * (number / total) ** 0.5:.2f}"
            kind = "right" if guess == label else "wrong"
            cells.append(
                element("td", f"{number:,}", style_class=kind, attributes={**hint, "style": share})
            )
        name = names[label] if short else f"{names[label]} {label}"
        rate = f"{100 * row[label] / total:.0f}%" if row.sum() else "–"
        lines.append(
            element(
                "tr",
                element("th", name, style_class="name", attributes={"title": names[label]}),
                *cells,
                element("td", rate, style_class="rate"),
            )
        )
    whole = element(
        "table", widths, element("thead", head), element("tbody", *lines), style_class="matrix"
    )
    return element("div", whole, style_class="scroll")


def _table(confused: np.ndarray, names: tuple[str, ...]) -> Markup:
    """The classes that are recognised worst first, with what they are taken for."""
    totals = confused.sum(axis=1)
    seen = np.flatnonzero(totals)
    rates = confused[seen, seen] / totals[seen]
    order = seen[np.argsort(rates, kind="stable")]
    rows = [_class_row(confused[label], int(label), names) for label in order]
    header = ["class", "right", "of", "most often taken for"]
    left = [element("h3", "Recognised worst"), table(header, rows[:_MOST_ROWS], numbers=(2,))]
    if len(rows) > _MOST_ROWS:
        others = table(header, rows[_MOST_ROWS:], numbers=(2,))
        summary = element("summary", f"the other {len(rows) - _MOST_ROWS:,} classes")
        left.append(element("details", summary, others))
    right = element("div", _often(confused, names))
    shown = [element("div", element("div", *left), right, style_class="pair")]
    unseen = len(names) - len(seen)
    if unseen:
        shown.append(note(f"{unseen:,} classes have no example among these."))
    return join(shown)


def _often(confused: np.ndarray, names: tuple[str, ...]) -> Markup:
    """The pairs of classes that are confused most often."""
    pairs = confused.copy()
    np.fill_diagonal(pairs, 0)
    flat = np.argsort(-pairs, axis=None, kind="stable")[:_MOST_PAIRS]
    worst = [divmod(int(each), len(names)) for each in flat if pairs.flat[each]]
    if not worst:
        return note("No two classes were confused.")
    rows = [[names[label], names[guess], f"{pairs[label, guess]:,}"] for label, guess in worst]
    title = element("h3", "Confused most often")
    return join([title, table(["is", "said", "times"], rows, numbers=(2,))])


def _class_row(row: np.ndarray, label: int, names: tuple[str, ...]) -> list[Markup | str]:
    total, others = int(row.sum()), row.copy()
    others[label] = 0
    most = int(np.argmax(others))
    taken = f"{names[most]} ({others[most]:,})" if others[most] else "–"
    rate = row[label] / total
    filled = element("i", attributes={"style": f"width:{100 * rate:.0f}%"})
    bar = element("span", filled, style_class="bar")
    return [names[label], join([bar, f"{100 * rate:.0f}%"]), f"{total:,}", taken]
