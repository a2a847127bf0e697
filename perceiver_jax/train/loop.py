"""The training loop, top to bottom: mesh -> data -> state -> restore -> step -> loop.

The order inside the loop is fixed, and resuming rests on it. For every step:

  1. take the step's batch, and dispatch the step; the device works from here on;
  2. read the metrics of steps before (one behind, or as many as the device does in a moment, so
     that it never waits for us), stop if they are not finite, and log them if they are due;
  3. where something is due after this step: read all metrics up to its own, save, then evaluate.

Checkpoints that the rule does not keep are deleted after both (train/retention.py), as it goes by
what evaluations found, and only when the save is done.

A checkpoint of step s is therefore written after the log entries up to s, and before the
evaluation at s. A restart cuts metrics.jsonl back to s, repeats the evaluation at s if it is due
and missing, and goes on with step s + 1. What happens at a step depends on (config, seed, step)
alone, so the state, and the file but for its timing, end up as if nothing had happened. The result
is one of the evaluations in that file (train/result.py), so it does as well.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints.evaluations import read_metrics
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.loader import CorruptCount, Shard, eval_batches, train_batches
from perceiver_jax.train import diverged, memory, per_class, writers
from perceiver_jax.train.agreement import AllProcesses, StopAgreement, on_process_zero
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.environment import record_start
from perceiver_jax.train.evaluation import evaluate
from perceiver_jax.train.initial import start_of_run
from perceiver_jax.train.interrupt import Interrupted, StopRequest
from perceiver_jax.train.log import (
    Log,
    TrainingDiverged,
    draw_run_curves,
    print_overview,
    print_parameters,
    print_result,
    write_run_report,
)
from perceiver_jax.train.mesh import hand_over
from perceiver_jax.train.meter import Meter
from perceiver_jax.train.metrics import MetricsFile
from perceiver_jax.train.model_flops import devices_peak, step_flops
from perceiver_jax.train.profiler import Profiler, annotated
from perceiver_jax.train.progress import Progress, format_seconds
from perceiver_jax.train.result import ids_of, result, selected_by
from perceiver_jax.train.retention import Retention
from perceiver_jax.train.state import Model, TrainState
from perceiver_jax.train.step import Metrics
from perceiver_jax.train.workdir import Workdir, write_json


def train(
    config: ExperimentConfig,
    workdir: str | os.PathLike[str],
    *,
    model: Model | None = None,
    on_step: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Trains, or goes on training, until the end of the experiment.

    Args:
      config: the experiment.
      workdir: where checkpoints and metrics go; where a run of the same experiment left off, it
        goes on from its newest checkpoint, and where one is complete, its result is returned,
        chosen anew from its evaluations if `evaluation.select` has changed.
      model: used in place of the one that `config.model` describes.
      on_step: called with the number of steps done, after each.

    Returns:
      What final_metrics.json holds: the same for any number of interruptions.

    Raises:
      UserError: something in the config, the work directory or the environment does not fit.
      TrainingDiverged: the loss is not finite.
      Interrupted: SIGINT or SIGTERM came; the state has been saved.
    """
    claimed = Workdir(workdir, config, processes=AllProcesses())
    try:
        final = claimed.final_metrics()
        ended_now = final is None
        if final is None:
            started = time.monotonic()
            with memory.explained():
                final, first_step, num_steps = _train(config, claimed, model, on_step)
            took = _took(first_step, num_steps, time.monotonic() - started)
        else:
            claimed.record(config)
            final, num_steps = _chosen_anew(config, claimed, final)
            took = " in an earlier run; delete the work directory to train again"
        # Here, where the memory of the state is free again; and where a kill left none.
        if config.trainer.report and (ended_now or not claimed.report_path.exists()):
            write_run_report(claimed)
        if AllProcesses().primary:
            print_result(config, claimed, final, num_steps, took)
        return final
    finally:
        claimed.close()


