"""Line charts as inline SVG, with labels in HTML, so that text keeps its size on any screen.

The lines of a chart lie in an SVG that is stretched to whatever room there is; strokes and dots do
not stretch with it (`vector-effect: non-scaling-stroke`). Colours come from the style sheet, and
with them the dark mode.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from perceiver_jax.report import numbers
from perceiver_jax.report.markup import Markup, element

NUM_COLOURS = 8  # In the style sheet: .c0 to .c7, and .faint for what stands behind.
_SIZE = 1000  # Of the SVG's own coordinates, either way.
_MOST_POINTS = 600  # Of a line; more cannot be told apart.
_MOST_DOTS = 60
_SPACINGS = ((1, 2**0.5), (2, 10**0.5), (5, 50**0.5), (10, math.inf))


@dataclasses.dataclass(frozen=True)
class Series:
    """A line of a chart."""

    label: str  # In the legend; "" for none.
    steps: np.ndarray  # [n]
    values: np.ndarray  # [n]; what is not finite is left out.
    colour: int = 0
    # faint: thin and pale, behind the others; level: dotted, something to compare with.
    style: Literal["line", "dots", "faint", "level"] = "line"

    @property
    def style_class(self) -> str:
        """Names in the style sheet."""
        dashed = " dashed" if self.colour >= NUM_COLOURS else ""
        kind = f" {self.style}" if self.style in ("faint", "level") else ""
        return f"c{self.colour % NUM_COLOURS}{kind}{dashed}"


def chart(
    title: str,
    series: Sequence[Series],
    *,
    show: Callable[[float], str] = numbers.compact,
    log: bool = False,
    limits: tuple[float | None, float | None] = (None, None),
    marks: Sequence[float] = (),
    aside: str = "",
    with_legend: bool = True,
) -> Markup:
    """Draws lines over the training steps.

    Args:
      title: what the values are.
      series: the lines; empty ones are left out.
      show: a value as text, for the labels at the side.
      log: whether the axis of the values is logarithmic, where all of them are above 0.
      limits: ends of the axis of the values; None: as the values want it.
      marks: steps with a line from top to bottom.
      aside: a short text beside the title, such as the last value.
      with_legend: whether the series are named, where there are several with a label.

    Returns:
      A figure; one that says so where there is nothing to draw.
    """
    series = [_finite(each) for each in series]
    series = [each for each in series if len(each.values)]
    head = [element("strong", title)]
    if aside:
        head.append(element("span", aside, style_class="aside"))
    if with_legend and sum(bool(each.label) for each in series) > 1:
        head.append(legend(series))
    caption = element("figcaption", *head)
    if not series:
        empty = element("p", "nothing was logged yet", style_class="note")
        return element("figure", caption, empty, style_class="chart")

    values = np.concatenate([each.values for each in series])
    log = log and bool(np.all(values > 0))
    low, high, ticks = _value_axis(values, log, limits)
    last = max(float(np.max(each.steps)) for each in series)
    step_ticks = [tick for tick in nice_ticks(0.0, last, 5) if tick <= last] or [0.0]

    def y_of(value: np.ndarray | float) -> np.ndarray:
        value = np.asarray(value, np.float64)
        if log:
            return (np.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return (value - low) / (high - low)

    def x_of(step: np.ndarray | float) -> np.ndarray:
        return np.asarray(step, np.float64) / max(last, 1.0)

    drawn = [_rule(float(y_of(tick)), "grid") for tick in ticks]
    drawn += [_upright(float(x_of(mark)), "mark") for mark in marks if 0 < mark < last]
    # Faint lines first: the others lie on top of them.
    for each in sorted(series, key=lambda each: each.style != "faint"):
        drawn += _draw(each, x_of, y_of, show)
    svg = element(
        "svg",
        *drawn,
        attributes={
            "viewBox": f"0 0 {_SIZE} {_SIZE}",
            "preserveAspectRatio": "none",
            "role": "img",
            "aria-label": f"{title} over {last:,.0f} steps",
        },
    )
    sides = [
        element("span", show(tick), attributes={"style": f"bottom:{100 * y_of(tick):.2f}%"})
        for tick in ticks
    ]
    below = [
        element(
            "span",
            numbers.compact(tick),
            attributes={"style": f"left:{100 * x_of(tick):.2f}%"},
        )
        for tick in step_ticks
    ]
    plot = element(
        "div",
        element("div", *sides, style_class="values"),
        svg,
        element("div", *below, style_class="steps"),
        style_class="plot",
    )
    return element("figure", caption, plot, style_class="chart")


def legend(series: Sequence[Series], *, shared: bool = False) -> Markup:
    """Returns the names of series in their colours; `shared` by several charts, above them."""
    named = dict.fromkeys((each.label, each.style_class) for each in series if each.label)
    keys = (element("span", label, style_class=f"key {name}") for label, name in named)
    return element("span", *keys, style_class="legend shared" if shared else "legend")


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Returns round numbers (1, 2 or 5 times a power of ten apart) that span low to high.

    The first is not above `low`, and the last not below `high`; there are about `count` of them.
    """
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    # Whichever is nearest, by ratio.
    spacing = power * next(each for each, end in _SPACINGS if rough / power < end)
    first, last = math.floor(low / spacing + 1e-9), math.ceil(high / spacing - 1e-9)
    # Rounded, so that 3 * 0.1 is 0.3.
    digits = max(0, -math.floor(math.log10(spacing)))
    return [round(index * spacing, digits) for index in range(first, last + 1)]


