"""Curves over the training steps: losses, the headline metric, learning rate, gradient norm."""

import dataclasses
from collections.abc import Callable

import numpy as np

from perceiver_jax.report.charts import Series, chart, legend
from perceiver_jax.report.context import Context
from perceiver_jax.report.curves import training_loss_note
from perceiver_jax.report.markup import Markup, element, join, note
from perceiver_jax.report.numbers import compact
from perceiver_jax.report.page import NotShown, Section
from perceiver_jax.report.run_record import Run
from perceiver_jax.report.sections.lines import FEW, smoothed

TITLE = "Curves"


def render(context: Context) -> Section:
    """Draws the curves, all runs in the same charts."""
    if not any(run.entries for run in context.runs):
        raise NotShown("nothing was logged yet")
    several = len(context.runs) > 1
    headline = context.runs[0].config.task.headline
    losses, values = _series(context, "loss"), _series(context, headline.metric)
    charts = [
        chart("loss", losses, log=True, aside=_last(context, "loss"), with_legend=not several)
    ]
    if any(len(each.values) for each in values):
        values += _paper(context)
        show, limits = _as_fraction(values) if headline.is_fraction else (compact, (None, None))
        charts.append(
            chart(
                headline.title,
                values,
                show=show,
                limits=limits,
                aside=_last(context, headline.metric, headline.show),
                with_legend=not several,
            )
        )
    rates, norms = (_train_only(context, name) for name in ("learning_rate", "gradient_norm"))
    charts.append(_low(chart("learning rate", rates, with_legend=False)))
    if any(len(each.values) for each in norms):
        charts.append(_low(chart("norm of the gradient", norms, log=True, with_legend=False)))
    body = [element("div", *charts, style_class="pair")]
    if several:
        body.insert(0, legend([each for each in values if each.style != "faint"], shared=True))
        body.append(
            note(
                "Lines with dots are evaluations, thin lines the logged training steps: of more "
                f"than {FEW} their running mean."
            )
        )
    return Section(TITLE, join(body))


def _series(context: Context, name: str) -> list[Series]:
    """A metric in training and in evaluation."""
    series = []
    if len(context.runs) == 1:
        run = context.run
        label = _train_label(run) if name == "loss" else "train"
        series += smoothed(label, *run.series(run.train_entries, name), 0)
        evaluated = run.series(run.eval_entries, name)
        return [*series, Series(run.config.trainer.eval_split, *evaluated, 1, "dots")]
    for number, run in enumerate(context.runs):
        trained = smoothed("", *run.series(run.train_entries, name), number, behind=False)
        series += [dataclasses.replace(each, style="faint") for each in trained]
        series.append(Series(run.label, *run.series(run.eval_entries, name), number, "dots"))
    return series


def _paper(context: Context) -> list[Series]:
    """The paper's value of the headline metric, where the runs are after one."""
    metric = context.runs[0].config.task.headline.metric
    papers = [run.config.paper for run in context.runs if run.config.paper is not None]
    rows = dict.fromkeys(
        (each.row, each.value)
        for each in papers
        if each.metric == metric and each.value is not None
    )
    ends = np.array([0.0, max(run.step for run in context.runs)])
    return [
        Series(f"paper: {row}", ends, np.full(2, value), 5 + number % 3, "level")
        for number, (row, value) in enumerate(rows)
    ]


def _train_only(context: Context, name: str) -> list[Series]:
    """What is known of training steps alone."""
    single = len(context.runs) == 1
    return [
        each
        for number, run in enumerate(context.runs)
        for each in smoothed(
            "" if single else run.label,
            *run.series(run.train_entries, name),
            number,
            behind=single,
        )
    ]


def _train_label(run: Run) -> str:
    apart = training_loss_note(run.config.task)
    return f"train ({apart})" if apart else "train"


def _last(context: Context, name: str, show: Callable[[float], str] | None = None) -> str:
    """The last evaluation of a single run."""
    if len(context.runs) > 1:
        return ""
    _, values = context.run.series(context.run.eval_entries, name)
    if not len(values):
        return ""
    return show(float(values[-1])) if show else f"{values[-1]:.4f}"


def _as_fraction(
    series: list[Series],
) -> tuple[Callable[[float], str], tuple[float | None, float | None]]:
    """Per cent, and limits that do not let the first few steps squeeze the rest."""
    values = np.concatenate([each.values for each in series if len(each.values)])
    values = values[np.isfinite(values)]
    if not len(values):
        return compact, (None, None)
    low, high = float(np.quantile(values, 0.03)), float(np.max(values))
    room = 0.08 * max(high - low, 0.01)
    return lambda value: f"{100 * value:.4g}%", (max(0.0, low - room), min(1.0, high + room))


def _low(figure: Markup) -> Markup:
    """A chart of less height: one that matters less."""
    return Markup(figure.replace('class="plot"', 'class="plot low"'))
