"""Readers of batches: from a batch's number to its arrays, wherever and whenever they are called.

A reader is a picklable object without state, so that a thread and a process read the same to the
bit. Only NumPy is imported here: a process that reads is up at once, and keeps off the devices.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perceiver_jax.data import faults
from perceiver_jax.data.faults import Corrupt
from perceiver_jax.data.source import CorruptExample, DataConfig, Example, Source
from perceiver_jax.errors import DataError, UserError

Arrays = dict[str, Any]  # A batch: arrays [B, ...] by name, or dicts of them by modality.
Batch = tuple[Arrays, tuple[Corrupt, ...]]  # And what had to be left out of it.


@dataclasses.dataclass(frozen=True)
class TrainReader:
    """Reads this process's part of the batch of any step."""

    data: DataConfig
    source: Source
    batch_size: int  # Over all processes.
    first: int  # Where this process's part of a batch begins.
    local: int  # How many examples it has.
    seed: int
    limit: int  # With more corrupt examples in one batch there is no point in going on.

    def __call__(self, step: int) -> Batch:
        """Returns the batch of a step."""
        rng, examples = _PositionRng(self.seed), []
        corrupt: dict[int, Corrupt] = {}
        first = int(step) * self.batch_size + self.first
        for position in range(first, first + self.local):
            index = self._order[position]
            example = self._read(index, rng.at(position), corrupt)
            substitutes = None
            while example is None:
                # Another example in its place, drawn from (seed, position) like everything else:
                # the same one whoever reads, and whatever was met before.
                if substitutes is None:
                    substitutes = np.random.default_rng((self.seed, position, 1))
                index = int(substitutes.integers(len(self.source)))
                example = self._read(index, rng.at(position), corrupt)
            examples.append(example)
        return stack(examples), tuple(corrupt.values())

    def _read(
        self, index: int, rng: np.random.Generator, corrupt: dict[int, Corrupt]
    ) -> Example | None:
        """Returns an example, None if it is corrupt."""
        if index in corrupt:
            return None
        found = read_one(self.source, index, "train", lambda each: self.data.augment(each, rng))
        if not isinstance(found, Corrupt):
            return found
        corrupt[index] = found
        if len(corrupt) > self.limit or len(corrupt) == len(self.source):
            raise faults.too_many(list(corrupt.values()), self.limit)
        return None

    @functools.cached_property
    def _order(self) -> "_Order":
        return _Order(len(self.source), self.seed)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True)
class EvalReader:
    """Reads this process's part of any batch of a split, in order.

    "mask" [B] is 0 for what only fills the last batch, and in place of corrupt examples.
    """

    source: Source
    split: str  # Its name, for messages.
    batch_size: int  # Over all processes.
    first: int  # Where this process's part of a batch begins.
    local: int  # How many examples it has.
    blank: Example  # Stands where there is none.

    def __call__(self, number: int) -> Batch:
        """Returns a batch, counted from the beginning of the split."""
        examples, corrupt = [], []
        first = int(number) * self.batch_size + self.first
        mask = np.zeros(self.local, np.float32)
        for row, index in enumerate(range(first, first + self.local)):
            found: Example | Corrupt = self.blank
            if index < len(self.source):
                found = read_one(self.source, index, self.split)
                mask[row] = not isinstance(found, Corrupt)
            if isinstance(found, Corrupt):
                corrupt.append(found)
                found = self.blank
            examples.append(found)
        return {**stack(examples), "mask": mask}, tuple(corrupt)


def read_one(
    source: Source, index: int, split: str, augment: Any = lambda example: example
) -> Example | Corrupt:
    """Returns an example, or what is wrong with it if it is corrupt.

    Raises:
      UserError: what the source raised, or a `DataError` with the traceback for anything else.
    """
    try:
        return augment(source[index])
    except CorruptExample as error:
        where = faults.describe(source, index)
        reason = str(error)
        return Corrupt(split, index, reason if where in reason else f"{where}: {reason}")
    except (UserError, KeyboardInterrupt):
        raise
    # All else too: SystemExit in a thread would end the program without a word, and StopIteration
    # would end the stream.
    except BaseException as error:
        raise faults.failed(source, index, error) from error


def first_readable(
    source: Source, split: str, limit: int, augment: Any = lambda example: example
) -> Example:
    """Returns the first example that is not corrupt: it tells what all of them look like.

    Raises:
      DataError: there are no examples, or the first `limit` and one more are corrupt.
    """
    if not len(source):
        raise DataError(f"The split {split!r} is empty.")
    corrupt = []
    for index in range(min(len(source), limit + 1)):
        found = read_one(source, index, split, augment)
        if not isinstance(found, Corrupt):
            return found
        corrupt.append(found)
    raise faults.too_many(corrupt, limit)


def stack(examples: Sequence[Any], name: str = "") -> Any:
    """Returns examples as one batch.

    Raises:
      DataError: their arrays differ in shape.
    """
    if isinstance(examples[0], Mapping):
        return {key: stack([each[key] for each in examples], key) for key in examples[0]}
    try:
        return np.stack(examples)
    except ValueError as error:
        shapes = sorted({np.shape(each) for each in examples}, key=str)
        raise DataError(
            f"Examples of one batch have {name!r} of different shapes: "
            f"{' and '.join(map(str, shapes))}. The source or its augmentation must bring them to "
            "one shape."
        ) from error


class _Order:
    """The stream's examples: position -> index into the data, in a fresh order for every pass."""

    def __init__(self, num_examples: int, seed: int):
        self._num_examples = num_examples
        self._seed = seed
        # Batches that are read at once lie in two neighbouring passes at most.
        self._permutation = functools.lru_cache(maxsize=4)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self._num_examples)

    def __getitem__(self, position: int) -> int:
        epoch, index = divmod(position, self._num_examples)
        return int(self._permutation(epoch)[index])


class _PositionRng:
    """A generator that can be set to any position of the stream, at little cost.

    Philox is a function of (key, counter): the seed is the key, the position the highest word of
    the counter, so positions are 2^192 draws apart. A fresh generator would cost ten times more.
    """

    def __init__(self, seed: int):
        self._bits = np.random.Philox(key=seed)
        self._generator = np.random.Generator(self._bits)
        self._start = self._bits.state

    def at(self, position: int) -> np.random.Generator:
        """Returns the generator of a position; valid until the next call."""
        self._start["state"]["counter"][3] = position
        self._bits.state = self._start
        return self._generator
