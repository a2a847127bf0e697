"""A trace of a few steps with `jax.profiler`, for `--config.profile.steps=10,20`.

Nothing that is computed depends on it; the loop only waits for the device before the first traced
step and after the last, so that the trace holds whole steps.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax


def annotated(step: int) -> AbstractContextManager[Any]:
    """Marks what happens inside as the work of a step, in traces made by whatever means."""
    return jax.profiler.StepTraceAnnotation("train", step_num=step)


class Profiler:
    """Starts and stops the trace; call `before` and `after` around every step."""

    def __init__(
        self,
        steps: tuple[int, int] | None,
        directory: Path,
        *,
        first_step: int,
        paused: Callable[[float], None] = lambda seconds: None,
        report: Callable[[str], None] = print,
    ):
        """Decides which steps are traced.

        Args:
          steps: the first and the last, from 1; None for no trace.
          directory: where the trace goes.
          first_step: steps that are done already. The step after them compiles, and is left out
            unless it is step 1 and asked for.
          paused: told the seconds that starting and ending the trace take.
          report: takes a line for the user.
        """
        self._directory = directory
        self._paused = paused
        self._report = report
        self._running = False
        self._steps = range(0)
        if steps is None:
            return
        first, last = steps
        if first_step:
            first = max(first, first_step + 2)
        self._steps = range(first, last + 1)
        if not self._steps:
            report(
                f"profile     steps {steps[0]} to {steps[1]} are behind this run, which goes on at "
                f"step {first_step}: no trace. Choose later ones with --config.profile.steps."
            )

    def before(self, step: int, pending: Any) -> None:
        """Starts the trace if `step` is its first.

        Args:
          step: the step that comes next.
          pending: arrays of the step before, to wait for.
        """
        if self._steps and step == self._steps.start:
            started = time.monotonic()
            jax.block_until_ready(pending)
            jax.profiler.start_trace(self._directory)
            self._running = True
            self._paused(time.monotonic() - started)

    def after(self, step: int, pending: Any) -> None:
        """Ends the trace if `step` was its last.

        Args:
          step: the step that has been dispatched.
          pending: its arrays, to wait for.
        """
        if self._running and step == self._steps[-1]:
            jax.block_until_ready(pending)
            self._stop(step)

    def close(self, step: int) -> None:
        """Ends a trace that is still running, because training ends after `step`."""
        if self._running:
            self._stop(step)

    def _stop(self, step: int) -> None:
        self._running = False
        started = time.monotonic()
        jax.profiler.stop_trace()
        self._paused(time.monotonic() - started)
        self._report(
            f"profile     steps {self._steps.start} to {step} are in {self._directory}: open its "
            f".trace.json.gz at https://ui.perfetto.dev, or run xprof --logdir={self._directory}"
        )
