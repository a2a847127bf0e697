"""Pictures of attention: grids of maps over images, heat over text, curves, clouds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.data.points import views
from perceiver_jax.infer.attention_maps import Row, upsample
from perceiver_jax.infer.plotting import DPI, pyplot, save

_COLOURS = "magma"
_ROW = 64  # Bytes in a line of text.
_PURPOSE = "Drawing attention"
_SIDES = 3  # Views of a cloud beside each other.
_VIEW = 240  # Pixels of a view's side,
_VIEW_DPI = 170  # and the dots per inch at which it has about as many in the picture.
_LARGEST = 16384  # Pixels of the longer side of a picture.
_MASK, _MASK_PLAIN, _OTHER = "\u25a2", "_", "\u00b7"
_SCALES = "each map on a scale of its own"


def draw_image(
    path: Path,
    image: np.ndarray,  # [y, x, 3 or 1], uint8
    rows: Sequence[Sequence[Row]],  # As `attention_maps.rows` makes them, with maps [y', x'].
    *,
    title: str = "",
) -> None:
    """Draws an image, and in a row for each cross-attend what the latents looked at in it.

    Every map has its own scale, as in the paper's Figure 3: from 0 to what 1 in 200 values exceeds,
    because a few bright pixels would leave the rest black. A map has at least as many pixels in the
    picture as the image has, unless that would make a picture of more than 16384 pixels a side.

    Args:
      path: the picture to write.
      image: what the model saw.
      rows: the maps.
      title: a line on top.
    """
    plt = pyplot(_PURPOSE)
    columns = 1 + len(rows[0])
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(1.5 * columns, 1.55 * len(rows) + 0.4),
        squeeze=False,
        layout="constrained",
    )
    height, width = image.shape[:2]
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
        line[1].set_ylabel(row[0].label.partition(":")[0].replace(", ", "\n"), fontsize=8)
        if number:
            line[0].spines[:].set_visible(False)  # The image stands once, in the first row.
        else:
            shown = image if image.shape[-1] == 3 else image[..., 0]
            line[0].imshow(shown, cmap="gray", vmin=0, vmax=255)
            line[0].set_title("input", fontsize=8)
        for axis, (label, weights) in zip(line[1:], row, strict=True):
            brightest = np.quantile(weights, 0.995)
            shown = upsample(weights, (height, width))
            axis.imshow(shown, cmap=_COLOURS, vmin=0, vmax=brightest)
            if not number:
                axis.set_title(label.partition(": ")[2], fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.supxlabel(_SCALES, fontsize=7)
    save(figure, path, dpi=_resolution(figure, axes[0, 1], (height, width)))


def _resolution(figure: Any, cell: Any, shape: tuple[int, int]) -> float:
    """The dots per inch at which a cell of a figure has a pixel for each of `shape`, or more."""
    figure.draw_without_rendering()  # Sizes are known when all is laid out.
    extent = cell.get_window_extent()
    height, width = extent.height / figure.dpi, extent.width / figure.dpi  # Inches.
    # One more, because the frame is drawn on the outermost pixels.
    needed = max((shape[0] + 1) / height, (shape[1] + 1) / width)
    return float(min(max(DPI, needed), _LARGEST / max(figure.get_size_inches())))


def draw_text(
    path: Path,
    tokens: Sequence[str],  # [m], names as `fill_mask.token_name` gives them: "a", "0xC3", "[MASK]"
    rows: Sequence[Sequence[Row]],  # Maps [m].
) -> None:
    """Draws bytes on cells whose colour is how much was read of them, one block for each map.

    Masked bytes are shown as a box, bytes that are no printable ASCII and special tokens as a dot.
    """
    plt = pyplot(_PURPOSE)
    mask = _mask_sign()
    characters = [
        mask if token == "[MASK]" else token if len(token) == 1 else _OTHER for token in tokens
    ]
    cells = [row for line in rows for row in line]
    lines = -(-len(characters) // _ROW)
    figure, axes = plt.subplots(
        len(cells),
        1,
        figsize=(0.16 * min(_ROW, len(characters)) + 1.2, (0.26 * lines + 0.45) * len(cells)),
        squeeze=False,
        layout="constrained",
    )
    for axis, (label, weights) in zip(axes[:, 0], cells, strict=True):
        heat = np.full(lines * _ROW, np.nan)
        heat[: len(weights)] = weights
        axis.imshow(
            heat.reshape(lines, _ROW)[:, : min(_ROW, len(characters))],
            cmap=_COLOURS,
            vmin=0,
            aspect="auto",
        )
        middle = np.nanmax(heat) / 2
        for index, character in enumerate(characters):
            axis.text(
                index % _ROW,
                index // _ROW,
                character if character != "$" else r"\$",  # Not the start of a formula.
                ha="center",
                va="center",
                fontsize=7,
                family="monospace",
                color="white" if heat[index] < middle else "black",
            )
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_title(label, fontsize=8, loc="left")
    figure.supxlabel(
        f"{mask} masked, {_OTHER} not printable ASCII; {_SCALES}", fontsize=7, family="monospace"
    )
    save(figure, path)


def _mask_sign() -> str:
    """A box for what is masked, or what stands in where the font has none."""
    from matplotlib import font_manager

    font = font_manager.get_font(
        font_manager.findfont(font_manager.FontProperties(family="monospace"))
    )
    return _MASK if font.get_char_index(ord(_MASK)) else _MASK_PLAIN


def draw_audio(
    path: Path,
    samples: np.ndarray,  # [samples]
    rows: Sequence[Sequence[Row]],  # Maps [patches].
) -> None:
    """Draws a waveform, and under it how much was read of each of its patches."""
    plt = pyplot(_PURPOSE)
    cells = [row for line in rows for row in line]
    figure, axes = plt.subplots(
        1 + len(cells), 1, figsize=(9, 1.5 + 1.1 * len(cells)), sharex=True, layout="constrained"
    )
    axes[0].plot(np.arange(len(samples)), samples, linewidth=0.5)
    axes[0].set_title("sound", fontsize=8, loc="left")
    for axis, (label, weights) in zip(axes[1:], cells, strict=True):
        edges = np.linspace(0, len(samples), len(weights) + 1)
        axis.stairs(weights, edges, fill=True)
        axis.set_ylim(bottom=0)
        axis.set_title(label, fontsize=8, loc="left")
    axes[-1].set_xlabel("sample")
    save(figure, path)


def draw_points(
    path: Path,
    points: np.ndarray,  # [m, 3]
    rows: Sequence[Sequence[Row]],  # Maps [m]; the first of each line is the mean of latents.
    *,
    title: str = "",
) -> None:
    """Draws a cloud of points, coloured by how much was read of them, a line for each of `rows`.

    The first map of a line from the front, the side and obliquely above, the others from above; on
    top, the cloud itself. Every map has its own scale of colours, from 0 to what 1 in 200 points
    exceeds, and near points hide those behind them.

    Args:
      path: the picture to write.
      points: what the model saw, z up.
      rows: the maps.
      title: a line on top.
    """
    plt = pyplot(_PURPOSE)
    columns = _SIDES + len(rows[0]) - 1
    figure = plt.figure(figsize=(1.5 * columns, 1.7 * (1 + len(rows)) + 0.4), layout="constrained")
    grid = figure.add_gridspec(1 + len(rows), columns)
    shown = views.three(points, size=_VIEW)
    _draw_view(figure.add_subplot(grid[0, :_SIDES]), shown, "input")
    for number, (mean, *latents) in enumerate(rows, start=1):
        axis = figure.add_subplot(grid[number, :_SIDES])
        _draw_view(axis, views.three(points, mean.weights, size=_VIEW), mean.label)
        for column, (label, weights) in enumerate(latents, start=_SIDES):
            axis = figure.add_subplot(grid[number, column])
            shown = views.view(points, weights, size=_VIEW)
            _draw_view(axis, shown, label.partition(": ")[2])
    if title:
        figure.suptitle(title, fontsize=10)
    figure.supxlabel(_SCALES, fontsize=7)
    save(figure, path, dpi=_VIEW_DPI)


def _draw_view(axis: Any, picture: np.ndarray, label: str) -> None:
    axis.imshow(picture)
    axis.set_axis_off()
    axis.set_title(label, fontsize=8)
