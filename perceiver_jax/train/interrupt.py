"""Stopping on request: Ctrl-C and SIGTERM end a run after the step that is under way.

Ctrl-C is a person's; SIGTERM comes from a scheduler that wants the machine back. After SIGTERM the
exit status is therefore one that means "start me again": 75, EX_TEMPFAIL of sysexits.h, by which a
launcher tells a preempted run (75) from one with a mistake (2) or a crash (others).
"""

import os
import signal
import threading
from types import FrameType, TracebackType

from perceiver_jax.errors import EXIT_INTERRUPTED, EXIT_RESUME


class Interrupted(Exception):
    """The run stopped on request, after saving. `exit_code` says whether to start it again."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = EXIT_RESUME if signal_number == signal.SIGTERM else EXIT_INTERRUPTED


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
        # Not print: it may have been a print that was interrupted.
        text = f"\n{name}: stopping after this step and saving; once more quits now.\n"
        os.write(2, text.encode())
