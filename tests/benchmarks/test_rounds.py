"""Workers that compute nothing show that turns are taken, and that one's failure is its own."""

import json
from pathlib import Path

import pytest

from benchmarks.contenders import Contender
from benchmarks.process import Limits, WorkerFailed, started
from benchmarks.rounds import Options, measure
from benchmarks.rows import Row
from benchmarks.works import Description, Work

WORKER = "tests.benchmarks.fake_worker"
WORK = Description(Work("tiny", "train", 2), 12.0, {}, {}, {}, {}, {})


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log"
    monkeypatch.setenv("FAKE_LOG", str(path))
    return path


def run(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, list[float]], options: Options
) -> dict[str, Row]:
    monkeypatch.setenv("FAKE_SECONDS", json.dumps(seconds))
    monkeypatch.setattr("benchmarks.rounds._PAUSE", 0.0)
    rates = iter([100.0, 300.0, 200.0, 100.0, 100.0, 100.0])
    contenders = [Contender(name, WORKER) for name in seconds]
    found = measure(WORK, contenders, options, lambda: next(rates))
    assert [row.contender for row in found] == list(seconds)
    return {row.contender: row for row in found}


def test_runs_take_turns_and_rows_hold_the_medians(
    monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    found = run(
        monkeypatch, {"a": [4.0, 2.0, 3.0], "b": [1.0, 9.0, 1.0]}, Options(3, remat="layers")
    )
    assert log.read_text().splitlines() == [
        *["a prepare", "b prepare"],
        *["a run", "b run", "b run", "a run", "a run", "b run"],
        *["a end", "b end"],
    ]
    row = found["a"]
    assert row.work == ("tiny", "train", 2)
    assert row.run_s_all == [4.0, 2.0, 3.0] and row.run_s == 3.0
    assert row.compile_s == 1.5 and row.settings == "remat layers"
    assert row.gflop == 12.0 and row.gflop_per_s == 4.0
    assert row.matmul_gflop_per_s == 200.0
    assert row.peak_bytes is not None and 1e6 < row.peak_bytes < 1e9
    assert found["b"].run_s == 1.0
    assert row.error is None and row.notes == []


def test_a_slow_contender_is_run_less_often_and_says_so(
    monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    # The first run took 2 s.
    row = run(monkeypatch, {"a": [2.0] * 5}, Options(5, limit=5.0))["a"]
    assert row.run_s_all == [2.0, 2.0] and row.notes == ["2 of 5 runs (--limit)"]
    row = run(monkeypatch, {"a": [2.0] * 5}, Options(5, limit=0.5))["a"]
    assert row.run_s_all == [2.0] and row.notes == ["1 of 5 runs (--limit)"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refuses", "cannot do that"),
        ("misses", "benchmarks/requirements.txt"),
        ("breaks", "KeyError: 'no such thing'"),
        ("dies", "died with status 3: the last words"),
        ("dies_later", "died by SIGABRT"),
    ],
)
def test_a_failure_is_a_row_with_its_reason_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, log: Path, name: str, reason: str
) -> None:
    found = run(monkeypatch, {"a": [4.0, 2.0], name: [], "b": [1.0, 1.0]}, Options(2))
    assert reason in (found[name].error or "")
    assert found[name].run_s is None and found[name].run_s_all == []
    assert found["a"].run_s == 3.0 and found["b"].run_s == 1.0


def test_patience_ends(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    found = run(monkeypatch, {"hangs": [], "b": [1.0]}, Options(1, patience=1.0))
    assert found["hangs"].error == "took more than 1 s (--patience)"
    assert found["b"].run_s == 1.0


def test_one_that_finds_no_room_is_tried_alone_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    found = run(monkeypatch, {"a": [1.0], "eats": [5.0]}, Options(1, memory=4e8))
    assert found["a"].run_s == 1.0
    assert found["eats"].error == "needs more than 0.4 GB (--memory)"
    assert log.read_text().count("eats prepare") == 2
    found = run(monkeypatch, {"eats": [5.0], "a": [1.0]}, Options(1, memory=2e9))
    assert found["eats"].run_s == 5.0


def test_an_interpreter_that_is_not_there(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    with pytest.raises(WorkerFailed, match="/no/python cannot be started"):
        with started(WORKER, Limits(1e9, 10.0), python="/no/python"):
            pass
