"""Keeps off the screen what Orbax and TensorStore say of failures that are told in words anyway."""

import functools
import logging
import sys
from typing import Any

TEMPORARY = ".orbax-checkpoint-tmp"  # In the names of what Orbax has not finished.


@functools.cache
def mute() -> None:
    """Keeps quiet, from now on, about work that Orbax abandons when a part of it fails.

    Of a save or a read that fails, other parts end whenever they do, or when the garbage is
    collected, and each would put a page of its own on the screen. The failure itself is raised.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        of_orbax = code is not None and "orbax" in code.co_filename
        of_tensorstore = str(unraisable.exc_value) == "Event loop is closed"
        if not of_orbax and not of_tensorstore:
            before(unraisable)

    sys.unraisablehook = hook

    def keep(record: logging.LogRecord) -> bool:
        if not record.exc_info:
            return True
        text = f"{record.getMessage()} {record.exc_info[1]}"
        return "orbax" not in record.pathname and TEMPORARY not in text

    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(keep)
