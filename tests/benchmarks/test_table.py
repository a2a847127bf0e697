"""Ratios and tables, from rows made by hand."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks import rows, table
from benchmarks.rows import Ratios, Row

OURS = Row(
    "mlm",
    "train",
    1,
    "ours",
    compile_s=1.25,
    run_s=2.0,
    run_s_all=[2.0, 1.5, 3.0],
    peak_bytes=1_000_000_000,
    gflop=100.0,
    gflop_per_s=50.0,
    matmul_gflop_per_s=125.0,
    settings="remat layers",
    version="jax 1",
)
PLAIN = dataclasses.replace(
    OURS, contender="plain", run_s=16.0, run_s_all=[16.0], peak_bytes=8_000_000_000, settings=""
)
PEER = dataclasses.replace(
    OURS, contender="huggingface", compile_s=None, run_s=4.0, peak_bytes=2_500_000_000
)
SLOWER = dataclasses.replace(PEER, contender="perceiver_io", run_s=5.0, peak_bytes=1)
MISSING = Row("mlm", "train", 1, "perceiver_pytorch", error="not installed")
ELSEWHERE = dataclasses.replace(PEER, batch=2, run_s=0.5)
ALL = [OURS, PLAIN, PEER, SLOWER, MISSING, ELSEWHERE]


def test_ratios_are_to_the_plain_path_and_to_the_fastest_peer_of_the_same_work() -> None:
    assert rows.plain_of(OURS, ALL) is PLAIN
    assert rows.fastest_peer_of(OURS, ALL) is PEER
    assert rows.ratios(OURS, PLAIN) == Ratios(0.125, 0.125)
    assert rows.ratios(OURS, PEER) == Ratios(0.5, 0.4)
    assert rows.ratios(MISSING, PEER) == Ratios(None, None)
    assert rows.ratios(ELSEWHERE, rows.plain_of(ELSEWHERE, ALL)) == Ratios(None, None)


def test_table() -> None:
    lines = table.render(ALL).splitlines()
    assert lines[2].split() == [
        *["mlm", "train", "1", "ours", "1.25", "2.00", "1.50", "-", "3.00", "1.00", "50"],
        *["125", "40", "%", "0.12", "0.12", "0.50", "0.40"],
    ]
    assert lines[4].split()[4] == "-"  # PyTorch compiles nothing.
    assert lines[6].split()[3:] == ["perceiver_pytorch", *"-----------"]
    assert "mlm train 1 ours: jax 1; remat layers" in lines
    assert "mlm train 1 perceiver_pytorch: not measured: not installed" in lines
    assert table.render(ALL, markdown=True).startswith("| model | mode | batch | contender |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.000"), (0.01234, "0.0123"), (1.234, "1.23"), (65.0, "65.0")]
    + [(156.4, "156"), (9.999, "10.0"), (1e-9, "0.000000")],
)
def test_seconds(value: float | None, text: str) -> None:
    assert table.seconds(value) == text


def test_json_has_the_fields_that_others_read(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "rows.json"
    rows.write(path, [dataclasses.asdict(row) for row in (OURS, MISSING)])
    ours, missing = json.loads(path.read_text())
    assert {
        *("model", "mode", "batch", "contender", "compile_s", "run_s", "run_s_all"),
        *("peak_bytes", "gflop", "gflop_per_s", "matmul_gflop_per_s"),
    } <= set(ours)
    assert ours["run_s_all"] == [2.0, 1.5, 3.0] and ours["peak_bytes"] == 1_000_000_000
    assert missing["run_s"] is None and missing["error"] == "not installed"
