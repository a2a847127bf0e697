"""What a training step takes of a device at least, before it is compiled.

Activations, most of it as a rule, are known only to the compiler (`perceiver_jax.train.dry_run`).
But where not even this much is free, the system ends the program without a word.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import jax

from perceiver_jax.train.assemble import Parts

_PROC = Path("/proc/meminfo")
# What a container may have, of either version of Linux's control groups.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@dataclasses.dataclass(frozen=True)
class LeastMemory:
    """Bytes of one device."""

    state: int  # Parameters, their gradients, their averages, and what the optimiser keeps.
    inputs: int  # What the model reads in a step.
    free: int | None  # Of its memory; None: nobody knows.

    @property
    def total(self) -> int:
        """Of a step, without activations."""
        return self.state + self.inputs

    def __str__(self) -> str:
        return (
            f"{_size(self.state)} of parameters, gradients and optimiser, {_size(self.inputs)} of "
            "inputs on each device; activations come on top"
        )

    @property
    def warning(self) -> str | None:
        """Says that it is too much; None if it may not be."""
        if self.free is None or self.total <= self.free:
            return None
        return (
            f"only {_size(self.free)} of memory are free, and a step takes {_size(self.total)} "
            "without activations: the system may end the program without a word. Smaller: "
            "--config.trainer.batch_size, another variant; `python -m perceiver_jax.inspect "
            "--config=… --mesh=data=1` says what a step takes"
        )


def least_memory(parts: Parts) -> LeastMemory:
    """Returns what a step of a run takes at least, and what is free."""
    state = parts.state.abstract()
    shared = parts.mesh.shape["data"] * parts.mesh.shape["fsdp"]
    return LeastMemory(
        state=bytes_of(state) + bytes_of(state.params),
        inputs=bytes_of(parts.state.inputs) * parts.config.trainer.batch_size // shared,
        free=_free(parts.mesh.local_devices),
    )


def bytes_of(tree: Any) -> int:
    """Bytes of arrays, or of their shapes, on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        sharding = getattr(leaf, "sharding", None)
        shape = sharding.shard_shape(leaf.shape) if sharding is not None else leaf.shape
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


def _free(devices: list[jax.Device]) -> int | None:
    """Bytes that each of some devices of this process has left."""
    if devices[0].platform == "cpu":
        found = _host_memory()
        return None if found is None else found // len(devices)  # They share it.
    stats = devices[0].memory_stats() or {}
    if "bytes_limit" not in stats:
        return None
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def _host_memory() -> int | None:
    """Bytes that programs can still have, as Linux says; None elsewhere."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", _PROC.read_text())
    except OSError:
        return None
    if found is None:
        return None
    free = int(found.group(1)) * 1024
    for path in _LIMITS:
        try:
            free = min(free, int(path.read_text()))
        except (OSError, ValueError):  # "max" is no limit.
            continue
    return free


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
