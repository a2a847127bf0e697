"""Data sets that go wrong in chosen ways, in a module that reader processes can import."""

import dataclasses
import os
import signal
import sys
from typing import Any

import numpy as np

from perceiver_jax.data.source import CorruptExample, Example


@dataclasses.dataclass(frozen=True)
class Faulty:
    """Examples that say which they are; augmentation adds a random number."""

    count: int = 13
    corrupt: tuple[int, ...] = ()  # These are.
    corrupt_in_augment: tuple[int, ...] = ()  # These are found to be when they are augmented.
    at: int = -1  # With this one, `fault` happens.
    fault: str = ""

    def make_source(self, split: str) -> "FaultySource":
        return FaultySource(self)

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        if example["id"] in self.corrupt_in_augment:
            raise CorruptExample(f"file_{example['id']}.bin: cannot be augmented")
        return {**example, "noise": np.float64(rng.random())}


@dataclasses.dataclass(frozen=True)
class FaultySource:
    config: Faulty

    def __len__(self) -> int:
        return self.config.count

    def describe(self, index: int) -> str:
        return f"file_{index}.bin"

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.config.corrupt:
            raise CorruptExample("cut short")
        if index == self.config.at:
            _go_wrong(self.config.fault)
        return {
            "id": np.int32(index),
            "process": np.int64(os.getpid()),
            "nested": {"x": np.full((2, 3), index), "word": np.array(f"w{index:02}", object)},
        }


def _go_wrong(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "exit":
        os._exit(0)
    elif fault == "sys.exit":
        sys.exit(3)
    elif fault == "stop":
        next(iter(()))
    elif fault == "memory":
        raise MemoryError("no 3 TB")
    elif fault == "bug":
        np.zeros(3).reshape(2, 2)
    elif fault == "jax":
        import jax

        raise ValueError(f"devices: {jax.devices()}")


@dataclasses.dataclass(frozen=True)
class DamagedSource:
    """Another source, of which every so manieth example is damaged, the first included."""

    whole: Any
    every: int

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> Example:
        if index % self.every == 0:
            raise CorruptExample(f"digits.bin, record {index}: wrong checksum")
        return self.whole[index]


class Unpicklable(Faulty):
    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle an open file")


class OnlyHere(Faulty):
    """Comes out of a pickle as something that cannot be imported."""

    def __reduce__(self) -> Any:
        return _import_of_an_experiment, ()


def _import_of_an_experiment() -> Any:
    raise ModuleNotFoundError("No module named 'perceiver_jax_experiment_mine'")


class Constant:
    """A reader that returns these arrays for every batch."""

    def __init__(self, arrays: dict[str, Any]):
        self.arrays = arrays

    def __call__(self, number: int) -> Any:
        return self.arrays, ()


if __name__ == "__main__":  # For a test of what becomes of readers whose program is killed.
    from perceiver_jax.data.loader import train_batches

    data = Faulty()
    batches = train_batches(
        data,
        data.make_source("train"),
        batch_size=4,
        seed=0,
        start_step=0,
        stop_step=100,
        processes=2,
    )
    print(*{int(batch["process"][0]) for _, batch in zip(range(8), batches, strict=False)})
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
