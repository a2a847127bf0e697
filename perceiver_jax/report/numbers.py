"""Numbers as a report shows them."""

import datetime
import math
from typing import Any


def plain(value: Any) -> str:
    """A number with four significant digits at most: "0.3525", "12,480", "1.2e-05"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def compact(value: float) -> str:
    """A number for the side of a chart: "0.5", "20k", "1.5M", "1e-5"."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    if size and size < 1e-4:
        mantissa, _, exponent = f"{value:e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}"


def per_cent(value: float) -> str:
    """A fraction as "97.2%"."""
    return f"{100 * value:.3g}%"


def moment(unix_time: float) -> str:
    """A time as "2026-11-24 09:30 UTC"."""
    return datetime.datetime.fromtimestamp(unix_time, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
