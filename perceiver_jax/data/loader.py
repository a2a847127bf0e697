"""The loader that all data sets share: batches as a function of the step, read with Grain.

The training stream is one pass over the data after another, each in a fresh order drawn from
(seed, pass), joined end to end and cut into batches: position p of the stream is example
`p % n` of pass `p // n`, and step s holds the positions s * B to (s + 1) * B - 1. So

  * every example comes exactly once in every pass, and none is dropped. A batch may straddle two
    passes (then it may, rarely, hold an example twice, once from each);
  * where training stands is the step and nothing else: a restart reads on from the same place;
  * what step s holds does not depend on how many processes read it. Each reads its own
    contiguous part of every batch.

Augmentation draws from a generator that is a function of (seed, position), so an example changes
differently in every pass, and in the same way whenever that pass is run again.

Grain reads whole batches, several at once in threads. Its own shuffle, map and batch would do the
same example by example, at 150 microseconds each: more than a small model takes to learn from it.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import grain
import jax
import numpy as np

from perceiver_jax.data.source import DataConfig, Example, Source
from perceiver_jax.errors import ConfigError, DataError

Arrays = dict[str, np.ndarray]  # A batch: arrays [B, ...] by name.


@dataclasses.dataclass(frozen=True)
class Shard:
    """Which part of every batch this process reads."""

    index: int = 0
    count: int = 1

    @classmethod
    def of_this_process(cls) -> "Shard":
        """The part that belongs to this process among all that JAX knows of."""
        return cls(jax.process_index(), jax.process_count())

    def local(self, batch_size: int, name: str) -> int:
        """Returns how many of `batch_size` examples this process reads.

        Raises:
          ConfigError: the processes cannot share the batch equally.
        """
        if batch_size % self.count:
            raise ConfigError(
                f"{name}={batch_size} cannot be shared by {self.count} processes; use a multiple "
                f"of {self.count}, such as {-(-batch_size // self.count) * self.count}."
            )
        return batch_size // self.count


def train_batches(
    data: DataConfig,
    source: Source,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    stop_step: int,
    shard: Shard = Shard(),
    threads: int = 2,
    prefetch: int = 4,
) -> Iterator[Arrays]:
    """Yields the batches of the steps start_step to stop_step - 1.

    Args:
      data: gives the augmentation.
      source: the training examples.
      batch_size: examples a step, over all processes.
      seed: decides order and augmentation.
      start_step: the step to begin with.
      stop_step: the step to end before.
      shard: the part of every batch that is read here.
      threads: threads that read ahead; 0 reads when asked.
      prefetch: batches that wait, ready.
    """
    if not len(source):
        raise DataError("The training split is empty.")
    local = shard.local(batch_size, "trainer.batch_size")
    order = _Order(len(source), seed)

    def read(step: int) -> Arrays:
        first = int(step) * batch_size + shard.index * local
        rng, examples = _PositionRng(seed), []
        for position in range(first, first + local):
            example = source[order[position]]
            examples.append(data.augment(example, rng.at(position)))
        return _stack(examples)

    return _read_ahead(range(start_step, stop_step), read, threads, prefetch)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    shard: Shard = Shard(),
    threads: int = 2,
    prefetch: int = 4,
) -> Iterator[Arrays]:
    """Yields every example once, in order; "mask" [B] is 0 for what only fills the last batch.

    All batches have the same size, so that one compiled program evaluates them all, and all
    processes get the same number of batches.
    """
    if not len(source):
        raise DataError("The split to evaluate is empty.")
    local = shard.local(batch_size, "trainer.eval_batch_size")
    blank = jax.tree.map(np.zeros_like, dict(source[0]))

    def read(number: int) -> Arrays:
        first = int(number) * batch_size + shard.index * local
        positions = range(first, first + local)
        real = [position < len(source) for position in positions]
        batch = _stack([source[p] if ok else blank for p, ok in zip(positions, real, strict=True)])
        return {**batch, "mask": np.asarray(real, np.float32)}

    return _read_ahead(range(-(-len(source) // batch_size)), read, threads, prefetch)


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


def _stack(examples: Sequence[Example]) -> Arrays:
    return jax.tree.map(lambda *values: np.stack(values), *map(dict, examples))


def _read_ahead(
    numbers: range, read: Callable[[int], Arrays], threads: int, prefetch: int
) -> Iterator[Arrays]:
    """Yields read(number) in order, with up to `prefetch` of them ready beforehand."""
    if not len(numbers):
        return iter(())
    options = grain.ReadOptions(
        num_threads=min(threads, prefetch), prefetch_buffer_size=prefetch if threads else 0
    )
    dataset = grain.MapDataset.range(numbers.start, numbers.stop).map(read)
    return iter(dataset.to_iter_dataset(options))
