"""Work that fails, for processes: they import it by its name."""

import dataclasses
import os
import signal
from collections.abc import Callable

from perceiver_jax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Work of 3 parts of 4 items; a process that comes to item 6 meets what `kind` says."""

    kind: str

    def items(self, part: int) -> range:
        return range(4 * part, 4 * part + 4)

    def describe(self, item: int) -> str:
        return f"mesh {item}"

    def do(self, part: int, done: Callable[[int], None]) -> None:
        for item in self.items(part):
            if item == 6:
                if self.kind == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.kind == "bug":
                    raise ZeroDivisionError("by zero")
                if self.kind == "mistake":
                    raise DataError("the disk is full")
                os._exit(3)
            done(item)