def thinned(
    steps: np.ndarray, values: np.ndarray, most: int = _MOST_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Returns at most `most` points that look the same: of every stretch its lowest and highest."""
    if len(values) <= most:
        return steps, values
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), most // 2):
        lowest = stretch[np.argmin(values[stretch])]
        highest = stretch[np.argmax(values[stretch])]
        kept += sorted({int(lowest), int(highest)})
    return steps[kept], values[kept]


def _finite(series: Series) -> Series:
    steps, values = np.asarray(series.steps, float), np.asarray(series.values, float)
    kept = np.isfinite(values)
    return dataclasses.replace(series, steps=steps[kept], values=values[kept])


def _value_axis(
    values: np.ndarray, log: bool, limits: tuple[float | None, float | None]
) -> tuple[float, float, list[float]]:
    """Returns both ends of the axis of the values, and where labels stand."""
    low = float(np.min(values)) if limits[0] is None else limits[0]
    high = float(np.max(values)) if limits[1] is None else limits[1]
    if log:
        low, high = low / 1.04, high * 1.04
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for each in ((1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**power for power in powers for m in each]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) <= 6:
                break
        ticks = ticks[:: max(-(-len(ticks) // 6), 1)]
        if len(ticks) >= 2:
            return low, high, ticks
        # Less than a factor of two or so: round numbers at equal distances.
        ticks = [tick for tick in nice_ticks(low, high, 4) if low <= tick <= high]
        return low, high, ticks
    ticks = nice_ticks(low, high, 5)
    low = ticks[0] if limits[0] is None else limits[0]
    high = ticks[-1] if limits[1] is None else limits[1]
    return low, high, [tick for tick in ticks if low <= tick <= high]


def _draw(
    series: Series,
    x_of: Callable[[np.ndarray], np.ndarray],
    y_of: Callable[[np.ndarray], np.ndarray],
    show: Callable[[float], str],
) -> list[Markup]:
    steps, values = thinned(series.steps, series.values)
    across = np.clip(x_of(steps), 0, 1) * _SIZE
    down = (1 - np.clip(y_of(values), 0, 1)) * _SIZE
    drawn = []
    if len(values) > 1:
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, down, strict=True))
        drawn.append(
            element("polyline", style_class=series.style_class, attributes={"points": points})
        )
    if len(values) == 1 or (series.style == "dots" and len(values) <= _MOST_DOTS):
        name = f"{series.label}, " if series.label else ""
        for x, y, step, value in zip(across, down, steps, values, strict=True):
            # A line without length and with round ends: a dot that does not stretch.
            hint = element("title", f"{name}step {step:,.0f}: {show(float(f'{value:.4g}'))}")
            where = {"d": f"M{x:.0f} {y:.1f}h.01"}
            drawn.append(
                element("path", hint, style_class=f"dot {series.style_class}", attributes=where)
            )
    return drawn


def _rule(height: float, style_class: str) -> Markup:
    y = f"{(1 - height) * _SIZE:.1f}"
    where = {"x1": 0, "x2": _SIZE, "y1": y, "y2": y}
    return element("line", style_class=style_class, attributes=where)


def _upright(across: float, style_class: str) -> Markup:
    x = f"{across * _SIZE:.1f}"
    where = {"x1": x, "x2": x, "y1": 0, "y2": _SIZE}
    return element("line", style_class=style_class, attributes=where)
