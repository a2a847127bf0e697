"""What a writer of metrics is. One's own needs a function from a `Run` to a `Writer`:

    --config.trainer.writers=mypackage.metrics:open_writer

Writers are told what metrics.jsonl has been told just before, by process 0 only, and are opened
anew when a run goes on.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


@dataclasses.dataclass(frozen=True)
class Run:
    """The run whose metrics are to be written."""

    name: str  # Of the experiment.
    workdir: Path  # Exists; a writer may keep files there.
    config: Mapping[str, Any]  # The experiment as JSON values, as in config.json.
    # Steps that are done already. What was written of later steps, before the run was interrupted,
    # comes once more and is the same: a writer must not show it twice.
    first_step: int


class Writer(Protocol):
    """Takes metrics; calls come from one thread."""

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Takes the values of a step ("train") or of an evaluation after it ("test", ...)."""

    def flush(self) -> None:
        """Lets go of what is held back; called before each checkpoint."""

    def close(self) -> None:
        """Ends; also called when training fails."""


Factory = Callable[[Run], Writer]
