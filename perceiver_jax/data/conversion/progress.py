"""How far a conversion is, for whoever waits for it."""

import datetime
import sys
import time
from collections.abc import Callable
from typing import TextIO

_TERMINAL_EVERY = 0.2  # Seconds between redrawings,
_FILE_EVERY = 15.0  # and between lines where there is no terminal;
_TOO_EARLY = 5.0  # Seconds after the first item until it is said how long the others will take.
_FILE_FIRST = 3.0  # the first comes soon, so that short conversions show one too.


class Progress:
    """Says how many are converted, how fast, and how long it will still take."""

    def __init__(
        self,
        total: int,
        before: int,
        report: Callable[[str], None],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts the clock.

        Args:
          total: how many there are.
          before: so many of them were converted by an earlier run.
          report: takes a line; used where the stream is no terminal.
          stream: where the line is redrawn if it is a terminal; standard output if None.
          clock: tells seconds.
        """
        self._total, self._before, self._at = total, before, before
        self._report, self._stream, self._clock = report, stream or sys.stdout, clock
        self._terminal = self._stream.isatty()
        self._first: float | None = None  # When the first item was done.
        self._start = self._shown = clock()
        self._every = _TERMINAL_EVERY if self._terminal else _FILE_FIRST
        if before:
            report(f"Going on after {before:,} that an earlier run has converted.")

    def done(self, item: int) -> None:
        """Counts one, and shows it now and then."""
        self._at += 1
        now = self._clock()
        # From the first one on: before it, processes start, and their first items come together.
        self._first = now if self._first is None else self._first
        if now - self._shown >= self._every:
            self._shown = now
            self._every = _TERMINAL_EVERY if self._terminal else _FILE_EVERY
            if self._terminal:
                self._stream.write(f"\r{self.line()}\x1b[K")
                self._stream.flush()
            else:
                self._report(self.line())

    def tell(self, line: str) -> None:
        """Reports a line of another kind, where that of this one is redrawn."""
        self.end()
        self._report(line)

    def line(self) -> str:
        """Returns "3,200 of 12,311 converted, 85.0/s, 0:01:47 left"."""
        now = self._clock()
        elapsed = now - self._start
        rate = (self._at - self._before) / elapsed if elapsed > 0 else 0.0
        since = 0.0 if self._first is None else now - self._first
        if since > 0:
            rate = (self._at - self._before - 1) / since
        left = ""
        if rate and since >= _TOO_EARLY:
            left = f", {datetime.timedelta(seconds=round((self._total - self._at) / rate))} left"
        return f"{self._at:,} of {self._total:,} converted, {rate:,.1f}/s{left}"

    def end(self) -> None:
        """Takes the line away."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
