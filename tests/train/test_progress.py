"""What is shown while a run goes on."""

import io

import pytest

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


def test_lines_speed_and_time_left(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(num_steps=100, batch_size=8, stream=stream)
    progress.update(1, 2.5, 1e-3)  # the clock starts after the step that was compiled
    clock[0] += 4.0
    progress.pause(2.0)  # an evaluation is no training
    progress.update(5, 2.0, 1e-3)  # too early for a line, but counted
    assert progress.examples_per_second == pytest.approx(4 * 8 / 2.0)
    clock[0] += 8.0
    progress.update(21, 1.5, 2e-3)
    progress.message("hello")
    # 20 steps in 10 seconds: 2 steps and 16 examples a second, 79 steps to go.
    assert stream.getvalue().splitlines() == [
        "step 1/100  loss 2.5000  lr 1.0e-03",
        "step 21/100  loss 1.5000  lr 2.0e-03  16 examples/s  ETA 0:40",
        "hello",
    ]


def test_a_terminal_gets_one_line_that_moves(clock: list[float]) -> None:
    stream = Terminal()
    progress = Progress(num_steps=4, batch_size=1, stream=stream)
    for step in (1, 2):
        progress.update(step, 1.0, 0.1)
        clock[0] += 1.0
    progress.message("hello")
    progress.update(3, 1.0, 0.1)
    progress.finish()
    shown = stream.getvalue()
    assert shown.count("\n") == 2  # after the message, and at the end
    assert "\r\x1b[Kstep 2/4  █████░░░░░  50%  ETA 0:02" in shown
    assert "\r\x1b[Khello\n" in shown


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, "step 501/4000  █░░░░░░░░░  13%  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03"),
        (78, "step 501/4000  █░░░░░░░░░  ETA 1:10  loss 1.5000  12,800 ex/s  lr 2.0e-03"),
        (70, "step 501/4000  █░░░░░░░░░  ETA 1:10  loss 1.5000  12,800 ex/s"),
        (50, "step 501/4000  13%  ETA 1:10  loss 1.5000"),
        (30, "step 501/4000  ETA 1:10"),
        (10, "step 501/"),
    ],
)
def test_a_narrow_terminal_keeps_what_matters(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, columns: int, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    progress = Progress(num_steps=4000, batch_size=256, stream=stream)
    progress.update(1, 1.0, 0.1)
    clock[0] += 10.0
    progress.update(501, 1.5, 2e-3)
    assert stream.getvalue().rsplit("\x1b[K", 1)[1] == shown
    assert len(shown) < columns


def test_the_last_step_is_always_shown(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = Progress(num_steps=2, batch_size=1, stream=stream)
    progress.update(1, 1.0, 0.1)
    progress.update(2, 0.5, 0.1)
    assert stream.getvalue().splitlines()[-1].startswith("step 2/2  loss 0.5000")
