"""What a run reports: its metrics, one step behind, and what stands on the screen around them."""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.faults import CorruptCount
from perceiver_jax.errors import UserError
from perceiver_jax.train.assemble import Parts
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.metrics import MetricsFile
from perceiver_jax.train.progress import Progress
from perceiver_jax.train.step import MUST_BE_FINITE, Metrics
from perceiver_jax.train.workdir import Workdir


class TrainingDiverged(UserError):
    """The loss, a gradient or a parameter is not a finite number any more, since step `step`."""

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


@dataclasses.dataclass
class Log:
    """Reads metrics one step behind, checks them, and hands them on."""

    config: ExperimentConfig
    file: MetricsFile
    progress: Progress
    store: CheckpointStore
    corrupt: CorruptCount = dataclasses.field(default_factory=CorruptCount)
    _waiting: tuple[int, Metrics] | None = None
    _data_seconds: float = 0.0  # Spent waiting for batches since the last entry.
    _since: float = dataclasses.field(default_factory=time.monotonic)

    def pending(self, step: int, metrics: Metrics, data_seconds: float) -> None:
        """Takes the metrics of a step that has been dispatched."""
        self._waiting = (step, metrics)
        self._data_seconds += data_seconds

    def read_pending(self) -> None:
        """Waits for the metrics of the step dispatched last, checks them, and logs if due."""
        if self._waiting is None:
            return
        step, metrics = self._waiting
        self._waiting = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        self._check_finite(step, values)
        self.progress.update(step, values["loss"], values["learning_rate"])
        if step % self.config.trainer.log_every == 0:
            now = time.monotonic()
            timing = {
                "examples_per_second": self.progress.examples_per_second,
                "data_wait_fraction": min(self._data_seconds / max(now - self._since, 1e-9), 1.0),
                "unix_time": time.time(),
            }
            if len(self.corrupt):
                # Of this process, since it started; so it is no property of the trajectory.
                timing["corrupt_examples"] = len(self.corrupt)
            self._data_seconds, self._since = 0.0, now
            self.file.write(step, "train", values, timing)

    def evaluation(self, step: int, means: Mapping[str, float], seconds: float) -> None:
        """Logs an evaluation."""
        split = self.config.trainer.eval_split
        timing = {"eval_seconds": seconds, "unix_time": time.time()}
        self.file.write(step, split, means, timing)
        headline = self.config.task.headline
        text = f"step {step}  {split} loss {means['loss']:.4f}"
        if headline.metric in means:
            text += f"  {headline.title} {headline.show(means[headline.metric])}"
        text += _left_out(means)
        self.progress.message(text)

    def _check_finite(self, step: int, values: Mapping[str, float]) -> None:
        wrong = [name for name in MUST_BE_FINITE if not math.isfinite(values[name])]
        if not wrong:
            return
        saved = self.store.steps()
        newest = f"the newest checkpoint is of step {saved[-1]}" if saved else "there is none yet"
        shown = ", ".join(f"{name} {values[name]:g}" for name in MUST_BE_FINITE)
        raise TrainingDiverged(
            f"Training diverged at step {step}: {' and '.join(wrong)} "
            f"{'is' if len(wrong) == 1 else 'are'} not finite ({shown}, learning rate "
            f"{values['learning_rate']:g}). The step was not taken; {newest}. "
            "Running on would repeat it: start in a new work directory with a lower "
            "--config.schedule.base_lr, or a tighter --config.optimizer.max_norm.",
            step,
        )


def _left_out(result: Mapping[str, Any]) -> str:
    """Says what an evaluation could not count."""
    count = result.get("left_out", 0)
    return f", {count:,} of them corrupt and left out" if count else ""


def print_overview(parts: Parts, workdir: Workdir, eval_examples: int) -> None:
    """Says what is about to be trained, on what, with what."""
    config, trainer = parts.config, parts.config.trainer
    devices = jax.devices()
    kind = f"{len(devices)} x {devices[0].device_kind}"
    axes = ", ".join(f"{axis} {size}" for axis, size in parts.mesh.shape.items())
    print(
        f"experiment  {config.name}\n"
        f"workdir     {workdir.path}\n"
        f"devices     {kind} ({axes})\n"
        f"model       {parts.model.num_params():,} parameters\n"
        f"data        {len(parts.train_source):,} examples to train on, "
        f"{eval_examples:,} in {trainer.eval_split}\n"
        f"training    {parts.num_steps:,} steps of {trainer.batch_size} examples "
        f"({parts.num_epochs:.1f} epochs), seed {trainer.seed}",
        flush=True,
    )


def draw_run_curves(config: ExperimentConfig, workdir: Workdir) -> None:
    """Draws the picture; a run that has come to its end does not fail for want of it."""
    from perceiver_jax.report.curves import draw_curves

    # Of the tasks' fields the one that makes training and evaluation losses differ.
    smoothing = getattr(config.task, "label_smoothing", 0.0)
    try:
        draw_curves(
            workdir.metrics_path,
            workdir.curves_path,
            title=config.name,
            headline=config.task.headline,
            train_note=f"label smoothing {smoothing:g}" if smoothing > 0 else None,
        )
    except UserError as error:
        print(f"no curves: {error}")


def print_result(
    config: ExperimentConfig, workdir: Workdir, final: Mapping[str, Any], took: str
) -> None:
    """Says how a run has ended."""
    headline = config.task.headline
    lines = [f"done        {config.name}, {final['step']:,} steps{took}"]
    if headline.metric in final:
        label = f"{final['split']} {headline.title}"
        lines.append(
            f"{label}  {headline.show(final[headline.metric])}   "
            f"(loss {final['loss']:.4f}, {final['examples']:,} examples{_left_out(final)})"
        )
    lines.append(f"metrics     {workdir.final_metrics_path}")
    if workdir.curves_path.exists():
        lines.append(f"curves      {workdir.curves_path}")
    print("\n" + "\n".join(lines), flush=True)
