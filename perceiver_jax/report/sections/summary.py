"""The run in a few large numbers."""

from perceiver_jax.report import numbers
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import Markup, element
from perceiver_jax.report.page import Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.report.sections import metrics_shown
from perceiver_jax.train.progress import format_seconds

TITLE = "Summary"


def render(context: Context) -> Section:
    """Shows tiles: the result, the loss, length, size, speed and time."""
    run = context.run
    tiles = []
    for metric, value in list(metrics_shown.metrics_of(run).items())[:3]:
        tiles.append((metrics_shown.show(run, metric, value), _metric_label(run, metric)))
    tiles.append((f"{run.step:,}", _length(run)))
    if "num_params" in run.result:
        tiles.append((f"{run.result['num_params']:,}", "parameters"))
    _, speeds = run.series(run.train_entries, "examples_per_second")
    if len(speeds) and speeds[-1] > 0:
        tiles.append((numbers.plain(float(round(speeds[-1]))), "examples/s in training"))
    seconds = run.seconds()
    if seconds:
        tiles.append((format_seconds(seconds), _starts(run)))
    return Section("", element("div", *map(_tile, tiles, range(len(tiles))), style_class="tiles"))


def _tile(tile: tuple[str, str], position: int) -> Markup:
    value, label = tile
    name = "tile first" if position == 0 else "tile"
    return element("div", element("b", value), element("span", label), style_class=name)


def _metric_label(run: Run, metric: str) -> str:
    label = f"{run.config.trainer.eval_split} {metrics_shown.title(run, metric)}"
    left_out = run.result.get("left_out", 0)
    if left_out and metric == run.config.task.headline.metric:
        label += f", {left_out:,} corrupt {'example' if left_out == 1 else 'examples'} left out"
    if run.is_selected:
        return f"{label} at step {run.result['step']:,}, selected by test score"
    return label if run.final is not None else f"{label} at step {run.result['step']:,}"


def _length(run: Run) -> str:
    total = run.num_steps()
    if run.final is None and total is not None:
        return f"of {total:,} steps, {run.config.trainer.batch_size:,} examples each"
    return f"steps of {run.config.trainer.batch_size:,} examples"


def _starts(run: Run) -> str:
    if len(run.starts) > 1:
        return f"of training, in {len(run.starts)} starts"
    return "of training and evaluation"
