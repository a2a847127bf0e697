"""Examples by class: what the data look like, a few pictures of each class."""

from collections.abc import Mapping

import numpy as np

from perceiver_jax.data.shown import ShowsPictures
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.pictures import is_wide, picture
from perceiver_jax.report.sections.classes import applies as applies
from perceiver_jax.tasks.predictions import ClassPredictions

TITLE = "Examples"
MOST_CLASSES = 40  # More are passed over evenly.
MOST = 80  # Pictures of all classes together,
MOST_OF_A_CLASS = 4  # and of one.

_NO_CLASSES = "the task does not choose one of several classes"


def render(context: Context) -> Section:
    """Shows pictures of the evaluated split, under the names of their classes."""
    data = context.run.config.data
    if not isinstance(data, ShowsPictures):
        raise NotShown(f"{type(data).__name__} has no method `picture`")
    places, names = _by_class(context)
    labels = sorted(places)
    if len(labels) > MOST_CLASSES:
        labels = [labels[place] for place in _evenly(len(labels), MOST_CLASSES)]
    each = min(max(MOST // len(labels), 1), MOST_OF_A_CLASS)
    groups = []
    for label in labels:
        chosen = places[label][_evenly(len(places[label]), each)]
        images = [data.picture(context.model.example(index)) for index in chosen]
        shown = [
            picture(image, f"{names[label]}, example {index}")
            for image, index in zip(images, chosen, strict=True)
        ]
        strip = "strip wide" if is_wide(images[0]) else "strip"
        name = element("div", names[label], style_class="row-name")
        groups.append(element("div", name, element("div", *shown, style_class=strip)))
    about = _about(context, labels, names)
    return Section(TITLE, join([element("div", *groups, style_class="by-class"), about]))


def _by_class(context: Context) -> tuple[Mapping[int, np.ndarray], tuple[str, ...]]:
    """Examples by label, as their places in the split; and the names of all classes."""
    try:
        predicted = context.model.predicted
    except NotShown:
        return _by_looking(context)
    if not isinstance(predicted.values, ClassPredictions):
        raise NotShown(_NO_CLASSES)
    labels = np.asarray(predicted.values.labels)
    places = {int(label): predicted.indices[labels == label] for label in np.unique(labels)}
    return places, context.class_names(predicted.values.num_classes)


def _by_looking(context: Context) -> tuple[Mapping[int, np.ndarray], tuple[str, ...]]:
    """The same of some examples that were drawn at random, where no model has seen any."""
    key = getattr(context.run.config.task, "label_key", None)
    found: dict[int, list[int]] = {}
    for index in np.random.default_rng(0).permutation(len(context.model.source))[:MOST]:
        try:
            example = context.model.example(index)
        except CorruptExample:
            continue
        if key is None or key not in example or np.ndim(example[key]):
            raise NotShown(_NO_CLASSES)
        found.setdefault(int(example[key]), []).append(int(index))
    if not found:
        raise NotShown("no example can be read")
    count = getattr(context.run.config.task, "num_classes", 0)
    names = context.class_names(max(count, max(found) + 1))
    return {label: np.sort(places) for label, places in found.items()}, names


def _evenly(count: int, most: int) -> np.ndarray:
    """Up to `most` of `count` places, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def _about(context: Context, labels: list[int], names: tuple[str, ...]) -> Markup:
    split = context.run.config.trainer.eval_split
    which = (
        f"{len(labels):,} of {len(names):,}" if len(labels) < len(names) else f"All {len(names):,}"
    )
    return note(f"{which} classes; examples of the split {split}, as the model reads them.")
