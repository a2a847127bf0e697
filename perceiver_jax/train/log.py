"""What a run reports: its metrics, a little behind, and what stands on the screen around them."""

import collections
import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.faults import CorruptCount
from perceiver_jax.errors import UserError
from perceiver_jax.report.parameters import render_modules
from perceiver_jax.train.assemble import Parts
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.least_memory import least_memory
from perceiver_jax.train.meter import Meter, Speed
from perceiver_jax.train.metrics import MetricsFile
from perceiver_jax.train.progress import Progress
from perceiver_jax.train.result import (
    CORRUPT_TO_TRAIN_ON,
    examples_counted,
    ids_counted,
    selected_by,
)
from perceiver_jax.train.step import MUST_BE_FINITE, TAKEN, Metrics
from perceiver_jax.train.workdir import Workdir
from perceiver_jax.train.writers import Writers

# How far the device may be behind the loop. Steps that take longer than this are read one behind.
_AHEAD_SECONDS = 0.05


class TrainingDiverged(UserError):
    """The loss, a gradient or a parameter is not a finite number any more, since step `step`."""

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


@dataclasses.dataclass
class Log:
    """Reads metrics some steps behind, checks them, and hands them on."""

    config: ExperimentConfig
    file: MetricsFile
    writers: Writers
    progress: Progress
    meter: Meter
    store: CheckpointStore
    num_steps: int
    corrupt: CorruptCount = dataclasses.field(default_factory=CorruptCount)
    _waiting: collections.deque[tuple[int, Metrics]] = dataclasses.field(
        default_factory=collections.deque
    )
    _far: bool = dataclasses.field(default_factory=lambda: jax.default_backend() != "cpu")
    _eval_seconds: float = 0.0  # What the last evaluation took.

    def pending(self, step: int, metrics: Metrics, data_seconds: float) -> None:
        """Takes the metrics of a step that has been dispatched."""
        if self._far:
            for value in metrics.values():
                value.copy_to_host_async()  # They are here when they are asked for.
        self._waiting.append((step, metrics))
        self.meter.waited(data_seconds)

    def read_pending(self, *, to_the_end: bool = False) -> None:
        """Checks the metrics of steps that have been dispatched, and logs those that are due.

        Waits for the device only where it would get too far behind: a step that failed leaves the
        state as it is, so nothing is lost by reading that late.

        Args:
          to_the_end: waits for all of them, ahead of what needs them: saving, and evaluating.
        """
        # Several processes must find out about a failure after the same step.
        ahead = self.meter.steps_in(_AHEAD_SECONDS) if jax.process_count() == 1 else 1
        if to_the_end:
            count = len(self._waiting)
        elif len(self._waiting) <= ahead:
            return
        else:
            # More than one at a time: every wait is a switch between threads, and costs as much.
            count = len(self._waiting) - max(ahead // 2, 1)
        if not count:
            return
        read = [self._waiting.popleft() for _ in range(count)]
        jax.block_until_ready(read[-1][1][TAKEN])
        done, metrics = read[-1]
        due = {step for step, _ in read if step % self.config.trainer.log_every == 0}
        self.meter.start(done)
        # Up to the newest step that is known to be done, a little after those that are due.
        speed = self.meter.end_interval(done) if due else None
        for step, each in read:
            if step in due or not np.asarray(each[TAKEN]):
                self._entry(step, _values(each), speed)
        if self.progress.shows(done, due=False):
            self._show(done, _values(metrics), self.meter.speed(done))

    def _entry(self, step: int, values: dict[str, float], speed: Speed | None) -> None:
        """Logs the metrics of a step."""
        self._check_finite(step, values)
        if self.progress.shows(step, due=True):
            self._show(step, values, speed)
        timing = {} if speed is None else speed.timing()
        self._write(step, "train", values, {**timing, **self._corrupt()})

    def _corrupt(self) -> dict[str, float]:
        """Of this process, since it started; so it is no property of the trajectory."""
        found = {
            "corrupt_examples": len(self.corrupt),
            CORRUPT_TO_TRAIN_ON: self.corrupt.of("train"),
        }
        return {name: count for name, count in found.items() if count}

    def _show(self, step: int, values: Mapping[str, float], speed: Speed | None) -> None:
        left = self._seconds_left(step)
        self.progress.update(step, values["loss"], values["learning_rate"], speed, left)

    def evaluation(self, step: int, means: Mapping[str, float], seconds: float) -> None:
        """Logs an evaluation."""
        self._eval_seconds = seconds
        split = self.config.trainer.eval_split
        self._write(step, split, means, {"eval_seconds": seconds, **self._corrupt()})
        headline = self.config.task.headline
        text = f"step {step}  {split} loss {means['loss']:.4f}"
        if headline.metric in means:
            text += f"  {headline.title} {headline.show(means[headline.metric])}"
        left_out = int(means.get("left_out", 0))
        if left_out:
            text += f"  ({left_out:,} corrupt and left out)"
        self.progress.message(text)

    def sync(self) -> None:
        """Makes sure that what was logged stays, ahead of a checkpoint."""
        self.file.sync()
        self.writers.flush()

    def close(self) -> None:
        """Ends what is shown and written."""
        self.progress.finish()
        self.file.close()
        self.writers.close()

    def _write(
        self, step: int, split: str, values: Mapping[str, float], timing: Mapping[str, float]
    ) -> None:
        # metrics.jsonl first: it is what a restart looks at to see what has been told.
        self.file.write(step, split, values, {**timing, "unix_time": time.time()})
        self.writers.write(step, split, {**values, **timing})

    def _seconds_left(self, step: int) -> float | None:
        """Until the end of training, with the evaluations on the way to it."""
        seconds, every = self.meter.seconds_left(step), self.config.trainer.eval_every
        if seconds is None:
            return None
        evaluations = -(-self.num_steps // every) - step // every if every else 1
        return seconds + evaluations * self._eval_seconds

    def _check_finite(self, step: int, values: Mapping[str, float]) -> None:
        checked = [name for name in MUST_BE_FINITE if name in values]
        wrong = [name for name in checked if not math.isfinite(values[name])]
        if not wrong:
            return
        self.store.join()
        saved = self.store.steps()
        newest = "no checkpoint has been saved yet"
        if saved:
            newest = f"the newest checkpoint is of step {saved[-1]}"
        shown = ", ".join(f"{name} {values[name]:g}" for name in checked)
        raise TrainingDiverged(
            f"Training diverged at step {step}: {' and '.join(wrong)} "
            f"{'is' if len(wrong) == 1 else 'are'} not finite ({shown}, learning rate "
            f"{values['learning_rate']:g}). The step was not taken; {newest}. "
            "Running on would repeat it: start in a new work directory with a lower "
            "--config.schedule.base_lr, or a tighter --config.optimizer.max_norm.",
            step,
        )


def _values(metrics: Metrics) -> dict[str, float]:
    # Not jax.device_get, which takes four times as long for a handful of numbers.
    return {name: float(np.asarray(value)) for name, value in metrics.items() if name != TAKEN}


def print_overview(parts: Parts, workdir: Workdir, eval_examples: int) -> None:
    """Says what is about to be trained, on what, with what."""
    config, trainer = parts.config, parts.config.trainer
    devices = jax.devices()
    kind = f"{len(devices)} x {devices[0].device_kind}"
    axes = ", ".join(f"{axis} {size}" for axis, size in parts.mesh.shape.items())
    made_of = parts.examples_read // trainer.batch_size
    passes = f"{parts.num_epochs:.1f} epochs"
    if made_of > 1:
        passes += f", the data passed {made_of * parts.num_epochs:.1f} times, {made_of} mixed to 1"
    memory = least_memory(parts)
    notes = [*parts.notes, *([memory.warning] if memory.warning else [])]
    print(
        f"experiment  {config.name}\n"
        f"workdir     {workdir.path}\n"
        f"devices     {kind} ({axes})\n"
        f"model       {parts.model.num_params():,} parameters\n"
        f"data        {len(parts.train_source):,} examples to train on, "
        f"{eval_examples:,} in {trainer.eval_split}\n"
        f"training    {parts.num_steps:,} steps of {trainer.batch_size} examples "
        f"({passes}), seed {trainer.seed}\n"
        f"memory      {memory}" + "".join(f"\nnote        {each}" for each in notes),
        flush=True,
    )


def print_parameters(params: Any) -> None:
    """Shows what the model's parameters are and how they lie on the devices.

    Args:
      params: by module and name; only shapes and shardings are looked at.
    """
    shapes = {
        module: {name: tuple(leaf.shape) for name, leaf in leaves.items()}
        for module, leaves in params.items()
    }
    placements = {
        module: {name: _placement(leaf.sharding) for name, leaf in leaves.items()}
        for module, leaves in params.items()
    }
    print("\n" + render_modules(shapes, placements) + "\n", flush=True)


def _placement(sharding: Any) -> str:
    """ "fsdp, -" for an array of which the first axis is split; "" for one that is whole."""
    if sharding.is_fully_replicated:
        return ""
    axes = [(axis,) if isinstance(axis, str) else axis for axis in sharding.spec]
    return ", ".join("-" if not axis else " and ".join(axis) for axis in axes)


def draw_run_curves(config: ExperimentConfig, workdir: Workdir, step: int) -> None:
    """Draws the picture; a run that has come to its end does not fail for want of it.

    Args:
      config: the run's.
      workdir: its work directory.
      step: of the evaluation that is the result.
    """
    from perceiver_jax.report.curves import draw_curves, training_loss_note

    try:
        draw_curves(
            workdir.metrics_path,
            workdir.curves_path,
            title=config.name,
            headline=config.task.headline,
            train_note=training_loss_note(config.task),
            result_step=step,
        )
    except UserError as error:
        print(f"no curves: {error}")


def write_run_report(workdir: Workdir) -> None:
    """Writes report.html, in the first process; an ended run does not fail for want of it."""
    from perceiver_jax.report.write import report_at_end

    if jax.process_index() == 0:
        print("writing     the report", flush=True)
        report_at_end(workdir.path)


def print_result(
    config: ExperimentConfig, workdir: Workdir, final: Mapping[str, Any], num_steps: int, took: str
) -> None:
    """Says how a run has ended."""
    headline = config.task.headline
    lines = [f"done        {config.name}, {num_steps:,} steps{took}"]
    if headline.metric in final:
        label = f"{final['split']} {headline.title}"
        if selected_by(final) == "test":
            label += f" of step {final['step']:,}, selected by test score"
        ids = f", {ids_counted(final)}" if "ids" in final else ""
        lines.append(
            f"{label}  {headline.show(final[headline.metric])}   "
            f"(loss {final['loss']:.4f}, {examples_counted(final)}{ids})"
        )
    lines.append(f"metrics     {workdir.final_metrics_path}")
    if workdir.curves_path.exists():
        lines.append(f"curves      {workdir.curves_path}")
    if workdir.report_path.exists():
        lines.append(f"report      {workdir.report_path}")
    print("\n" + "\n".join(lines), flush=True)
