"""Attention maps: what latents looked at in a few examples (Perceiver, Fig. 3)."""

import jax
import numpy as np

from perceiver_jax.data.points import views
from perceiver_jax.data.shown import ShowsPictures, ShowsPoints
from perceiver_jax.errors import ModelError
from perceiver_jax.infer.attention_maps import (
    AttentionMaps,
    Row,
    choose_latents,
    cross_attends,
    rows,
)
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.pictures import heat_map, picture
from perceiver_jax.report.sections.mistakes import worst_mistakes
from perceiver_jax.tasks.base import evaluation_batch
from perceiver_jax.tasks.predictions import ClassPredictions

TITLE = "Attention"
_EXAMPLES = 4
_LATENTS = 4  # Of an image,
_LATENTS_OF_POINTS = 3  # and of a cloud, whose mean is seen from as many sides.
_CROSS_ATTENDS = 4  # Of each example; more are passed over evenly.


def render(context: Context) -> Section:
    """Shows pictures or clouds, and for each cross-attend where its latents looked."""
    data = context.run.config.data
    if not isinstance(data, ShowsPictures | ShowsPoints):
        raise NotShown(f"{type(data).__name__} has no method `picture` or `cloud`")
    _, loaded = context.model.loaded
    blocks = []
    for index, title in _choose(context):
        example = context.model.example(index)
        batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], dict(example))
        task = context.run.config.task
        call = task.model_inputs(evaluation_batch(task, batch))
        if {len(leaf) for leaf in jax.tree.leaves(call.inputs)} != {1}:
            raise NotShown("examples to evaluate are several clips each")
        try:
            mask = None if call.input_mask is None else np.asarray(call.input_mask)
            maps = cross_attends(loaded, *call.inputs, input_mask=mask)
        except ModelError as error:
            raise NotShown(str(error).rstrip(".")) from error
        if isinstance(data, ShowsPoints):
            cloud = data.cloud(example)
            if maps.grid != (len(cloud),):
                raise NotShown("the inputs of this model are not the points of a cloud")
            content = _of_points(cloud, maps, data.up())
        else:
            if len(maps.grid) != 2:
                raise NotShown("the inputs of this model are no grid of an image")
            content = _of_image(picture(data.picture(example), title), maps)
        blocks.append(element("div", element("h3", title), *content))
    heads = f", and maps are means over {maps.num_heads} heads" if maps.num_heads > 1 else ""
    what, seen = "place", ""
    if isinstance(data, ShowsPoints):
        what = "point"
        seen = " Clouds are seen from the front, the side and obliquely above."
    about = note(
        f"Brightness: how much a cross-attend read of a {what}; each map on a scale of its own. "
        f"The mean is over all {maps.num_latents:,} latents{heads}.{seen}"
    )
    return Section(TITLE, join([element("div", *blocks, style_class="maps"), about]))


def _choose(context: Context) -> list[tuple[int, str]]:
    """Examples of different labels and the worst mistake, each with what it is."""
    try:
        predicted = context.model.predicted
    except NotShown:
        predicted = None
    if predicted is None or not isinstance(predicted.values, ClassPredictions):
        count = len(context.model.source)
        chosen = np.unique(np.linspace(0, count - 1, _EXAMPLES).astype(int))
        return [(int(index), f"example {index:,}") for index in chosen]
    values = predicted.values
    labels, guesses = np.asarray(values.labels), np.asarray(values.guesses)[:, 0]
    names = context.class_names(values.num_classes)
    chosen_rows = list(worst_mistakes(values, 1))
    seen = {int(labels[row]) for row in chosen_rows}
    for row in np.flatnonzero(labels == guesses):
        if len(chosen_rows) == _EXAMPLES:
            break
        if int(labels[row]) not in seen:
            seen.add(int(labels[row]))
            chosen_rows.append(row)
    return [
        (
            int(predicted.indices[row]),
            f"{names[labels[row]]}, recognised"
            if labels[row] == guesses[row]
            else f"{names[labels[row]]}, taken for {names[guesses[row]]}",
        )
        for row in sorted(chosen_rows, key=lambda row: labels[row] != guesses[row])
    ]


def _of_image(shown: Markup, maps: AttentionMaps) -> list[Markup]:
    """A row for each cross-attend: the mean of its latents, and some of them."""
    content = []
    for position, (name, line) in enumerate(_lines(maps, _LATENTS)):
        content += _name(name, maps)
        # The input, and what stands below the maps, once for all rows.
        first = _figure(shown, "input") if position == 0 else element("figure")
        cells = [
            _figure(heat_map(row.weights, row.label), _which(row) if not position else "")
            for row in line
        ]
        content.append(element("div", first, *cells, style_class="map-row"))
    return content


def _of_points(
    cloud: np.ndarray,  # [n, 3]
    maps: AttentionMaps,
    up: views.Axis,
) -> list[Markup]:
    """The cloud, and a row for each cross-attend: the mean from three sides, latents from one."""
    shown = _figure(picture(views.three(cloud, up=up), "input"), "input", "wide")
    content = [element("div", shown, style_class="map-row")]
    for position, (name, (mean, *latents)) in enumerate(_lines(maps, _LATENTS_OF_POINTS)):
        content += _name(name, maps)
        caption = _which if position == 0 else lambda row: ""
        sides = picture(views.three(cloud, mean.weights, up=up), mean.label)
        cells = [_figure(sides, caption(mean), "wide")]
        for row in latents:
            seen = views.view(cloud, row.weights, up=up)
            cells.append(_figure(picture(seen, row.label), caption(row)))
        content.append(element("div", *cells, style_class="map-row"))
    return content


def _lines(maps: AttentionMaps, num_latents: int) -> list[tuple[str, list[Row]]]:
    """The cross-attends that are shown, by name."""
    lines = rows(maps, choose_latents(maps.num_latents, num_latents))
    kept = choose_latents(len(lines), _CROSS_ATTENDS)
    return [(maps.names[number], lines[number]) for number in kept]


def _name(name: str, maps: AttentionMaps) -> list[Markup]:
    """The name of a row, where there are several."""
    return [element("div", name, style_class="row-name")] if len(maps.names) > 1 else []


def _which(row: Row) -> str:
    return row.label.partition(": ")[2].replace("mean of latents", "mean")


def _figure(image: Markup, caption: str, style_class: str = "") -> Markup:
    return element("figure", image, element("div", caption), style_class=style_class)
