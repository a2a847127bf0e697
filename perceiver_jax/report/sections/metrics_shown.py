"""Metrics of a run as text: what the sections with results share."""

from perceiver_jax.report import numbers
from perceiver_jax.report.run_record import Run
from perceiver_jax.train.result import NO_METRICS


def metrics_of(run: Run) -> dict[str, float]:
    """The metrics of the run's result by name, the headline first; empty where there is none."""
    result = {
        name: value
        for name, value in run.result.items()
        if name not in NO_METRICS and isinstance(value, (int, float))
    }
    headline = run.config.task.headline.metric
    return {name: result[name] for name in sorted(result, key=lambda name: name != headline)}


def title(run: Run, metric: str) -> str:
    """A metric's name in words."""
    headline = run.config.task.headline
    return headline.title if metric == headline.metric else metric.replace("_", " ")


def show(run: Run, metric: str, value: float) -> str:
    """A value of a metric as text."""
    headline = run.config.task.headline
    return headline.show(value) if metric == headline.metric else numbers.plain(float(value))


def show_difference(run: Run, metric: str, difference: float) -> str:
    """A difference of two values as text, with its sign."""
    headline = run.config.task.headline
    if metric == headline.metric and headline.is_fraction:
        return f"{100 * difference:+.2f} points"
    return f"{difference:+.4g}"
