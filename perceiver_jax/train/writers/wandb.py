"""Weights & Biases. Project, entity, mode and key are wandb's own matter: `wandb login`, or the
environment variables WANDB_PROJECT, WANDB_MODE=offline and so on.

The run's id lies in WORKDIR/wandb.json, so that a run that goes on is one run there too, with the
last step that each split was written for: W&B keeps every point that it is ever told, so a step
that comes again after an interruption is not told again.
"""

import json
import os
import uuid
from collections.abc import Mapping

import wandb

from perceiver_jax.train.writers.base import Run


class WandbWriter:
    """Writes every value as "SPLIT/NAME" over "step"."""

    def __init__(self, run: Run):
        self._path = run.workdir / "wandb.json"
        self._id = uuid.uuid4().hex[:8]
        self._written: dict[str, int] = {}  # The last step by split.
        # A run that begins anew in an old directory may be of another config.
        if run.first_step and self._path.exists():
            kept = json.loads(self._path.read_text())
            self._id, self._written = kept["id"], kept["written"]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "perceiver_jax"),
            name=run.name,
            id=self._id,
            resume="allow",
            dir=str(run.workdir),
            config=dict(run.config),
        )
        # An axis of our own: W&B counts calls, and a step has two (training and evaluation).
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._keep()

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Sends the values, unless they were sent before an interruption."""
        if step <= self._written.get(split, -1):
            return
        self._run.log({"step": step, **{f"{split}/{name}": values[name] for name in values}})
        self._written[split] = step
        self._keep()

    def flush(self) -> None:
        """Nothing to do: wandb's own process has them already."""

    def close(self) -> None:
        """Ends the run, and waits until all is sent."""
        self._run.finish()

    def _keep(self) -> None:
        replacement = self._path.with_name(self._path.name + ".tmp")
        replacement.write_text(json.dumps({"id": self._id, "written": self._written}) + "\n")
        os.replace(replacement, self._path)


def open_writer(run: Run) -> WandbWriter:
    """Begins a run, or goes on with the one that the work directory belongs to."""
    return WandbWriter(run)
