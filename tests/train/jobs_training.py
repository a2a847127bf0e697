"""Training, for the processes that `processes.py` starts."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np

from perceiver_jax.errors import DataError
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig, MeshConfig
from perceiver_jax.train.diverged import replay
from perceiver_jax.train.initial import start_of_run
from perceiver_jax.train.interrupt import Interrupted
from perceiver_jax.train.log import TrainingDiverged
from perceiver_jax.train.loop import train
from tests.train import fake
from tests.train.equivalent import experiment, five_steps, mixing
from tests.train.test_diverged import BreaksAtStep

LAYOUT = MeshConfig(data=1, fsdp=2, tensor=2)  # Parameters split over both processes.


def run_of(num_steps: int) -> ExperimentConfig:
    """The run that the tests interrupt: 12 steps, evaluated and saved on the way."""
    config = experiment()
    trainer = dataclasses.replace(
        config.trainer,
        num_steps=num_steps,
        log_every=1,
        eval_every=6,
        checkpoint_every=4,
        report=False,
        mesh=MeshConfig(data=-1, fsdp=2, min_split=0) if jax.device_count() > 1 else MeshConfig(),
    )
    return dataclasses.replace(config, trainer=trainer)


def everything(workdir: str) -> dict[str, Any]:
    """Five steps; then a run that is told to stop on one process, at step 5."""
    losses, params = five_steps(assemble(experiment(LAYOUT)))
    steps = [losses, {path: value.tolist() for path, value in params.items()}]
    before = signal.getsignal(signal.SIGTERM)

    def preempt(step: int) -> None:
        if step == 5 and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(run_of(12), workdir, on_step=preempt)
        stopped = None
    except Interrupted as error:
        stopped = [error.exit_code, str(error)]
    signal.signal(signal.SIGTERM, before)
    refused = None
    try:
        train(run_of(13), workdir)
    except Exception as error:  # of every process
        refused = [type(error).__name__, str(error)]
    return {"steps": steps, "stopped": stopped, "refused": refused}


def mixed_steps() -> list[Any]:
    """Losses and parameters of five steps on mixed examples."""
    losses, params = five_steps(assemble(mixing(LAYOUT)))
    return [losses, {path: value.tolist() for path, value in params.items()}]


def fail_on_one(workdir: str) -> None:
    """A run in which process 1 fails by itself, some steps after a checkpoint."""

    def fail(step: int) -> None:
        if step == 9 and jax.process_index() == 1:
            raise DataError("this process cannot read its part")

    train(fake.experiment(), workdir, model=fake.MLP(), on_step=fail)


def diverge(workdir: str) -> dict[str, Any]:
    """A run whose ninth step is not finite, and the replay of that step."""
    config = fake.experiment(
        trainer__mesh__data=1, trainer__mesh__fsdp=-1, trainer__mesh__min_split=0
    )
    message, lines = "", list[str]()
    try:
        train(config, workdir, model=BreaksAtStep())
    except TrainingDiverged as error:
        message = str(error)
    failed = replay(workdir, model=BreaksAtStep(), report=lines.append)
    return {"message": message, "failed": failed, "lines": lines}


def from_checkpoint(checkpoint: str) -> dict[str, Any]:
    """The parameters that a run starts with, split over the processes; whole."""
    parts = assemble(dataclasses.replace(experiment(LAYOUT), checkpoint=checkpoint))
    state, _ = start_of_run(parts, report=lambda line: None)
    whole = jax.sharding.NamedSharding(parts.mesh, jax.sharding.PartitionSpec())
    params = jax.jit(lambda params: params, out_shardings=whole)(state.params)
    return jax.tree.map(lambda array: np.asarray(array).tolist(), params)


def finish(workdir: str) -> dict[str, Any]:
    """The rest of the run."""
    return train(run_of(12), Path(workdir))
