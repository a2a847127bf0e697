"""Stopping on request: Ctrl-C and SIGTERM end a run after the step that is under way."""

import signal
import sys
import threading
from types import FrameType, TracebackType


class Interrupted(Exception):
    """The run stopped on request, after saving. `exit_code` follows the shell's custom."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


class StopRequest:
    """While open, the first SIGINT or SIGTERM is only noted; the second ends the process at once.

    `requested` is the number of the signal, or None. Python can set handlers in the main thread
    only; elsewhere (a notebook's worker, a test) signals keep their meaning.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in self._SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        for each in self._SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        sys.stderr.write(f"\n{name}: stopping after this step and saving; once more quits now.\n")
        sys.stderr.flush()
