"""The worst mistakes: examples whose label the model thought least likely."""

from typing import NamedTuple

import numpy as np

from perceiver_jax.data.shown import ShowsPictures
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note, table
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.pictures import is_wide, picture
from perceiver_jax.report.sections.classes import applies as applies
from perceiver_jax.tasks.predictions import ClassPredictions

TITLE = "Worst mistakes"
MOST = 12


class _Mistake(NamedTuple):
    example: int  # Its place in the split.
    said: str  # The best guess.
    said_share: str  # Its probability.
    label: str  # What it is.
    label_share: str


def render(context: Context) -> Section:
    """Shows the examples with what was said of them; in a table where they have no pictures."""
    predicted = context.model.predicted
    values = predicted.values
    if not isinstance(values, ClassPredictions):
        raise NotShown("the task does not choose one of several classes")
    worst = worst_mistakes(values)
    about = (
        f"Of {predicted.sentence()}; the first is the one whose label had the least probability."
    )
    if not len(worst):
        raise NotShown(f"there are none among {predicted.sentence()}")
    names = context.class_names(values.num_classes)
    mistakes = [
        _Mistake(
            example=int(predicted.indices[row]),
            said=names[int(values.guesses[row, 0])],
            said_share=_share(float(values.guess_probabilities[row, 0])),
            label=names[int(values.labels[row])],
            label_share=_share(float(values.label_probabilities[row])),
        )
        for row in worst
    ]
    data = context.run.config.data
    if not isinstance(data, ShowsPictures):
        rows = [
            [f"{each.example:,}", f"{each.said} ({each.said_share})",
             f"{each.label} ({each.label_share})"]
            for each in mistakes
        ]  # fmt: skip
        return Section(TITLE, join([table(["example", "said", "is"], rows), note(about)]))
    images = [data.picture(context.model.example(each.example)) for each in mistakes]
    cards = [
        _card(picture(image, f"example {each.example}"), each)
        for image, each in zip(images, mistakes, strict=True)
    ]
    kind = "cards wide" if is_wide(images[0]) else "cards"
    return Section(TITLE, join([element("div", *cards, style_class=kind), note(about)]))


def worst_mistakes(values: ClassPredictions, most: int = MOST) -> np.ndarray:
    """Returns rows of wrong predictions, the label with the least probability first."""
    wrong = np.flatnonzero(np.asarray(values.guesses)[:, 0] != np.asarray(values.labels))
    order = np.argsort(np.asarray(values.label_probabilities)[wrong], kind="stable")
    return wrong[order[:most]]


def _share(probability: float) -> str:
    return "<0.1%" if probability < 0.001 else f"{100 * float(probability):.2g}%"


def _card(image: Markup, mistake: _Mistake) -> Markup:
    said = element("span", mistake.said, style_class="said")
    label = element("span", mistake.label, style_class="is")
    return element(
        "div",
        image,
        element("div", "said ", said, f" · {mistake.said_share}"),
        element("div", "is ", label, f" · {mistake.label_share}"),
        style_class="card",
        attributes={"title": f"example {mistake.example}"},
    )
