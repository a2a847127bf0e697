"""What is shown while a run goes on."""

import io

import pytest

from perceiver_jax.train.meter import Speed
from perceiver_jax.train.progress import Progress, format_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3675, "1:01:15")]
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def _speed(rate: float = 16.0, wait: float = 0.123, share: float | None = None) -> Speed:
    return Speed(rate, wait, None, share, 0.0)


def test_a_line_has_all_that_is_known() -> None:
    stream = io.StringIO()
    progress = Progress(num_steps=100, stream=stream)
    progress.update(1, 2.5, 1e-3, None, None)
    progress.update(21, 1.5, 2e-3, _speed(), 39.6)
    progress.update(22, 1.5, 2e-3, _speed(12800, 0.0, 0.4171), 39.6)
    progress.message("hello")
    assert stream.getvalue().splitlines() == [
        "step 1/100  loss 2.5000  lr 1.0e-03",
        "step 21/100  loss 1.5000  lr 2.0e-03  16 examples/s  wait 12%  ETA 0:40",
        "step 22/100  loss 1.5000  lr 2.0e-03  12,800 examples/s  wait 0%  MFU 41.7%  ETA 0:40",
        "hello",
    ]


def test_without_a_terminal_only_log_intervals_are_shown(clock: list[float]) -> None:
    progress = Progress(num_steps=4, stream=io.StringIO())
    assert progress.shows(2, due=True)
    clock[0] += 1000.0
    assert not progress.shows(3, due=False) and not progress.shows(4, due=False)


def test_a_terminal_is_redrawn_in_between_but_not_all_the_time(clock: list[float]) -> None:
    progress = Progress(num_steps=9, stream=Terminal())
    assert progress.shows(1, due=False)
    progress.update(1, 1.0, 0.1, None, None)
    clock[0] += 0.05
    assert not progress.shows(2, due=False)
    assert progress.shows(2, due=True) and progress.shows(9, due=False)  # the end is seen
    clock[0] += 0.06
    assert progress.shows(3, due=False)


def test_other_processes_are_silent() -> None:
    stream = Terminal()
    progress = Progress(num_steps=9, stream=stream, silent=True)
    assert not progress.shows(9, due=True)
    progress.message("hello")
    progress.finish()
    assert stream.getvalue() == ""


def test_a_terminal_gets_one_line_that_moves() -> None:
    stream = Terminal()
    progress = Progress(num_steps=4, stream=stream)
    for step in (1, 2):
        progress.update(step, 1.0, 0.1, _speed(), 2.0)
    progress.message("hello")
    progress.update(3, 1.0, 0.1, _speed(), 1.0)
    progress.finish()
    shown = stream.getvalue()
    assert shown.count("\n") == 2  # after the message, and at the end
    assert "\r\x1b[Kstep 2/4  █████░░░░░  50%  ETA 0:02" in shown
    assert "\r\x1b[Khello\n" in shown


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (
            120,
            "step 501/4000  █░░░░░░░░░  13%  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03  "
            "wait 2%  MFU 41.7%",
        ),
        (
            90,
            "step 501/4000  █░░░░░░░░░  13%  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03  "
            "wait 2%",
        ),
        (80, "step 501/4000  █░░░░░░░░░  13%  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03"),
        (78, "step 501/4000  █░░░░░░░░░  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03"),
        (70, "step 501/4000  █░░░░░░░░░  ETA 1:10  loss 1.5000  12,800 ex/s"),
        (50, "step 501/4000  13%  ETA 1:10  loss 1.5000"),
        (30, "step 501/4000  ETA 1:10"),
        (10, "step 501/"),
    ],
)
def test_a_narrow_terminal_keeps_what_matters(
    monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    progress = Progress(num_steps=4000, stream=stream)
    progress.update(501, 1.5, 2e-3, _speed(12800, 0.02, 0.417), 70.0)
    assert stream.getvalue().rsplit("\x1b[K", 1)[1] == shown
    assert len(shown) < columns
