"""Training steps at full size for 64 virtual devices, compiled in a process that has them."""

import dataclasses
from typing import Any

import jax
import jax.export
import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.dry_run import abstract_batch, dry_run


def needs(variant: str, mesh: dict[str, int]) -> dict[str, Any]:
    """What the step of a variant of experiments/dry_run.py takes, and where it lowers."""
    changes = {f"trainer.mesh.{axis}": size for axis, size in mesh.items()}
    config = config_lib.load_experiment(f"experiments/dry_run.py:{variant}")
    parts = assemble(config_lib.override(config, {**changes, "trainer.remat": "layers"}))
    found = dry_run(parts)
    exported = jax.export.export(parts.train_step(), platforms=("cuda", "tpu"))(
        parts.state.abstract(), abstract_batch(parts), jax.ShapeDtypeStruct((), np.int32)
    )
    return {
        "batch_size": config.trainer.batch_size,
        "num_params": parts.model.num_params(),
        "parameters": found.parameters,
        "optimizer": found.optimizer,
        "batch": found.batch,
        "activations": found.activations,
        "collectives": [dataclasses.asdict(each) for each in found.collectives],
        "platforms": exported.platforms,
        "devices": exported.nr_devices,
    }


def all_needs(runs: list[list[Any]]) -> list[dict[str, Any]]:
    return [needs(variant, mesh) for variant, mesh in runs]
