"""A model that is small enough to train in a test, and a run of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from perceiver_jax.config import override
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import (
    ConstantCosine,
    ExperimentConfig,
    KeepConfig,
    Lamb,
    TrainerConfig,
)
from perceiver_jax.train.loop import train


@dataclasses.dataclass(frozen=True)
class MLP:
    """Two layers with dropout, and a running mean: all that a trainer has to carry along."""

    def num_params(self) -> int:
        return 64 * 7 + 7 + 7 * 10 + 10

    def init(self, rng: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        keys = jax.random.split(rng)
        params = {
            "mlp/~/linear": {"w": jax.random.normal(keys[0], (64, 7)) / 8, "b": jnp.zeros(7)},
            "mlp/~/linear_1": {"w": jax.random.normal(keys[1], (7, 10)) / 3, "b": jnp.zeros(10)},
        }
        return params, {"mlp/~/mean": {"average": jnp.zeros(64)}}

    def apply(
        self,
        params: Any,
        state: Any,
        rng: jax.Array | None,
        *inputs: Any,
        is_training: bool = False,
        input_mask: Any = None,
        query_mask: Any = None,
        subsampled_output_points: Any = None,
        execution: Any = None,
    ) -> Any:
        x = inputs[0].reshape(-1, 64)
        if is_training:
            assert rng is not None
            mean = 0.9 * state["mlp/~/mean"]["average"] + 0.1 * x.mean(0)
            state = {"mlp/~/mean": {"average": mean}}
        hidden = x @ params["mlp/~/linear"]["w"] + params["mlp/~/linear"]["b"]
        hidden = jax.nn.relu(hidden - state["mlp/~/mean"]["average"].mean())
        if is_training:
            hidden = hidden * jax.random.bernoulli(rng, 0.8, hidden.shape) / 0.8
        return hidden @ params["mlp/~/linear_1"]["w"] + params["mlp/~/linear_1"]["b"], state


def experiment(**changes: Any) -> ExperimentConfig:
    """A run of 23 steps."""
    config = ExperimentConfig(
        name="fake",
        model=ConvNetConfig(shape=(8, 8), num_classes=10),  # not built: MLP() replaces it
        task=ClassificationConfig(num_classes=10, label_smoothing=0.1),
        data=DigitsConfig(max_shift=1),
        trainer=TrainerConfig(
            num_steps=23,
            batch_size=8,
            eval_batch_size=64,
            log_every=2,
            eval_every=5,
            checkpoint_every=6,
            keep=KeepConfig(last=2),
            reader_threads=1,
            report=False,
        ),
        optimizer=Lamb(weight_decay=0.01),
        schedule=ConstantCosine(base_lr=0.03),
    )
    return override(config, {name.replace("__", "."): value for name, value in changes.items()})


class Crash(Exception):
    """Stands for a process that dies."""


def run(workdir: Path, *, crash_at: int | None = None, **changes: Any) -> dict[str, Any]:
    """Trains the fake experiment; dies after step `crash_at`."""

    def on_step(step: int) -> None:
        if step == crash_at:
            raise Crash

    return train(experiment(**changes), workdir, model=MLP(), on_step=on_step)


def history(workdir: Path) -> list[dict[str, Any]]:
    """The metrics file without what differs from run to run."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    for entry in entries:
        assert entry.pop("timing")["unix_time"] > 0
    return entries
