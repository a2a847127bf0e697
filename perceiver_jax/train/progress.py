"""What the user sees while a run goes on: a bar that moves on a terminal, else a line now and then.

Where there is no terminal, every log interval leaves one line. On a terminal the bar shows the same
values and moves between the intervals too; no lines are left, as the bar would only say it again.
"""

import shutil
import sys
import time
from typing import TextIO

from perceiver_jax.train.meter import Speed

_BAR = 10  # Characters.
_TERMINAL_EVERY = 0.1  # Seconds between redrawings.


def format_seconds(seconds: float) -> str:
    """Returns 75 as "1:15", 3675 as "1:01:15"."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Shows step, loss, learning rate, speed and the time that is left."""

    def __init__(self, *, num_steps: int, stream: TextIO | None = None, silent: bool = False):
        """Shows nothing yet.

        Args:
          num_steps: the step at which the run ends.
          stream: where to; standard output if None.
          silent: shows nothing at all, as processes other than the first do.
        """
        self._num_steps = num_steps
        self._stream = stream or sys.stdout
        self._silent = silent
        self._terminal = self._stream.isatty() and not silent
        self._drawn = False
        self._last_shown = float("-inf")

    def shows(self, step: int, *, due: bool) -> bool:
        """Says whether an update after `step` would be seen; `due` where a log interval ends."""
        if not self._terminal:
            return due and not self._silent
        waited = time.monotonic() - self._last_shown
        return due or waited >= _TERMINAL_EVERY or step == self._num_steps

    def update(
        self,
        step: int,
        loss: float,
        learning_rate: float,
        speed: Speed | None,
        seconds_left: float | None,
    ) -> None:
        """Shows the state after `step` steps.

        Args:
          step: steps that are done.
          loss: of the last one.
          learning_rate: of the last one.
          speed: of the last interval; None if there is none yet.
          seconds_left: until the end of the run; None if not known yet.
        """
        at = f"step {step}/{self._num_steps}"
        values, rate = f"loss {loss:.4f}", f"lr {learning_rate:.1e}"
        examples = wait = share = ""
        if speed is not None:
            examples = f"{speed.examples_per_second:,.0f} examples/s"
            wait = f"wait {speed.data_wait_fraction:.0%}"
            if speed.utilization is not None:
                share = f"MFU {speed.utilization:.1%}"
        eta = "" if seconds_left is None else f"ETA {format_seconds(seconds_left)}"
        if not self._terminal:
            self._stream.write(_join(at, values, rate, examples, wait, share, eta) + "\n")
            self._stream.flush()
            return
        self._last_shown = time.monotonic()
        fraction = step / self._num_steps
        filled = int(_BAR * fraction)
        bar = "█" * filled + "░" * (_BAR - filled)
        percent = f"{fraction:.0%}"
        examples = examples.replace("examples/s", "ex/s")
        # The first that fits: a narrow terminal does without what can be missed.
        self._draw(
            _join(at, f"{bar} {percent:>4}", eta, values, examples, rate, wait, share),
            _join(at, f"{bar} {percent:>4}", eta, values, examples, rate, wait),
            _join(at, f"{bar} {percent:>4}", eta, values, examples, rate),
            _join(at, bar, eta, values, examples, rate),
            _join(at, bar, eta, values, examples),
            _join(at, percent, eta, values),
            _join(at, eta),
        )

    def message(self, text: str) -> None:
        """Prints a line that stays."""
        if self._silent:
            return
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._drawn = False
        self._stream.write(text + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Leaves the moving line as it stands."""
        if self._drawn:
            self._stream.write("\n")
            self._stream.flush()
            self._drawn = False

    def _draw(self, *lines: str) -> None:
        """Redraws the moving line: the first that fits, else what fits of the last."""
        width = shutil.get_terminal_size().columns - 1
        line = next((line for line in lines if len(line) <= width), lines[-1][:width])
        self._stream.write("\r\x1b[K" + line)
        self._stream.flush()
        self._drawn = True


def _join(*parts: str) -> str:
    return "  ".join(part for part in parts if part)
