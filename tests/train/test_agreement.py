"""Agreement of a process with itself: immediate, and without a device (several: test_processes)."""

import signal
from typing import Any

import pytest

from perceiver_jax.errors import DataError
from perceiver_jax.train import agreement


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a process on its own has nobody to ask")

    monkeypatch.setattr(agreement, "_program", refuse)
    monkeypatch.setattr(agreement, "_global_array", refuse)


def test_one_process_agrees_with_itself() -> None:
    assert agreement.gather([None, "x"]) == [[None, "x"]]
    assert agreement.broadcast({"step": 3}) == {"step": 3}


def test_one_process_does_what_process_zero_does() -> None:
    def refuse() -> None:
        raise DataError("no such data")

    assert agreement.on_process_zero(lambda: 7) == 7
    with pytest.raises(DataError, match="no such data"):
        agreement.on_process_zero(refuse)


def test_one_process_stops_at_once_and_for_good() -> None:
    stop = agreement.StopAgreement()
    assert stop.vote(None) is None
    assert stop.vote(signal.SIGTERM) == signal.SIGTERM
    assert stop.vote(None) == signal.SIGTERM
    assert stop.agreed == signal.SIGTERM
