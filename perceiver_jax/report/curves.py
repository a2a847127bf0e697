"""A picture of a run's metrics: the loss, the headline metric, and the learning rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perceiver_jax import errors
from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.tasks.base import Headline, Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAIN = "#8a94a6"  # Slate for the many noisy training values,
_SMOOTH = "#3b4a66"  # darker for their running mean,
_EVAL = "#d9622b"  # orange for what counts.
_GRID = "#e6e8ec"
TEXT = "#2b2f36"

_LOG_FROM = 4.0  # Losses that span less get a linear axis: a logarithmic one has few numbers there.


def training_loss_note(task: Task) -> str | None:
    """Returns what sets a training loss apart from the evaluated one: "label smoothing 0.1"."""
    # Of the tasks' fields those that make the two differ.
    smoothing = getattr(task, "label_smoothing", 0.0)
    notes = [f"label smoothing {smoothing:g}"] if smoothing > 0 else []
    if getattr(task, "mixing", None) is not None:
        notes.append("mixed examples")
    return ", ".join(notes) or None


def draw_curves(
    metrics: Path,
    picture: Path,
    *,
    title: str,
    headline: Headline,
    train_note: str | None = None,
    result_step: int | None = None,
) -> None:
    """Draws metrics.jsonl as a PNG.

    Args:
      metrics: the file that the trainer wrote.
      picture: where the picture goes.
      title: the name of the run.
      headline: the metric of the second panel.
      train_note: what sets the training loss apart from the evaluated one, such as "label
        smoothing 0.1"; stands in the legend of the loss.
      result_step: of the evaluation that is the result, which is marked; None: the last one.

    Raises:
      UserError: matplotlib is not installed.
    """
    errors.require("matplotlib", purpose="The picture of the training curves")
    # Not pyplot: it keeps figures alive, and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = read_metrics(metrics)
    train = [entry for entry in entries if entry["split"] == "train"]
    evals = [entry for entry in entries if entry["split"] != "train"]

    figure = Figure(figsize=(10.5, 4.6), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(5, 1.1))
    loss_axes = figure.add_subplot(grid[0, 0])
    headline_axes = figure.add_subplot(grid[0, 1], sharex=loss_axes)
    rate_axes = figure.add_subplot(grid[1, :])
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=TEXT)

    train_label = f"train (with {train_note})" if train_note else "train"
    _draw_metric(loss_axes, train, evals, "loss", "loss", train_label=train_label)
    if _spans(train, evals, "loss") >= _LOG_FROM:
        loss_axes.set_yscale("log")
        # 0.3 and not 3 x 10^-1: losses span few decades.
        loss_axes.yaxis.set_major_formatter(lambda value, _: _plain_number(value))
        loss_axes.yaxis.set_minor_formatter(
            lambda value, _: _plain_number(value) if f"{value:e}"[0] in "235" else ""
        )
    scale = 100.0 if headline.is_fraction else 1.0
    unit = f"{headline.title} (%)" if headline.is_fraction else headline.title
    _draw_metric(headline_axes, train, evals, headline.metric, unit, scale)
    if headline.is_fraction:
        _frame_fraction(headline_axes, train, evals, headline.metric)
    results = [each for each in evals if result_step in (None, each["step"])]
    if results and headline.metric in results[-1]:
        _mark_result(headline_axes, results[-1], headline, scale, last=results[-1] is evals[-1])

    steps, rates = _series(train, "learning_rate")
    rate_axes.fill_between(steps, rates, color=_TRAIN, alpha=0.25, linewidth=0)
    rate_axes.plot(steps, rates, color=_TRAIN, linewidth=1.2)
    rate_axes.set_ylim(bottom=0)
    dress(rate_axes, "learning rate")
    rate_axes.yaxis.set_major_formatter(lambda value, _: _plain_number(value))
    rate_axes.set_xlabel("step", color=TEXT, fontsize=9)
    last = max((entry["step"] for entry in entries), default=1)
    for axes in (loss_axes, headline_axes, rate_axes):
        axes.set_xlim(0, last)
    replacement = picture.with_name(picture.name + ".tmp")
    figure.savefig(replacement, format="png")
    replacement.replace(picture)


def _plain_number(value: float) -> str:
    return f"{value:g}"


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Returns means over up to `window` neighbours, fewer at the ends; [n] -> [n]."""
    window = max(min(window, len(values)), 1)
    ones = np.ones(window)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def _draw_metric(
    axes: "Axes",
    train: Sequence[dict[str, Any]],
    evals: Sequence[dict[str, Any]],
    name: str,
    label: str,
    scale: float = 1.0,
    train_label: str = "train",
) -> None:
    steps, values = _series(train, name)
    if len(values):
        axes.plot(steps, scale * values, color=_TRAIN, linewidth=0.8, alpha=0.45)
        mean = running_mean(scale * values, max(len(values) // 20, 1))
        axes.plot(steps, mean, color=_SMOOTH, linewidth=1.6, label=train_label)
    steps, values = _series(evals, name)
    if len(values):
        marker = "o" if len(values) <= 60 else ""
        axes.plot(
            steps,
            scale * values,
            color=_EVAL,
            linewidth=1.8,
            marker=marker,
            markersize=3.2,
            label=evals[-1]["split"],
        )
    dress(axes, label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, labelcolor=TEXT, loc="best")


def _frame_fraction(
    axes: "Axes",
    train: Sequence[dict[str, Any]],
    evals: Sequence[dict[str, Any]],
    name: str,
) -> None:
    """Leaves room above the highest value, and does not let the first few steps squeeze the rest.

    Up to 100 %, unless values stay far below it, as mean average precisions do.
    """
    values = 100 * np.concatenate([_series(train, name)[1], _series(evals, name)[1]])
    values = values[np.isfinite(values)]
    low, high = (float(np.quantile(values, 0.05)), float(np.max(values))) if len(values) else (0, 0)
    top = 100.0 if high > 50 or not len(values) else high
    axes.set_ylim(max(0.0, low - 0.1 * (top - low) - 1), top + 0.04 * (top - low) + 0.2)


def _mark_result(
    axes: "Axes", entry: dict[str, Any], headline: Headline, scale: float, *, last: bool
) -> None:
    value = entry[headline.metric]
    axes.plot(
        [entry["step"]], [scale * value], "o", color=_EVAL, markersize=6, zorder=5, clip_on=False
    )
    axes.set_title(
        f"{entry['split']} {headline.show(value)}"
        + ("" if last else f" at step {entry['step']:,}"),
        loc="right",
        fontsize=11,
        fontweight="bold",
        color=_EVAL,
    )


def dress(axes: "Axes", title: str) -> None:
    """Gives a panel its title, a quiet grid and no frame: the style of all curves."""
    axes.set_title(title, loc="left", fontsize=10, color=TEXT)
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#b8bdc7")
    axes.tick_params(which="both", colors=TEXT, labelsize=8.5)


def _series(entries: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(entry["step"], entry[name]) for entry in entries if name in entry]
    if not pairs:
        return np.zeros(0), np.zeros(0)
    steps, values = zip(*pairs, strict=True)
    return np.asarray(steps, float), np.asarray(values, float)


def _spans(train: Sequence[dict[str, Any]], evals: Sequence[dict[str, Any]], name: str) -> float:
    """The factor between a metric's lowest and highest value; 1 where not all are positive."""
    values = np.concatenate([_series(train, name)[1], _series(evals, name)[1]])
    if not np.all(values > 0):
        return 1.0
    values = values[np.isfinite(values)]
    return float(np.max(values) / np.min(values)) if len(values) else 1.0
