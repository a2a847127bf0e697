"""One picture of the runs of a table: their evaluations over training, a line for each seed."""

import pathlib
from collections.abc import Mapping, Sequence

from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.errors import require
from perceiver_jax.report.curves import TEXT, dress

COLOURS = ("#d9622b", "#3b4a66", "#4c9a6a", "#8e5ea2")  # Of the experiments, in turn.
_REFERENCE = "#8a94a6"

Line = list[tuple[int, float]]  # (step, value) of each evaluation.


def evaluations(metrics: pathlib.Path, name: str) -> Line:
    """Returns the values of a metric, of all evaluations in a run's metrics.jsonl."""
    return [
        (entry["step"], entry[name])
        for entry in read_metrics(metrics)
        if entry["split"] != "train" and name in entry
    ]


def draw(
    runs: Mapping[str, Sequence[pathlib.Path]],
    picture: pathlib.Path,
    *,
    panels: Mapping[str, str],
    reference: tuple[str, Mapping[str, float]],
) -> None:
    """Draws a PNG with a panel for each metric.

    Args:
      runs: metrics.jsonl of each seed, by name of the experiment.
      picture: where it goes.
      panels: the title of each metric, by its name; metrics are fractions, and shown in per cent.
      reference: a name, and what it reaches in each metric: a dashed line.

    Raises:
      UserError: matplotlib is not installed.
    """
    require("matplotlib", purpose="The picture of the seeds' curves")
    # Not pyplot: it keeps figures alive, and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 3.6), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for place, (metric, title) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        dress(axes, f"{title} (%)")
        for number, (name, files) in enumerate(runs.items()):
            for seed, file in enumerate(files):
                line = evaluations(file, metric)
                axes.plot(
                    [step for step, _ in line],
                    [100 * value for _, value in line],
                    color=COLOURS[number % len(COLOURS)],
                    linewidth=1.4,
                    marker="o",
                    markersize=3,
                    label=None if seed else f"{name}, {len(files)} seeds",
                )
        what, values = reference
        axes.axhline(
            100 * values[metric], color=_REFERENCE, linestyle="--", linewidth=1.4, label=what
        )
        axes.set_xlabel("step", color=TEXT, fontsize=9)
        axes.set_xlim(left=0)
        axes.legend(frameon=False, fontsize=9, labelcolor=TEXT, loc="lower right")
    figure.savefig(picture, format="png")
