"""What is said of examples that cannot be read, and of programs that fail at reading them."""

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Sequence

from perceiver_jax.data.source import Source
from perceiver_jax.errors import DataError

_NAMED = 10  # So many are listed in an error.


@dataclasses.dataclass(frozen=True)
class Corrupt:
    """An example that was left out."""

    split: str  # Of which split: "train".
    index: int  # Its index in the source.
    reason: str  # Where it is stored, and what is wrong with it.


class CorruptCount:
    """The corrupt examples that this process has met: each is told of once, up to a limit.

    Every process counts what it reads itself, and counts an example once however often it comes
    round.
    """

    def __init__(self, limit: int = 0, report: Callable[[str], None] = print):
        """Starts at none.

        Args:
          limit: so many are left out (`trainer.max_corrupt_examples`); one more is an error.
          report: takes a line for the user.
        """
        self.limit = limit
        self._report = report
        self._met: dict[tuple[str, int], Corrupt] = {}

    def __len__(self) -> int:
        """How many different examples there were."""
        return len(self._met)

    def of(self, split: str) -> int:
        """How many different examples of a split there were."""
        return sum(each == split for each, _ in self._met)

    def add(self, found: Iterable[Corrupt]) -> None:
        """Takes what a batch left out.

        Raises:
          DataError: there are more than the limit; names them.
        """
        for each in found:
            if (each.split, each.index) in self._met:
                continue
            self._met[each.split, each.index] = each
            if len(self._met) > self.limit:
                raise too_many(list(self._met.values()), self.limit)
            self._report(
                f"left out    example {each.index} of {each.split}, which is corrupt: {each.reason}"
            )


def too_many(found: Sequence[Corrupt], limit: int) -> DataError:
    """Returns the error that ends a run for want of readable examples."""
    listed = "".join(f"\n    {each.split} {each.index}: {each.reason}" for each in found[:_NAMED])
    more = f"\n    and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return DataError(
        f"{len(found)} corrupt {'example' if len(found) == 1 else 'examples'}, and "
        f"trainer.max_corrupt_examples={limit} may be left out:{listed}{more}\n"
        "Replace these files or take them out of the data set; or, if they can be spared, raise "
        "--config.trainer.max_corrupt_examples."
    )


def describe(source: Source, index: int) -> str:
    """Returns where an example is stored, "" if the source does not tell."""
    tell = getattr(source, "describe", None)
    try:
        return str(tell(index)) if tell is not None else ""
    except DataError:  # What it would tell is itself damaged.
        return ""


def failed(source: Source, index: int, error: BaseException) -> DataError:
    """Returns the error for an example at which the program failed, whatever it raised."""
    where = describe(source, index)
    frames = "".join(traceback.format_exception(error)).rstrip()
    return DataError(
        f"Reading example {index}{f' ({where})' if where else ''} failed with "
        f"{type(error).__name__}: {error}\n\n{frames}\n\n"
        "This is taken for a mistake in the program. If it is the file that is damaged, let the "
        "source raise CorruptExample (perceiver_jax.data.source): it is left out then."
    )
