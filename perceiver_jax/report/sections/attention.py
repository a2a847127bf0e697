"""Attention maps: what latents looked at in a few examples (Perceiver, Fig. 3)."""

import jax
import numpy as np

from perceiver_jax.data.shown import ShowsPictures
from perceiver_jax.errors import ModelError
from perceiver_jax.infer.attention_maps import AttentionMaps, choose_latents, cross_attends, rows
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element, join, note
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.pictures import heat_map, picture
from perceiver_jax.report.sections.mistakes import worst_mistakes
from perceiver_jax.tasks.predictions import ClassPredictions

TITLE = "Attention"
_EXAMPLES = 4
_LATENTS = 4
_CROSS_ATTENDS = 4  # Of each example; more are passed over evenly.


def render(context: Context) -> Section:
    """Shows pictures, and for each cross-attend where its latents looked."""
    data = context.run.config.data
    if not isinstance(data, ShowsPictures):
        raise NotShown(f"{type(data).__name__} has no method `picture`")
    _, loaded = context.model.loaded
    blocks = []
    for index, title in _choose(context):
        example = context.model.example(index)
        batch = jax.tree.map(lambda leaf: np.asarray(leaf)[None], dict(example))
        call = context.run.config.task.model_inputs(batch)
        try:
            mask = None if call.input_mask is None else np.asarray(call.input_mask)
            maps = cross_attends(loaded, *call.inputs, input_mask=mask)
        except ModelError as error:
            raise NotShown(str(error).rstrip(".")) from error
        if len(maps.grid) != 2:
            raise NotShown("the inputs of this model are no grid of an image")
        shown = picture(data.picture(example), title)
        blocks.append(_block(title, shown, maps))
    heads = f", and maps are means over {maps.num_heads} heads" if maps.num_heads > 1 else ""
    about = note(
        "Brightness: how much a cross-attend read of a place; each map on a scale of its own. "
        f"The mean is over all {maps.num_latents:,} latents{heads}."
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


def _block(title: str, shown: Markup, maps: AttentionMaps) -> Markup:
    latents = choose_latents(maps.num_latents, _LATENTS)
    lines = rows(maps, latents)
    kept = choose_latents(len(lines), _CROSS_ATTENDS)
    content = [element("h3", title)]
    for position, number in enumerate(kept):
        if len(lines) > 1:
            content.append(element("div", maps.names[number], style_class="row-name"))
        # The input, and what stands below the maps, once for all rows.
        first = _figure(shown, "input") if position == 0 else element("figure")
        cells = []
        for row in lines[number]:
            _, _, which = row.label.partition(": ")
            which = which.replace("mean of latents", "mean")
            cells.append(_figure(heat_map(row.weights, row.label), which if not position else ""))
        content.append(element("div", first, *cells, style_class="map-row"))
    return element("div", *content)


def _figure(image: Markup, caption: str) -> Markup:
    return element("figure", image, element("div", caption))
