"""Five steps of a small Perceiver, computed in whatever way: what tests of equivalence compare."""

import dataclasses
from typing import Any

import jax
import numpy as np

from perceiver_jax import zoo
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.loader import Shard, train_batches
from perceiver_jax.tasks import ClassificationConfig, MixConfig
from perceiver_jax.train.assemble import Parts
from perceiver_jax.train.config import (
    Adam,
    Constant,
    ExperimentConfig,
    Lamb,
    MeshConfig,
    TrainerConfig,
)
from perceiver_jax.train.mesh import put_batch

STEPS = 5

# Of eight devices.
LAYOUTS = {
    "data=8": MeshConfig(data=8),
    "fsdp=8": MeshConfig(data=1, fsdp=8),
    "2x2x2": MeshConfig(data=2, fsdp=2, tensor=2),
}


def experiment(layout: MeshConfig = MeshConfig(), **trainer: Any) -> ExperimentConfig:
    """A Perceiver with two cross-attends and two towers, every width divisible by 8."""
    return ExperimentConfig(
        name="equivalent",
        model=zoo.PerceiverConfig(
            preprocessor=zoo.ImageConfig(
                (8, 8), channels=1, position=zoo.FourierConfig(num_bands=2, max_resolution=(8, 8))
            ),
            encoder=zoo.EncoderConfig(
                num_latents=8,
                latent_channels=16,
                num_blocks=2,
                self_attends_per_block=1,
                self_attend_heads=4,
                num_cross_attends=2,
                width_rule="min",
            ),
            decoder=zoo.ClassificationDecoderConfig(num_classes=10, query_channels=16),
        ),
        task=ClassificationConfig(num_classes=10, label_smoothing=0.1),
        data=DigitsConfig(max_shift=1),
        trainer=TrainerConfig(
            num_steps=STEPS,
            batch_size=16,
            eval_batch_size=64,
            reader_threads=0,
            mesh=dataclasses.replace(layout, min_split=0),
            **trainer,
        ),
        # Plain steps: LAMB and Adam divide by the gradient's size, so that where it is rounding
        # only (the keys' biases), the step is too. `optimizer=` says otherwise.
        optimizer=Adam(weight_decay=0.1, b1=0.9, b2=0.99, eps=1e-2),
        schedule=Constant(base_lr=0.02),
    )


def mixing(layout: MeshConfig = MeshConfig(), **trainer: Any) -> ExperimentConfig:
    """The same on examples that MixUp and CutMix make."""
    config = experiment(layout, **trainer)
    return dataclasses.replace(config, task=dataclasses.replace(config.task, mixing=MixConfig()))


def lamb(config: ExperimentConfig) -> ExperimentConfig:
    """The same with the papers' optimiser."""
    return dataclasses.replace(config, optimizer=Lamb(weight_decay=0.1))


def first_batch(parts: Parts) -> dict[str, np.ndarray]:
    """The batch of the first step."""
    batches = train_batches(
        parts.config.data,
        parts.train_source,
        batch_size=parts.examples_read,
        seed=parts.config.trainer.seed,
        start_step=0,
        stop_step=1,
        threads=0,
    )
    return next(batches)


def five_steps(parts: Parts) -> tuple[list[float], dict[str, np.ndarray]]:
    """Returns the losses, and the parameters by path, whole, in this process's memory."""
    trainer = parts.config.trainer
    state, step = parts.state.create(), parts.train_step()
    batches = train_batches(
        parts.config.data,
        parts.train_source,
        batch_size=parts.examples_read,
        seed=trainer.seed,
        start_step=0,
        stop_step=STEPS,
        shard=Shard.of_this_process(),
        threads=0,
    )
    losses = []
    for number, batch in enumerate(batches):
        state, metrics = step(state, put_batch(batch, parts.mesh), np.int32(number))
        losses.append(float(metrics["loss"]))
    whole = jax.sharding.NamedSharding(parts.mesh, jax.sharding.PartitionSpec())
    params = jax.jit(lambda params: params, out_shardings=whole)(state.evaluated_params)
    return losses, {
        f"{module}/{name}": np.asarray(array)
        for module, arrays in params.items()
        for name, array in arrays.items()
    }


def assert_equal(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Losses and every parameter agree to `tolerance`, absolute and relative."""
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance, atol=tolerance)
    assert found[1].keys() == expected[1].keys()
    for path, value in expected[1].items():
        np.testing.assert_allclose(
            found[1][path], value, rtol=tolerance, atol=tolerance, err_msg=path
        )
