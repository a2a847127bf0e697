"""What a training step needs of each device, found by compiling it and running nothing.

Works on a machine with none of the devices: JAX offers as many virtual CPU devices as one likes,
and the partitioned program is that of any platform up to the last choices of its compiler.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from perceiver_jax.train.assemble import Parts, first_example
from perceiver_jax.train.config import AXES
from perceiver_jax.train.least_memory import bytes_of
from perceiver_jax.train.sharding import Placement, placements

_KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(_KINDS)})(?:-start)?\((.*)")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")
# How programs write groups of devices down: as a reshaped and transposed range of numbers, as the
# rows of a range along some axes of a mesh of the compiler's own, or one by one.
_RANGE = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_IOTA_GROUPS = re.compile(rf"replica_groups=\[([\d,]+)\]<={_RANGE}")
_MESH_GROUPS = re.compile(
    rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_RANGE}\))? \{{([^}}]*)\}}"
)
_LISTED_GROUPS = re.compile(r"replica_groups=\{(\{[\d,{}]*\})\}")
_PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{}]*\})\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """What devices send each other in a step: all operations of a kind over the same axes."""

    kind: str  # "all-reduce", ...
    axes: tuple[str, ...]  # The mesh axes along which devices take part; none: all for themselves.
    count: int  # Operations in the program; those in a loop count once.
    bytes: int  # Sizes of their results on one device, added up.
    shapes: tuple[tuple[int, ...], ...]  # Of their results, each once.


@dataclasses.dataclass(frozen=True)
class DryRun:
    """A compiled step. Bytes are those of one device."""

    placements: list[Placement]  # Where the parameters lie.
    parameters: int  # Bytes of the parameters, averaged ones included.
    optimizer: int  # Bytes of the optimiser's moments.
    batch: int  # Bytes of the examples that a device reads.
    activations: int  # Bytes of all that lives between the start and the end of a step.
    collectives: list[Collective]
    flops: float  # Operations of one step on one device, as the compiler counts them.

    @property
    def total(self) -> int:
        """Bytes of a device that a step takes up at most."""
        return self.parameters + self.optimizer + self.batch + self.activations


def abstract_batch(parts: Parts) -> dict[str, Any]:
    """Shapes of what a step reads, for a batch of the size that the config declares."""
    example = first_example(parts.config, parts.train_source)
    size = parts.examples_read

    def shape(value: Any) -> jax.ShapeDtypeStruct:
        value = np.asarray(value)
        dtype = jax.dtypes.canonicalize_dtype(value.dtype)
        return jax.ShapeDtypeStruct((size, *value.shape), dtype)

    return jax.tree.map(shape, dict(example))


def dry_run(parts: Parts) -> DryRun:
    """Compiles the training step of a run for the devices of its mesh."""
    state, batch = parts.state.abstract(), abstract_batch(parts)
    step = jax.ShapeDtypeStruct((), np.int32)
    compiled = parts.train_step().lower(state, batch, step).compile()  # type: ignore[attr-defined]
    memory = compiled.memory_analysis()
    costs = compiled.cost_analysis() or {}
    shared = parts.mesh.shape["data"] * parts.mesh.shape["fsdp"]
    return DryRun(
        placements=placements({"params": state.params}, parts.mesh, parts.config.trainer.mesh),
        parameters=bytes_of(state.params) + bytes_of(state.ema),
        optimizer=bytes_of(state.opt_state),
        batch=bytes_of(batch) // shared,
        activations=int(memory.temp_size_in_bytes),
        collectives=collectives(compiled.as_text(), parts.mesh),
        flops=float(costs.get("flops", math.nan)),
    )


def collectives(program: str, mesh: Mesh) -> list[Collective]:
    """Returns what the devices of `mesh` send each other in a compiled program.

    Args:
      program: its text, as `jax.stages.Compiled.as_text` gives it.
      mesh: the devices.
    """
    found: dict[tuple[str, tuple[str, ...]], list[list[tuple[str, tuple[int, ...]]]]]
    found = collections.defaultdict(list)
    for line in program.splitlines():
        match = _COLLECTIVE.search(line)
        if match:
            result, kind, rest = match.groups()
            axes = _axes(list(_groups(rest, mesh.size)), mesh)
            arrays = [
                (dtype, tuple(int(size) for size in sizes.split(",") if size))
                for dtype, sizes in _ARRAY.findall(result)
            ]
            found[kind, axes].append(arrays)
    return [
        Collective(
            kind=kind,
            axes=axes,
            count=len(operations),
            bytes=sum(_width(d) * math.prod(s) for arrays in operations for d, s in arrays),
            shapes=tuple(sorted({shape for arrays in operations for _, shape in arrays})),
        )
        for (kind, axes), operations in sorted(found.items())
    ]


def _width(dtype: str) -> int:
    """Bytes of a value of one of XLA's types: f32, bf16, s32, pred."""
    bits = re.search(r"\d+", dtype)
    return max(int(bits.group()) // 8, 1) if bits else 1


def _groups(text: str, num_devices: int) -> Iterator[list[int]]:
    """Yields the groups of devices that an operation runs over."""
    if match := _IOTA_GROUPS.search(text):
        shape, dims, order = match.groups()
        size = int(shape.split(",")[-1])
        yield from _range(dims, order).reshape(-1, size).tolist()
        return
    if match := _MESH_GROUPS.search(text):
        axes, dims, order, along = match.groups()
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", axes)}
        devices = _range(dims or str(num_devices), order).reshape(tuple(sizes.values()))
        moving = [list(sizes).index(name) for name in re.findall(r"'(\w+)'", along)]
        devices = np.moveaxis(devices, moving, range(-len(moving), 0))
        size = math.prod(devices.shape[devices.ndim - len(moving) :])
        yield from devices.reshape(-1, size).tolist()
        return
    match = _LISTED_GROUPS.search(text) or _PAIRS.search(text)
    if match:
        for group in re.findall(r"\{([\d,]+)\}", match.group(1)):
            yield [int(each) for each in group.split(",")]
        return
    yield list(range(num_devices))


def _range(dims: str, order: str | None) -> np.ndarray:
    """The numbers of devices "[2,4]T(1,0)" stands for, in their order."""
    shape = [int(each) for each in dims.split(",")]
    devices = np.arange(math.prod(shape)).reshape(shape)
    return devices.transpose([int(each) for each in order.split(",")]) if order else devices


def _axes(groups: list[list[int]], mesh: Mesh) -> tuple[str, ...]:
    """The axes along which the devices of a group differ."""
    moving = set()
    for group in groups:
        places = np.stack(np.unravel_index(group, mesh.devices.shape))  # [axes, devices]
        moving |= {
            axis for axis, place in zip(AXES, places, strict=True) if len(set(place.tolist())) > 1
        }
    return tuple(axis for axis in AXES if axis in moving)
