"""Functions for processes that `processes.py` starts: JSON in, JSON out."""

import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.loader import CorruptCount, Shard, eval_batches, train_batches
from perceiver_jax.data.source import Example
from perceiver_jax.errors import DataError
from perceiver_jax.tasks.base import Mean
from perceiver_jax.train import agreement
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.evaluation import evaluate
from perceiver_jax.train.initial import initial_state
from perceiver_jax.train.mesh import make_mesh, put_batch
from tests.train import multilabel
from tests.train.fake import MLP, experiment


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A source whose example i is the number i, and its own config without augmentation."""

    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        return {"number": np.int32(index)}

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        return example


def everything() -> dict[str, Any]:
    """All that the tests want to know of joined processes, in one start of them."""
    return {
        "places": places(),
        "catches_sigterm": catches(signal.SIGTERM),
        "sum": sum_over_devices(),
        "agreement": agreements(),
        "zero": on_zero(),
        "stops": [stop_steps(asked=asked) for asked in ([None, 3], [2, 5], [None, None])],
        "counts": count_examples(),
        "evaluation": evaluate_digits(),
        "several_labels": evaluate_clips(),
        "batches": read_batches(Shard.of_this_process()),
    }


def places() -> dict[str, int]:
    return {
        "index": jax.process_index(),
        "count": jax.process_count(),
        "local": jax.local_device_count(),
        "global": jax.device_count(),
    }


def catches(number: int) -> bool:
    """Says whether a signal has a handler, of whichever language (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    mask = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def sum_over_devices() -> float:
    """Adds up, over all devices, 10 to the power of the device's position."""
    mesh = make_mesh(MeshConfig())
    local = [10.0 ** (2 * jax.process_index() + i) for i in range(jax.local_device_count())]
    batch = put_batch({"x": np.array(local, np.float32)}, mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    return float(jax.jit(jnp.sum, out_shardings=everywhere)(batch["x"]))


def agreements() -> dict[str, Any]:
    first = jax.process_index() == 0
    return {
        "gathered": agreement.gather([None, "x"] if first else "a longer one"),
        "broadcast": [
            agreement.broadcast({"words": "größer", "list": [1, None]} if first else 7),
            agreement.broadcast("" if first else "not this"),
        ],
    }


def on_zero() -> dict[str, Any]:
    called = []

    def count() -> list[int]:
        called.append(1)
        return [3, 4]

    def refuse() -> None:
        raise DataError("no such data")

    def fail() -> None:
        raise ZeroDivisionError("one by nothing")

    result: dict[str, Any] = {"value": agreement.on_process_zero(count), "called": len(called)}
    for name, call in (("refused", refuse), ("failed", fail)):
        try:
            agreement.on_process_zero(call)
        except Exception as error:
            result[name] = [type(error).__name__, str(error)]
    return result


def stop_steps(asked: list[int | None]) -> list[int | None]:
    """Runs a loop of 8 steps; `asked` is the step at which each process is told to stop.

    Returns:
      [the step after which the loop ended, the signal].
    """
    at = asked[jax.process_index()]
    votes = agreement.StopAgreement()
    for step in range(8):
        signal_number = 15 - jax.process_index() if at is not None and step >= at else None
        agreed = votes.vote(signal_number)
        if agreed is not None:
            return [step, agreed]
    return [8, None]


def count_examples() -> dict[str, float]:
    """Counts 360 examples in batches of 64, and adds up their numbers."""
    mesh = make_mesh(MeshConfig())

    @jax.jit
    def eval_step(state: Any, batch: Any) -> tuple[dict[str, Mean], dict[str, jax.Array]]:
        real, number = batch["mask"], batch["number"].astype(jnp.float32)
        once = jnp.ones(())
        # Means over the 6 batches: 60 examples each, and their numbers.
        return {"count": Mean(real.sum(), once), "sum": Mean((real * number).sum(), once)}, {}

    batches = eval_batches(Numbers(360), batch_size=64, shard=Shard.of_this_process())
    found = evaluate(eval_step, None, batches, mesh, num_examples=360)
    assert found is not None
    return found.metrics


def evaluate_digits() -> dict[str, float]:
    """Evaluates the fake experiment's initial weights on the 360 test digits, in batches of 64."""
    config = experiment()
    parts = assemble(config, MLP())
    batches = eval_batches(
        DigitsConfig().make_source("test"), batch_size=64, shard=Shard.of_this_process()
    )
    state = initial_state(parts, None)
    found = evaluate(parts.eval_step(), state, batches, parts.mesh, num_examples=360)
    assert found is not None
    return found.metrics


def evaluate_clips(devices: Sequence[jax.Device] | None = None) -> list[Any]:
    """Evaluates recordings of which two are corrupt, and the last batch is not full."""
    config = multilabel.experiment(corrupt=(5, 40))
    parts = assemble(config, multilabel.Identity(), devices)
    batches = eval_batches(
        source := config.data.make_source("test"),
        batch_size=16,
        shard=Shard.of_this_process(),
        corrupt=CorruptCount(2, report=lambda line: None),
    )
    found = evaluate(
        parts.eval_step(), initial_state(parts, None), batches, parts.mesh,
        num_examples=len(source), task=config.task,
    )  # fmt: skip
    assert found is not None
    tables = found.per_class
    return [found.metrics, tables and {name: array.tolist() for name, array in tables.items()}]


def read_batches(shard: Shard) -> list[list[int]]:
    """The training examples of three batches of 8 out of 13, as this shard reads them."""
    source = Numbers(13)
    batches = train_batches(
        source, source, batch_size=8, seed=5, start_step=0, stop_step=3, shard=shard
    )
    return [batch["number"].tolist() for batch in batches]
