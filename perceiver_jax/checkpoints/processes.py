"""Who writes, and how processes come to one answer, as far as files are concerned.

With many hosts the work directory lies on a file system that all of them share. One process, the
primary, claims it, writes the small files and deletes; arrays are written by all of them together.
What one process alone can see (a file that it cannot read, a write that failed) is put to all, so
that they go the same way.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Processes(Protocol):
    """What files need to know of the processes of a run."""

    @property
    def primary(self) -> bool:
        """Whether this is the one process that claims, writes small files and deletes."""

    @property
    def agree(self) -> Callable[[Any], Sequence[Any]]:
        """Takes a value of JSON from every process, and gives all of them all values.

        In the order of the processes, the primary first. Every process calls it at the same points
        of the program.
        """


def _alone(value: Any) -> Sequence[Any]:
    return [value]


@dataclasses.dataclass(frozen=True)
class GivenProcesses:
    """Processes as given; by default this one is alone."""

    primary: bool = True
    agree: Callable[[Any], Sequence[Any]] = _alone


ALONE = GivenProcesses()


def first_given(values: Sequence[Any]) -> Any:
    """Returns the first value that is not None, or None."""
    return next((value for value in values if value is not None), None)
