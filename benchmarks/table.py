"""Rows as a table: for the terminal, and as Markdown."""

from collections.abc import Sequence

from benchmarks.process_memory import GIGABYTE
from benchmarks.rows import Row, fastest_peer_of, plain_of, ratios
from perceiver_jax.report import tables

HEADER = (
    "model",
    "mode",
    "batch",
    "contender",
    "compile s",
    "run s",
    "least - most",
    "peak GB",
    "GFLOP/s",
    "matmul GFLOP/s",
    "share",
    "time : plain",
    "memory : plain",
    "time : peer",
    "memory : peer",
)
_WORDS = ("model", "mode", "contender")
_NONE = "-"


def render(rows: Sequence[Row], *, markdown: bool = False) -> str:
    """Lays out rows, and below them what they need said.

    Ratios are ours (or whoever's row it is) over the plain path, and over the fastest peer on
    PyTorch, on the same work; below 1 is better. The share is that of the rate of a matrix product
    that was timed between the same runs.
    """
    cells = [_cells(row, rows) for row in rows]
    right = [name for name in HEADER if name not in _WORDS]
    text = tables.render(HEADER, cells, right=right, markdown=markdown)
    remarks = [remark for row in rows for remark in _remarks(row)]
    if not remarks:
        return text
    return "\n".join([text, "", *(f"- {remark}" if markdown else remark for remark in remarks)])


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    plain, peer = plain_of(row, rows), fastest_peer_of(row, rows)
    to_plain, to_peer = ratios(row, plain), ratios(row, peer)
    share = None
    if row.gflop_per_s is not None and row.matmul_gflop_per_s:
        share = row.gflop_per_s / row.matmul_gflop_per_s
    spread = _NONE
    if row.run_s_all and row.run_s is not None:
        spread = f"{seconds(min(row.run_s_all))} - {seconds(max(row.run_s_all))}"
    return [
        row.model,
        row.mode,
        str(row.batch),
        row.contender,
        seconds(row.compile_s),
        seconds(row.run_s),
        spread,
        _NONE if row.peak_bytes is None else f"{row.peak_bytes / GIGABYTE:.2f}",
        _NONE if row.gflop_per_s is None else f"{row.gflop_per_s:.3g}",
        _NONE if row.matmul_gflop_per_s is None else f"{row.matmul_gflop_per_s:.3g}",
        _NONE if share is None else f"{100 * share:.0f} %",
        ratio(to_plain.time),
        ratio(to_plain.memory),
        ratio(to_peer.time),
        ratio(to_peer.memory),
    ]


def _remarks(row: Row) -> list[str]:
    name = f"{row.model} {row.mode} {row.batch} {row.contender}"
    if row.error is not None:
        return [f"{name}: not measured: {row.error}"]
    said = [*filter(None, [row.version, row.settings]), *row.notes]
    return [f"{name}: {'; '.join(said)}"] if said else []


def seconds(value: float | None) -> str:
    """Seconds with three significant digits: "0.0123", "1.23", "123"."""
    if value is None:
        return _NONE
    if value >= 100:
        return f"{value:.0f}"
    digits = 3 if value == 0 else max(0, min(6, 2 - _power(value)))
    return f"{value:.{digits}f}"


def _power(value: float) -> int:
    return int(f"{value:.2e}".partition("e")[2])


def ratio(value: float | None) -> str:
    """A ratio with two decimals."""
    return _NONE if value is None else f"{value:.2f}"
