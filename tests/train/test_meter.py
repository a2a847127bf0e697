"""How fast a run goes, by hand-computed numbers on a clock of the test's own."""

import pytest

from perceiver_jax.train.meter import Meter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_speed_is_that_of_the_last_interval(clock: list[float]) -> None:
    meter = Meter(num_steps=100, batch_size=8, peak=3000.0)
    meter.step_flops = 600.0
    meter.paused(50.0)  # before anything is measured
    assert meter.speed(1) is None and meter.seconds_left(1) is None
    meter.start(1)  # the step that was compiled
    meter.start(2)  # begun already
    assert meter.speed(1) is None
    clock[0] += 2.0
    meter.waited(0.5)
    first = meter.end_interval(5)  # 4 steps in 2 seconds
    assert first is not None
    assert first.timing() == {
        "examples_per_second": 16.0,
        "data_wait_fraction": 0.25,
        "flops_per_second": 1200.0,
        "model_flop_utilization": 0.4,
        "paused_seconds": 0.0,
    }
    clock[0] += 13.0
    meter.paused(5.0)
    meter.waited(2.0)
    now = meter.speed(9)  # 4 steps in 13 - 5 seconds; looking changes nothing
    second = meter.end_interval(9)
    assert now == second and second is not None
    assert second.examples_per_second == 4.0
    assert (second.data_wait_fraction, second.paused_seconds) == (0.25, 5.0)
    # 8 steps took 10 seconds of training: 91 are left.
    assert meter.seconds_left(9) == pytest.approx(91 * 10 / 8)


def test_what_is_not_known_is_not_told(clock: list[float]) -> None:
    meter = Meter(num_steps=10, batch_size=3)
    meter.start(0)
    clock[0] += 1.0
    speed = meter.end_interval(2)
    assert speed is not None
    assert speed.timing() == {
        "examples_per_second": 6.0,
        "data_wait_fraction": 0.0,
        "paused_seconds": 0.0,
    }
    assert meter.end_interval(2) is None  # no time, no steps
