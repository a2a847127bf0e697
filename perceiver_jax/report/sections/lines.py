"""Noisy values as lines: the mean of neighbours, and behind it the values themselves."""

import numpy as np

from perceiver_jax.report.charts import Series
from perceiver_jax.report.curves import running_mean

FEW = 60  # Values that can be told apart without a mean.
_SHARE = 40  # A mean is over one in so many of the values.


def smoothed(
    label: str, steps: np.ndarray, values: np.ndarray, colour: int, *, behind: bool = True
) -> list[Series]:
    """Returns the lines of a metric that is logged at training steps.

    Args:
      label: in the legend.
      steps: [n].
      values: [n].
      colour: of both lines.
      behind: whether the values themselves are drawn too, faintly; only where they are many.
    """
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    if len(values) <= FEW:
        return [Series(label, steps, values, colour)]
    mean = Series(label, steps, running_mean(values, len(values) // _SHARE), colour)
    return [Series("", steps, values, colour, "faint"), mean] if behind else [mean]
