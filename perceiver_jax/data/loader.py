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

An example that is corrupt (`CorruptExample`) is left out. In training another one stands in its
place, drawn from (seed, position) too; in evaluation the mask leaves it out. So neither depends on
who reads, or on what was met before.

Grain reads whole batches, several at once in threads. Its own shuffle, map and batch would do the
same example by example, at 150 microseconds each: more than a small model takes to learn from it.
"""

import dataclasses
from collections.abc import Callable, Iterator

import grain
import jax
import numpy as np

from perceiver_jax.data.faults import CorruptCount
from perceiver_jax.data.processes import ReaderPool
from perceiver_jax.data.readers import Arrays, Batch, EvalReader, TrainReader, first_readable
from perceiver_jax.data.source import DataConfig, Source
from perceiver_jax.errors import ConfigError, DataError

__all__ = ["Arrays", "CorruptCount", "Shard", "eval_batches", "train_batches"]


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
    processes: int = 0,
    prefetch: int = 4,
    corrupt: CorruptCount | None = None,
) -> Iterator[Arrays]:
    """Yields the batches of the steps start_step to stop_step - 1.

    Args:
      data: gives the augmentation.
      source: the training examples.
      batch_size: examples that a step reads, over all processes.
      seed: decides order and augmentation.
      start_step: the step to begin with.
      stop_step: the step to end before.
      shard: the part of every batch that is read here.
      threads: threads that read ahead; 0 reads when asked.
      processes: processes that read ahead instead of the threads; 0: none.
      prefetch: batches that wait, ready; at least one for each process.
      corrupt: counts the corrupt examples of the batches that were yielded, and sets their limit;
        None: there may be none.

    Raises:
      DataError: there are no examples; and, when a batch is asked for, too many of them are
        corrupt, a source has failed, or a reader process has died.
    """
    if not len(source):
        raise DataError("The training split is empty.")
    corrupt = CorruptCount() if corrupt is None else corrupt
    local = shard.local(batch_size, "trainer.batch_size")
    reader = TrainReader(
        data=data,
        source=source,
        batch_size=batch_size,
        first=shard.index * local,
        local=local,
        seed=seed,
        limit=corrupt.limit,
    )
    return _read_ahead(range(start_step, stop_step), reader, threads, processes, prefetch, corrupt)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    shard: Shard = Shard(),
    threads: int = 2,
    processes: int = 0,
    prefetch: int = 4,
    corrupt: CorruptCount | None = None,
    split: str = "test",
) -> Iterator[Arrays]:
    """Yields every example once, in order; "mask" [B] is 0 for what only fills the last batch.

    It is 0 for corrupt examples too. All batches have the same size, so that one compiled program
    evaluates them all, and all processes get the same number of batches.

    Args:
      source: the examples.
      batch_size: examples at once, over all processes.
      shard: the part of every batch that is read here.
      threads: see `train_batches`.
      processes: see `train_batches`.
      prefetch: see `train_batches`.
      corrupt: see `train_batches`.
      split: the split's name, for messages.

    Raises:
      DataError: see `train_batches`.
    """
    if not len(source):
        raise DataError("The split to evaluate is empty.")
    corrupt = CorruptCount() if corrupt is None else corrupt
    local = shard.local(batch_size, "trainer.eval_batch_size")
    reader = EvalReader(
        source=source,
        split=split,
        batch_size=batch_size,
        first=shard.index * local,
        local=local,
        blank=jax.tree.map(np.zeros_like, dict(first_readable(source, split, corrupt.limit))),
    )
    numbers = range(-(-len(source) // batch_size))
    return _read_ahead(numbers, reader, threads, processes, prefetch, corrupt)


def _read_ahead(
    numbers: range,
    read: Callable[[int], Batch],
    threads: int,
    processes: int,
    prefetch: int,
    corrupt: CorruptCount,
) -> Iterator[Arrays]:
    """Yields read(number) in order, with up to `prefetch` of them ready beforehand."""
    if not len(numbers):
        return
    pool = None
    if processes:
        # A thread for each process, that waits for it.
        pool = ReaderPool(read, min(processes, len(numbers)))
        read, threads, prefetch = pool.read, processes, max(processes, prefetch)
    options = grain.ReadOptions(
        num_threads=min(threads, prefetch), prefetch_buffer_size=prefetch if threads else 0
    )
    dataset = grain.MapDataset.range(numbers.start, numbers.stop).map(read)
    batches = iter(dataset.to_iter_dataset(options))
    try:
        for arrays, found in batches:
            corrupt.add(found)
            yield arrays
    finally:
        if pool is not None:
            pool.close()  # First: it wakes the threads that wait for a process.
        batches.close()
