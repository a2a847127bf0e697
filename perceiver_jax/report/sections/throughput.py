"""Speed over time: examples a second, and what else was measured of each stretch of steps."""

from collections.abc import Callable
from typing import NamedTuple

from perceiver_jax.report.charts import chart, legend
from perceiver_jax.report.context import Context
from perceiver_jax.report.markup import element, join, note
from perceiver_jax.report.numbers import compact, per_cent
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.sections.lines import smoothed
from perceiver_jax.report.tables import engineering

TITLE = "Throughput"


class _Timing(NamedTuple):
    field: str  # Under "timing" in metrics.jsonl, as train/meter.py names it.
    title: str
    show: Callable[[float], str]


_TIMINGS = (
    _Timing("examples_per_second", "examples/s", compact),
    _Timing("data_wait_fraction", "share of time waiting for data", per_cent),
    _Timing("model_flop_utilization", "model FLOP utilisation", per_cent),
    _Timing("flops_per_second", "model FLOP/s", engineering),
)


def render(context: Context) -> Section:
    """Draws a chart for each timing that was logged."""
    several = len(context.runs) > 1
    restarts = [] if several else [start["step"] for start in context.run.starts if start["step"]]
    charts = []
    for timing in _TIMINGS:
        series = [
            each
            for number, run in enumerate(context.runs)
            for each in smoothed(
                run.label if several else "",
                *run.series(run.train_entries, timing.field),
                number,
                behind=not several,
            )
        ]
        if not any(len(each.values) for each in series):
            continue
        aside = "" if several else timing.show(_rounded(float(series[-1].values[-1])))
        charts.append(
            chart(
                timing.title,
                series,
                show=timing.show,
                limits=(0.0, None),
                marks=restarts,
                aside=aside,
                with_legend=False,
            )
        )
    if not charts:
        raise NotShown("no timing was logged yet")
    body = [element("div", *charts, style_class="pair")]
    if several:
        body.insert(0, legend(series, shared=True))
    if restarts:
        steps = ", ".join(f"{step:,}" for step in restarts)
        body.append(note(f"Dashed lines: the run was resumed at step {steps}."))
    return Section(TITLE, join(body))


def _rounded(value: float) -> float:
    """Four digits, as more are noise."""
    return float(f"{value:.4g}")
