"""What a training step needs of each device of a mesh, as text: `inspect --config=… --mesh=…`."""

import os
from typing import Any

from perceiver_jax.errors import ConfigError
from perceiver_jax.report import tables
from perceiver_jax.report.parameters import render_modules
from perceiver_jax.train.assemble import Parts, assemble
from perceiver_jax.train.config import AXES, ExperimentConfig
from perceiver_jax.train.dry_run import DryRun, dry_run


def parse_mesh(text: str) -> dict[str, int]:
    """Reads "data=8,fsdp=8": sizes of all axes, those left out being 1.

    Raises:
      ConfigError: another axis, or a size that is no whole number above 0.
    """
    sizes = dict.fromkeys(AXES, 1)
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in AXES or not size.isdigit() or not int(size):
            raise ConfigError(
                f"--mesh={text}: {part!r} is no size of an axis; the axes are {', '.join(AXES)}, "
                "and their sizes whole numbers, as in --mesh=data=8,fsdp=4."
            )
        sizes[axis] = int(size)
    return sizes


def use_virtual_devices(number: int) -> None:
    """Makes JAX offer `number` devices, which are all this machine's processor.

    Must come before anything computes.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"  # for readers in processes of their own, too
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", number)


def needs(config: ExperimentConfig) -> tuple[Parts, DryRun]:
    """Compiles the step of an experiment for the devices there are."""
    parts = assemble(config)
    return parts, dry_run(parts)


def as_json(parts: Parts, found: DryRun) -> dict[str, Any]:
    """All that `render` shows, as JSON values."""
    return {
        "name": parts.config.name,
        "mesh": dict(parts.mesh.shape),
        "batch_size": parts.config.trainer.batch_size,
        "examples_read": parts.examples_read,
        "parameters": {
            each.path.removeprefix("params/"): {"shape": each.shape, "lies": each.text}
            for each in found.placements
        },
        "bytes_per_device": _bytes(found),
        "flops_per_device": found.flops,
        "collectives": [
            {"kind": each.kind, "axes": each.axes, "count": each.count, "bytes": each.bytes}
            for each in found.collectives
        ],
    }


def render(parts: Parts, found: DryRun) -> str:
    """The whole answer, as text."""
    trainer, mesh = parts.config.trainer, parts.mesh
    shared = mesh.shape["data"] * mesh.shape["fsdp"]
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    lies: dict[str, dict[str, str]] = {}
    notes = []
    for each in found.placements:
        module, _, name = each.path.removeprefix("params/").rpartition("/")
        shapes.setdefault(module, {})[name] = each.shape
        lies.setdefault(module, {})[name] = "" if each.text == "whole" else each.text
        if each.note:
            notes.append(
                f"  {each.path.removeprefix('params/')} {each.shape} is whole: {each.note}"
            )
    axes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    how = f"{trainer.precision}, remat {trainer.remat}"
    made_of = parts.examples_read // trainer.batch_size
    lines = [
        f"experiment  {parts.config.name}",
        f"mesh        {axes}: {mesh.size} devices, which are virtual; nothing was run",
        f"batch       {trainer.batch_size:,} examples, {trainer.batch_size // shared:,} a device"
        + (f", each made of {made_of} that are read" if made_of > 1 else "")
        + (f", in {trainer.accumulate} parts" if trainer.accumulate > 1 else ""),
        f"computed    {how}",
        "",
        render_modules(shapes, lies),
        *notes,
        "",
        "bytes of a device",
        *(f"  {name:<12}{size / 2**20:>12,.1f} MiB" for name, size in _bytes(found).items()),
        "",
        "what devices send each other in a step (operations in a loop count once)",
    ]
    rows = [
        [each.kind, " and ".join(each.axes), f"{each.count}", f"{each.bytes / 2**20:,.1f}"]
        for each in found.collectives
    ] or [["nothing", "", "", ""]]
    lines.append(tables.render(["operation", "over", "times", "MiB"], rows, right=("times", "MiB")))
    return "\n".join(lines)


def _bytes(found: DryRun) -> dict[str, int]:
    return {
        "parameters": found.parameters,
        "optimizer": found.optimizer,
        "batch": found.batch,
        "activations": found.activations,
        "total": found.total,
    }
