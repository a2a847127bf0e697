"""Plots as SVG files that stand alone, by day and by night.

The charts of `perceiver_jax.report` belong to its pages, and their axis of steps is linear.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.process_memory import GIGABYTE
from benchmarks.rows import Row, fastest_peer_of, plain_of, ratios
from benchmarks.scaling_table import Point
from perceiver_jax.atomic import replacing
from perceiver_jax.report.markup import Markup, element
from perceiver_jax.report.numbers import compact

_STYLE = """
text{font:12px system-ui,sans-serif;fill:#57606a}
.title{font-weight:600;fill:#24292f}
.grid{stroke:#d8dee4;stroke-width:1}
.one{stroke:#57606a;stroke-width:1;stroke-dasharray:3 3}
.line{fill:none;stroke:currentColor;stroke-width:2}
.dashed{stroke-dasharray:6 4}
.dot,.bar{fill:currentColor}
.c0{color:#d9622b}.c1{color:#3b6fb6}.c2{color:#16866a}.c3{color:#7d4fc4}.c4{color:#94700f}
@media(prefers-color-scheme:dark){text{fill:#9198a1}.title{fill:#f0f6fc}.grid{stroke:#30363d}}
"""
_WIDTH, _HEIGHT = 500, 260  # Of a panel, with
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 52, 34  # room around its lines.
_BAR = 16  # Height of a bar.


def write(path: str | os.PathLike[str], picture: Markup) -> None:
    """Writes a picture; the file is whole or not there.

    Raises:
      UserError: the file cannot be written.
    """
    with replacing(Path(path)) as temporary:
        temporary.write_text(picture + "\n")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a panel."""

    label: str
    points: Sequence[tuple[float, float]]  # Both above 0.
    colour: int
    dashed: bool = False


def growth(points: Sequence[Point]) -> Markup:
    """Time and memory over size, one row of panels an axis, all scales logarithmic."""
    panels = []
    axes = list(dict.fromkeys(point.axis for point in points))
    for row, axis in enumerate(axes):
        here = [point for point in points if point.axis == axis]
        panels.append(_panel(f"{axis}: seconds", _lines(here, _seconds), 0, row))
        panels.append(_panel(f"{axis}: peak GB", _lines(here, _peak), 1, row))
    return _picture(2 * _WIDTH, max(len(axes), 1) * _HEIGHT, panels)


def _seconds(row: Row) -> float | None:
    return row.run_s


def _peak(row: Row) -> float | None:
    return None if row.peak_bytes is None else row.peak_bytes / GIGABYTE


def _lines(points: Sequence[Point], value: Callable[[Row], float | None]) -> list[Line]:
    contenders = list(dict.fromkeys(point.row.contender for point in points))
    kinds = dict.fromkeys((point.row.contender, point.row.mode) for point in points)
    lines = []
    for contender, mode in kinds:
        found = [
            (float(point.size), measured)
            for point in points
            if (point.row.contender, point.row.mode) == (contender, mode)
            and (measured := value(point.row)) is not None
        ]
        lines.append(
            Line(
                f"{contender}, {mode}",
                sorted(found),
                contenders.index(contender),
                dashed=mode == "forward",
            )
        )
    return [line for line in lines if line.points]


def _panel(title: str, lines: Sequence[Line], column: int, row: int) -> Markup:
    drawn = [_text(_LEFT, 18, title, "title")]
    if lines:
        drawn += _legend(lines)
        drawn += _plotted(lines)
    else:
        drawn.append(_text(_LEFT, _HEIGHT / 2, "nothing was measured"))
    where = {"transform": f"translate({column * _WIDTH},{row * _HEIGHT})"}
    return element("g", *drawn, attributes=where)


def _plotted(lines: Sequence[Line]) -> list[Markup]:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    low, high = _decades(min(ys)), _decades(max(ys), up=True)
    if low == high:
        high += 1

    def across(x: float) -> float:
        span = math.log(max(xs) / min(xs)) or 1.0
        return _LEFT + (right - _LEFT) * math.log(x / min(xs)) / span

    def down(y: float) -> float:
        return floor - (floor - _TOP) * (math.log10(y) - low) / (high - low)

    drawn = []
    for power in range(low, high + 1):
        y = down(10.0**power)
        drawn.append(_rule(_LEFT, y, right, y))
        drawn.append(_text(_LEFT - 6, y + 4, compact(10.0**power), anchor="end"))
    for x in sorted(set(xs)):
        drawn.append(_rule(across(x), floor, across(x), floor + 4))
        drawn.append(_text(across(x), floor + 18, _size(x), anchor="middle"))
    for line in lines:
        path = [(across(x), down(y)) for x, y in line.points]
        where = {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in path)}
        style = f"line c{line.colour}{' dashed' * line.dashed}"
        drawn.append(element("polyline", style_class=style, attributes=where))
        for (x, y), (size, value) in zip(path, line.points, strict=True):
            hint = element("title", f"{line.label}, {size:,.0f}: {value:.4g}")
            dot = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 3}
            style = f"dot c{line.colour}"
            drawn.append(element("circle", hint, style_class=style, attributes=dot))
    return drawn


def _legend(lines: Sequence[Line]) -> list[Markup]:
    drawn, x = [], 14.0
    for line in lines:
        style = f"line c{line.colour}{' dashed' * line.dashed}"
        where = {"points": f"{x:.0f},34 {x + 18:.0f},34"}
        drawn.append(element("polyline", style_class=style, attributes=where))
        drawn.append(_text(x + 22, 38, line.label))
        x += 36 + 6.2 * len(line.label)
    return drawn


def ratio_bars(rows: Sequence[Row]) -> Markup:
    """Ours over the plain path and over the fastest peer, in time and memory; below 1 is better."""
    left, width, most = 400, 240, 1.5
    drawn = [
        _text(left, 18, "time, ours : theirs", "title"),
        _text(left + width + 60, 18, "peak memory, ours : theirs", "title"),
    ]
    y = 30.0
    for row in rows:
        if row.contender != "ours":
            continue
        for colour, other in enumerate((plain_of(row, rows), fastest_peer_of(row, rows))):
            if other is None or row.run_s is None:
                continue
            label = f"{row.model}, {row.mode}, batch {row.batch}: {other.contender}"
            drawn.append(_text(left - 8, y + _BAR - 4, label, anchor="end"))
            found = ratios(row, other)
            for column, value in enumerate((found.time, found.memory)):
                if value is not None:
                    x = left + column * (width + 60)
                    drawn += _bar(x, y, value, width, most, colour)
            y += _BAR + 4
        y += 6
    for x in (left, left + width + 60):
        one = x + width / most
        drawn.append(_rule(one, 24, one, y, "one"))
        drawn.append(_text(one, y + 14, "1", anchor="middle"))
    return _picture(left + 2 * width + 120, y + 24, drawn)


def _bar(x: float, y: float, value: float, width: float, most: float, colour: int) -> list[Markup]:
    length = width * min(value, most) / most
    where = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{length:.1f}", "height": _BAR}
    return [
        element("rect", style_class=f"bar c{colour}", attributes=where),
        _text(x + length + 5, y + _BAR - 4, f"{value:.2f}"),
    ]


def _decades(value: float, *, up: bool = False) -> int:
    power = math.log10(value)
    return math.ceil(power - 1e-9) if up else math.floor(power + 1e-9)


def _size(x: float) -> str:
    """A size for below the axis: 1,024 as "1k", 1,048,576 as "1M"."""
    for unit, of in (("M", 2**20), ("k", 2**10)):
        if x >= of:
            return f"{x / of:.3g}{unit}"
    return f"{x:g}"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> Markup:
    where = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    return element("text", text, style_class=style, attributes=where)


def _rule(x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> Markup:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    where = {name: f"{value:.1f}" for name, value in ends.items()}
    return element("line", style_class=style, attributes=where)


def _picture(width: float, height: float, drawn: Sequence[Markup]) -> Markup:
    return element(
        "svg",
        element("style", Markup(_STYLE)),
        *drawn,
        attributes={
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
        },
    )