def _chosen_anew(
    config: ExperimentConfig, workdir: Workdir, final: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    """Returns the result of a complete run, and its number of steps.

    If it was chosen by something else than the config says, it is chosen again, and written.
    """

    def choose() -> tuple[dict[str, Any], int]:
        entries = read_metrics(workdir.metrics_path)
        num_steps = max((entry["step"] for entry in entries), default=final["step"])
        if selected_by(final) == config.evaluation.select:
            return final, num_steps
        new = result(
            config,
            entries,
            examples=final["examples"],
            num_params=final["num_params"],
            ids={name: final[name] for name in ("ids", "trained_on") if name in final},
        )
        if new != final:
            # First, so that none is left of another result if this process is killed in between.
            workdir.report_path.unlink(missing_ok=True)
            per_class.choose(workdir, new["step"])
            draw_run_curves(config, workdir, new["step"])
            workdir.write_final_metrics(new)
        return new, num_steps

    new, num_steps = on_process_zero(choose)
    return new, num_steps


def _took(first_step: int, num_steps: int, seconds: float) -> str:
    """Says what of a run was done in this process, and how long that took."""
    time_taken = format_seconds(seconds)
    if first_step == 0:
        return f" in {time_taken}"
    if first_step == num_steps:
        return f", all of them in an earlier run; evaluated in {time_taken}"
    return f", the last {num_steps - first_step:,} of them in {time_taken}"


def _train(
    config: ExperimentConfig,
    workdir: Workdir,
    model: Model | None,
    on_step: Callable[[int], None] | None,
) -> tuple[dict[str, Any], int, int]:
    """Returns the result, the step at which this process began, and the number of steps."""
    trainer = config.trainer

    # ---- Mesh, model, data, optimiser ------------------------------------------------------------
    parts = assemble(config, model)
    eval_source = config.data.make_source(trainer.eval_split)
    ids = ids_of(eval_source, parts.train_source)
    num_steps, mesh = parts.num_steps, parts.mesh
    shard = Shard.of_this_process()
    processes = AllProcesses()
    writes = processes.primary  # Files and screen; all processes compute.
    factories = writers.find(trainer.writers) if writes else {}

    # ---- State: abstract first, so that it is restored or made where it will lie -----------------
    abstract = parts.state.abstract()
    if writes:
        print_overview(parts, workdir, len(eval_source))
        if trainer.show_parameters:
            print_parameters(abstract.params)

    # ---- Restore ---------------------------------------------------------------------------------
    retention = Retention(trainer.keep, config.task.headline, trainer.eval_split)
    progress = Progress(num_steps=num_steps, silent=not writes)
    store = CheckpointStore(
        workdir.checkpoints_path, keep=retention, report=progress.message, processes=processes
    )
    restored = store.restore_latest(abstract)
    if restored is None:
        first_step = 0
        state, origins = start_of_run(parts, report=progress.message)
        # Only here: until now, all that can be wrong with a start has left nothing behind.
        workdir.record(config)
        if writes:
            write_json(workdir.initial_weights_path, origins.to_json())
        if writes and origins.render():
            print(origins.render(), flush=True)
    else:
        first_step, state = restored
        workdir.record(config)
        progress.message(f"resuming    at step {first_step} of {num_steps}")
    metrics_file = MetricsFile(
        workdir.metrics_path,
        last_step=first_step,
        read_only=not writes,
        check=workdir.check,
        report=progress.message,
    )
    retention.entries = metrics_file.entries
    record_start(workdir.path, first_step)

    # ---- Step ------------------------------------------------------------------------------------
    train_step, eval_step = parts.train_step(), parts.eval_step()

    # ---- Loop ------------------------------------------------------------------------------------
    corrupt = CorruptCount(trainer.max_corrupt_examples, report=progress.message)

    def read_batches(start: int, stop: int, *, threads: int, processes: int = 0) -> Iterator[Any]:
        return train_batches(
            config.data,
            parts.train_source,
            batch_size=parts.examples_read,
            seed=trainer.seed,
            start_step=start,
            stop_step=stop,
            shard=shard,
            threads=threads,
            processes=processes,
            prefetch=trainer.prefetch_batches,
            corrupt=corrupt,
        )

    batches = read_batches(
        first_step, num_steps, threads=trainer.reader_threads, processes=trainer.reader_processes
    )
    peak = devices_peak(trainer.precision)
    meter = Meter(num_steps=num_steps, batch_size=trainer.batch_size, peak=peak)
    encoded_config = config_lib.to_dict(config)
    log = Log(
        config=config,
        file=metrics_file,
        writers=writers.Writers(
            factories, writers.Run(config.name, workdir.path, encoded_config, first_step)
        ),
        progress=progress,
        meter=meter,
        store=store,
        num_steps=num_steps,
        corrupt=corrupt,
    )
    profiler = Profiler(
        config.profile.steps,
        workdir.path / "profile",
        first_step=first_step,
        paused=meter.paused,
        report=progress.message,
    )

    def run_evaluation(state: TrainState, step: int) -> bool:
        """Evaluates and logs; False if it was asked to stop on the way."""
        started = time.monotonic()
        found = evaluate(
            eval_step,
            state,
            eval_batches(
                eval_source,
                batch_size=trainer.eval_batch_size,
                shard=shard,
                threads=trainer.reader_threads,
                processes=trainer.reader_processes,
                prefetch=trainer.prefetch_batches,
                corrupt=corrupt,
                split=trainer.eval_split,
            ),
            mesh,
            num_examples=len(eval_source),
            task=config.task,
            stop=lambda: votes.vote(stop.requested) is not None,
        )
        meter.paused(time.monotonic() - started)
        if found is None:
            return False
        if found.per_class:
            facts = {"name": config.name, "step": step, "split": trainer.eval_split}
            table = per_class.table(facts, found.per_class, config.data)
            failure = per_class.keep(workdir, step, table)
            if failure is not None:
                progress.message(failure)
        log.evaluation(step, found.metrics, time.monotonic() - started)
        complaint = retention.complaint()
        if complaint is not None:
            progress.message(complaint)
        return True

    def eval_due(step: int) -> bool:
        every = trainer.eval_every
        return step == num_steps or (every is not None and step > 0 and step % every == 0)

    saved_step = first_step if restored is not None else None

    def save(state: TrainState, step: int) -> None:
        nonlocal saved_step
        started = time.monotonic()
        saved_step = step
        planned = step == num_steps or step % trainer.checkpoint_every == 0
        store.save(step, state, encoded_config, planned=planned, before=log.sync)
        meter.paused(time.monotonic() - started)

    metrics: Metrics = {}
    votes = StopAgreement()  # All processes stop after the same step.
    with StopRequest() as stop:
        try:
            step = first_step
            evaluated = True
            told = processes.agree(metrics_file.has(step, trainer.eval_split))[0]
            if eval_due(step) and not told:
                evaluated = run_evaluation(state, step)
            if step < num_steps and evaluated and votes.agreed is None:
                progress.message("compiling   the training step")
            while step < num_steps and evaluated and votes.agreed is None:
                profiler.before(step + 1, metrics)
                with annotated(step + 1):
                    waited = time.monotonic()
                    batch = hand_over(next(batches), mesh)
                    waited = time.monotonic() - waited
                    state, metrics = train_step(state, batch, np.int32(step))
                step += 1
                profiler.after(step, metrics)
                if step == first_step + 1:
                    # Here, where the device has something to do meanwhile.
                    meter.step_flops = step_flops(parts.model, config.task, abstract, batch)
                log.pending(step, metrics, waited)
                log.read_pending()
                store.look()
                if on_step is not None:
                    on_step(step)

                last = votes.vote(stop.requested) is not None or step == num_steps
                save_due = last or step % trainer.checkpoint_every == 0
                if save_due or eval_due(step):
                    log.read_pending(to_the_end=True)
                if save_due:
                    save(state, step)
                if eval_due(step) and votes.agreed is None:
                    evaluated = run_evaluation(state, step)

            if votes.agreed is not None:
                log.read_pending(to_the_end=True)
                if saved_step != step:
                    save(state, step)
                store.wait()
                log.progress.finish()
                raise Interrupted(
                    f"Stopped at step {step} of {num_steps}, and saved. Run the same command "
                    f"again to go on (workdir {workdir.path}).",
                    votes.agreed,
                )
            store.wait()
            metrics_file.complete()
        except TrainingDiverged as error:
            # The state has stayed that of the step that failed; see make_train_step.
            (batch,) = read_batches(error.step - 1, error.step, threads=0)
            raise diverged.kept(error, workdir.path, config, state, batch) from None
        finally:
            log.close()
            store.close()
            profiler.close(step)

    # ---- Result ----------------------------------------------------------------------------------
    final = None
    if writes:
        final = result(
            config,
            metrics_file.entries,
            examples=len(eval_source),
            num_params=parts.model.num_params(),
            ids=ids,
        )
        per_class.choose(workdir, final["step"])
    final = processes.agree(final)[0]
    if writes:
        draw_run_curves(config, workdir, final["step"])
    workdir.write_final_metrics(final)
    return final, first_step, num_steps
