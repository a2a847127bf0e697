"""What is converted in parts, each a file that is whole or not there.

Parts are in a folder of their own. Whoever is interrupted starts the same command again, and only
the parts that are not there are made. The folder notes what it is of; parts of another source, or
made in another way, are never mixed with it.
"""

import abc
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from perceiver_jax.atomic import replacing
from perceiver_jax.data.conversion.workers import work_through
from perceiver_jax.errors import ConfigError, DataError, UserError

_PLAN = "plan.json"
LOCK = ".lock"  # In the folder of the parts, while a process is at it and after.


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """An entry that is not in the converted set, and why."""

    name: str
    split: str  # Its own; or the folder that it was found in, which is that of none.
    reason: str


class PartedConversion(abc.ABC):
    """All of a source's entries: what is converted, how, and where the parts are. Picklable."""

    folder: Path  # Of the parts.
    version: ClassVar[str]  # Of what is made: parts of another one are not mixed with it.
    part_pattern: ClassVar[str]  # What their names look like.
    told: ClassVar[Mapping[str, str]]  # What messages tell of it: {"seed": "with --seed={}"}.

    @property
    @abc.abstractmethod
    def num_parts(self) -> int:
        """How many there are."""

    @abc.abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Says what the set is made of: equal for two conversions that give equal sets."""

    @abc.abstractmethod
    def items(self, part: int) -> Sequence[int]:
        """Returns the numbers of a part's entries."""

    @abc.abstractmethod
    def describe(self, item: int) -> str:
        """Names an entry."""

    @abc.abstractmethod
    def do(self, part: int, done: Callable[[int], None]) -> None:
        """Converts a part, and writes it whole or not at all."""

    @abc.abstractmethod
    def is_done(self, part: int) -> bool:
        """Returns whether a part is there."""

    def give_up(self, item: int, reason: str) -> bool:
        """Notes that an entry ends any process that converts it, if it can be left out.

        Returns:
          Whether `do` will leave it out.
        """
        return False

    def lay_out(self) -> None:  # noqa: B027
        """Writes what those who make parts need to know; called once, in an empty folder."""

    def missing_parts(self) -> list[int]:
        """Returns the parts that are still to be made."""
        return [part for part in range(self.num_parts) if not self.is_done(part)]

    def missing_items(self) -> list[int]:
        """Returns the entries of the parts that are still to be made."""
        return [item for part in self.missing_parts() for item in self.items(part)]

    def begin(self) -> None:
        """Makes the folder of the parts, or goes on in one that an earlier run left.

        Raises:
          DataError: the folder has parts of something else.
          UserError: it cannot be written.
        """
        plan, expected = self.folder / _PLAN, {**self.provenance(), "version": self.version}
        if not plan.exists() and not has_parts(self.folder, self.part_pattern):
            self.lay_out()
            with replacing(plan) as path:
                path.write_text(json.dumps(expected, indent=1), encoding="utf-8")
        try:
            found = json.loads(plan.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found != expected:
            raise DataError(
                f"{self.folder} has what an interrupted conversion left, made "
                f"{self.differences(found, expected)}. Give the same source and flags to go on "
                "with that one, remove the folder to start anew, or choose another --name."
            )

    def instead(self, found: Any) -> str:
        """What to do where another set has the place; `found` is what is noted of it."""
        return "Remove it, or choose another --name or --data_dir."

    def differences(self, found: Any, expected: Mapping[str, Any]) -> str:
        """Says how what was noted earlier was made, where that differs: "with --seed=1"."""
        if not isinstance(found, dict):
            return "of nobody knows what"
        named = {**self.told, "version": "by version {} of this program"}
        told = [
            text.format(found.get(key))
            for key, text in named.items()
            if key in found and found[key] != expected.get(key) and key in expected
        ]
        others = any(found.get(key) != value for key, value in expected.items() if key not in named)
        return " and ".join([*told, *(["of other files"] if others else [])]) or "otherwise"


def has_parts(folder: Path, pattern: str) -> bool:
    """Returns whether a folder has a part, whole; what a killed process wrote begins with a dot."""
    return any(not path.name.startswith(".") for path in folder.glob(pattern))


def convert(conversion: PartedConversion, workers: int, done: Callable[[int], None]) -> None:
    """Makes all parts that are not there yet.

    Args:
      conversion: what to convert.
      workers: how many processes do it.
      done: called with the number of each entry when it is converted or left out.

    Raises:
      ConfigError: no process is to do it.
      DataError: a process died; names the entry that it was at.
    """
    workers = number_of_workers(workers)
    conversion.begin()
    work_through(conversion, conversion.missing_parts(), workers, done)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second process from the same set: it would take away what this one writes.

    Raises:
      DataError: another process is at it.
      UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Gone when the process is.
        except BlockingIOError as error:
            raise DataError(
                f"Another process is making this set, in {folder}. Wait until it is done, or give "
                "another --name or --data_dir."
            ) from error
        except OSError:
            pass  # A file system without locks.
        yield


def written(conversion: PartedConversion, folder: Path) -> bool:
    """Returns whether the finished set is in a folder already, made in just this way.

    Raises:
      DataError: one that was made in another way is there.
    """
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    expected = conversion.provenance()
    noted = isinstance(found, dict) and {key: found.get(key) for key in expected}
    if noted != expected:
        raise DataError(
            f"{folder} is there already, made {conversion.differences(found, expected)}, and is "
            f"left as it is. {conversion.instead(found)}"
        )
    return True


def available_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def number_of_workers(asked: int | None) -> int:
    """Returns how many processes convert: as many as are asked for, or one a core.

    Raises:
      ConfigError: none is asked for.
    """
    if asked is None:
        return available_cores()
    if asked < 1:
        raise ConfigError(f"--workers={asked} must be 1 or more.")
    return asked


def digest(texts: Iterable[str]) -> str:
    """Returns 32 hexadecimal digits that other texts do not have; keeps none of them."""
    found = hashlib.blake2b(digest_size=16)
    for number, text in enumerate(texts):
        found.update(("\n" * (number > 0) + text).encode("utf-8", "surrogateescape"))
    return found.hexdigest()
