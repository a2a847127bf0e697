"""Of tasks with several labels: what was said most surely and is wrong, and labels missed most."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from perceiver_jax.data.shown import ShowsPictures
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.pictures import is_wide, picture
from perceiver_jax.report.run_record import Run
from perceiver_jax.tasks import MultilabelConfig

TITLE = "Surest mistakes"
MOST = 6  # Of either kind,
MOST_OF_A_CLASS = 2  # and of one class, so that a frequent one does not fill the page.


def applies(run: Run) -> bool:
    """Whether examples have several labels."""
    return isinstance(run.config.task, MultilabelConfig)


def render(context: Context) -> Section:
    """Shows the examples with what was said, what they are, and where they are stored."""
    found = context.model.collected
    scores, labels = np.asarray(found.values["scores"]), np.asarray(found.values["labels"])
    names = context.class_names(scores.shape[1])
    parts: list[Markup] = []
    for title, wrong, surest in (
        ("Said, and not labelled", ~labels, -scores),
        ("Labelled, and not said", labels, scores),
    ):
        chosen = list(_choose(wrong, surest))
        if chosen:
            cards = [
                _card(context, int(found.indices[row]), scores[row], labels[row], which, names)
                for row, which in chosen
            ]
            parts += [element("h3", title), element("div", *cards, style_class=_style(context))]
    if not parts:
        raise NotShown(f"there are none among {found.sentence()}")
    about = (
        f"Of {found.sentence()}, those with the highest probability of what is no label, and with "
        f"the lowest of what is one; {MOST_OF_A_CLASS} of a class and one of an example at most."
    )
    return Section(TITLE, join([*parts, note(about)]))


def _choose(
    wrong: np.ndarray,  # [n, classes] bool: what counts.
    surest: np.ndarray,  # [n, classes]: the lowest first.
) -> Iterator[tuple[int, int]]:
    """Yields an example and a class of it, up to `MOST` of them."""
    seen: set[int] = set()
    of_class: Counter[int] = Counter()
    order = np.argsort(np.where(wrong, surest, np.inf), axis=None, kind="stable")
    for place in order[: np.count_nonzero(wrong)]:
        row, which = divmod(int(place), wrong.shape[1])
        if row in seen or of_class[which] == MOST_OF_A_CLASS:
            continue
        seen.add(row)
        of_class[which] += 1
        yield row, which
        if len(seen) == MOST:
            return


def _card(
    context: Context,
    index: int,
    scores: np.ndarray,  # [classes]
    labels: np.ndarray,  # [classes]
    which: int,
    names: tuple[str, ...],
) -> Markup:
    data, place = context.run.config.data, context.model.place(index)
    are = ", ".join(names[label] for label in np.flatnonzero(labels)) or "nothing"
    lines = [
        element(
            "div", element("span", names[which], style_class="said"), f" · {_share(scores[which])}"
        ),
        element("div", "is ", element("span", are, style_class="is")),
        element("div", f"example {index:,}" + f", {_file(place)}" * bool(place)),
    ]
    if isinstance(data, ShowsPictures):
        image = data.picture(context.model.example(index))
        lines.insert(0, picture(image, f"example {index}"))
    hint = {"title": f"example {index}" + f": {place}" * bool(place)}
    return element("div", *lines, style_class="card", attributes=hint)


def _style(context: Context) -> str:
    """Cards are wide where pictures are."""
    data = context.run.config.data
    if isinstance(data, ShowsPictures):
        first = int(context.model.collected.indices[0])
        if not is_wide(data.picture(context.model.example(first))):
            return "cards"
    return "cards wide"


def _file(place: str) -> str:
    """The file of "folder, split 3 (file)"; all of it, if it is not of this form."""
    _, bracket, name = place.partition(" (")
    return name.removesuffix(")") if bracket and place.endswith(")") else place


def _share(score: float) -> str:
    """A probability, of its log-odds."""
    probability = float(np.exp(-np.logaddexp(0.0, -float(score))))
    if 0.001 <= probability <= 0.999:
        return f"{100 * probability:.1f}%"
    return "<0.1%" if probability < 0.5 else ">99.9%"
