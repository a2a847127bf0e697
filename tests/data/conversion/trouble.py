"""Work that fails, for processes: they import it by its name."""

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

from perceiver_jax.errors import DataError

ENDS = {"killed": signal.SIGKILL, "crash": signal.SIGSEGV, "loop": signal.SIGXCPU}


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Work of 3 parts of 4 items; a process that comes to item 6 meets what `kind` says."""

    kind: str
    folder: str = "nowhere"  # Where it is noted that item 6 is given up.

    def items(self, part: int) -> range:
        return range(4 * part, 4 * part + 4)

    def describe(self, item: int) -> str:
        return f"mesh {item}"

    def give_up(self, item: int, reason: str) -> bool:
        if self.kind not in ("crash", "loop"):
            return False
        Path(self.folder, str(item)).write_text(reason)
        return True

    def do(self, part: int, done: Callable[[int], None]) -> None:
        for item in self.items(part):
            if item == 6 and not Path(self.folder, "6").exists():
                if self.kind in ENDS:
                    os.kill(os.getpid(), ENDS[self.kind])
                if self.kind == "bug":
                    raise ZeroDivisionError("by zero")
                if self.kind == "mistake":
                    raise DataError("the disk is full")
                os._exit(3)
            done(item)
