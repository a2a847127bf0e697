"""Processes of a run, played by threads of this one, for what only concerns files."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from perceiver_jax.checkpoints.processes import GivenProcesses


def together(*bodies: Callable[[GivenProcesses], Any]) -> list[Any]:
    """Runs each function as one process, the first as the primary.

    Returns:
      What each returned, or the exception that it raised.
    """
    values: list[Any] = [None] * len(bodies)
    results: list[Any] = [None] * len(bodies)
    barrier = threading.Barrier(len(bodies), timeout=60)

    def run(index: int) -> None:
        def agree(value: Any) -> Sequence[Any]:
            values[index] = value
            barrier.wait()
            found = list(values)
            barrier.wait()
            return found

        try:
            results[index] = bodies[index](GivenProcesses(primary=index == 0, agree=agree))
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
