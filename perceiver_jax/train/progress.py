"""What the user sees while a run goes on: one line that moves on a terminal, else a few lines."""

import shutil
import sys
import time
from typing import TextIO

_BAR = 10  # Characters.
_TERMINAL_EVERY = 0.1  # Seconds between redrawings.
_LINES_EVERY = 10.0  # Seconds between lines where there is no terminal.


def format_seconds(seconds: float) -> str:
    """Returns 75 as "1:15", 3675 as "1:01:15"."""
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Shows step, loss, learning rate, speed and the time that is left."""

    def __init__(self, *, num_steps: int, batch_size: int, stream: TextIO | None = None):
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._drawn = False
        self._last_shown = float("-inf")
        # Speed counts from the first step that is done: the time before goes to compiling.
        self._start: tuple[int, float] | None = None
        self._paused = 0.0
        self.examples_per_second = 0.0

    def update(self, step: int, loss: float, learning_rate: float) -> None:
        """Shows the state after `step` steps."""
        now = time.monotonic()
        if self._start is None:
            self._start = (step, now)
        elapsed = now - self._start[1] - self._paused
        done = step - self._start[0]
        steps_per_second = done / elapsed if done and elapsed > 0 else 0.0
        self.examples_per_second = steps_per_second * self._batch_size
        interval = _TERMINAL_EVERY if self._terminal else _LINES_EVERY
        if now - self._last_shown < interval and step < self._num_steps:
            return
        self._last_shown = now
        at = f"step {step}/{self._num_steps}"
        values, rate = f"loss {loss:.4f}", f"lr {learning_rate:.1e}"
        speed = eta = ""
        if steps_per_second:
            speed = f"{self.examples_per_second:,.0f} examples/s"
            eta = f"ETA {format_seconds((self._num_steps - step) / steps_per_second)}"
        if not self._terminal:
            self._stream.write(_join(at, values, rate, speed, eta) + "\n")
            self._stream.flush()
            return
        fraction = step / self._num_steps
        filled = int(_BAR * fraction)
        bar = "█" * filled + "░" * (_BAR - filled)
        percent = f"{fraction:.0%}"
        speed = speed.replace("examples/s", "ex/s")
        # The first that fits: a narrow terminal does without what can be missed.
        self._draw(
            _join(at, f"{bar} {percent:>4}", eta, values, speed, rate),
            _join(at, bar, eta, values, speed, rate),
            _join(at, bar, eta, values, speed),
            _join(at, percent, eta, values),
            _join(at, eta),
        )

    def pause(self, seconds: float) -> None:
        """Leaves time that was not spent on steps, such as an evaluation, out of the speed."""
        if self._start is not None:
            self._paused += seconds

    def message(self, text: str) -> None:
        """Prints a line that stays."""
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
