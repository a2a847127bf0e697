"""What the training loop itself costs: `train()` against its bare compiled step.

    python -m benchmarks.loop_overhead [--config=experiments/digits.py] [--repeats=40] [--steps=50]

The loop trains the experiment as a user would: batches handed over, steps dispatched, metrics
fetched and checked after every step, a line logged every `log_every` steps; evaluations and
checkpoints are left out. Once the batches have been read beforehand, which leaves the loop's own
cost, and once they are read and augmented on the way, by threads that share the processor.

Every --steps steps the loop halts, and the same compiled step runs as often on batches that lie on
the device, with nothing around it. So both are timed in turn, in one process, under the same load
of the machine. Printed are the medians of all repeats, those of the fastest quarter of each (others
who use the machine make it slower, never faster), and the processor time that this process spent,
which their load touches less. Where host and device are the same processor, that is the loop's cost
even where it hides behind the step.
"""

import contextlib
import dataclasses
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from unittest import mock

import jax
import numpy as np
from absl import flags

from perceiver_jax import config as config_lib
from perceiver_jax.data.loader import train_batches
from perceiver_jax.errors import run_main
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.loop import train
from perceiver_jax.train.mesh import put_batch

_CONFIG = flags.DEFINE_string("config", "experiments/digits.py", "Experiment file[:variant].")
_REPEATS = flags.DEFINE_integer("repeats", 40, "Timed pieces of each.")
_STEPS = flags.DEFINE_integer("steps", 50, "Steps in a piece.")
# The first steps of a piece of the loop are not timed: they find batches that were read meanwhile.
_SETTLE = 10
_NUM_BATCHES = 16


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one step."""

    seconds: float
    processor_seconds: float  # Of all threads of this process.


class Stopwatch:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def cost(self, steps: int) -> Cost:
        """Returns what has been spent since, for each of `steps` steps."""
        wall = time.perf_counter() - self._wall
        return Cost(wall / steps, (time.process_time() - self._processor) / steps)


class BareStep:
    """The compiled step of an experiment, on batches that lie on the device."""

    def __init__(self, config: ExperimentConfig):
        parts = assemble(config)
        self._state = parts.state.create()
        self._step = parts.train_step()
        self._done = 0
        self.read = list(
            train_batches(
                config.data,
                parts.train_source,
                batch_size=parts.examples_read,
                seed=config.trainer.seed,
                start_step=0,
                stop_step=_NUM_BATCHES,
                threads=0,
            )
        )
        self._batches = itertools.cycle([put_batch(batch, parts.mesh) for batch in self.read])
        self.cost(2)  # compiled

    def cost(self, steps: int) -> Cost:
        """Runs `steps` steps."""
        jax.block_until_ready(self._state)
        watch = Stopwatch()
        for _ in range(steps):
            batch = next(self._batches)
            self._state, metrics = self._step(self._state, batch, np.int32(self._done))
            self._done += 1
        jax.block_until_ready((self._state, metrics))
        return watch.cost(steps)


def measure(
    config: ExperimentConfig, bare: BareStep, *, reading: bool, repeats: int, steps: int
) -> list[tuple[Cost, Cost]]:
    """Returns what a step of the loop and a bare step cost, for each repeat."""
    piece = _SETTLE + steps
    config = config_lib.override(
        config,
        {
            "trainer.num_epochs": "none",
            "trainer.num_steps": str(repeats * piece + 1),
            "trainer.eval_every": "none",
            "trainer.checkpoint_every": str(10**9),
        },
    )
    pairs = []
    watch = Stopwatch()

    def on_step(step: int) -> None:
        nonlocal watch
        at = step % piece
        if at == _SETTLE:
            watch = Stopwatch()
        elif at == 0:
            pairs.append((watch.cost(steps), bare.cost(steps)))

    with contextlib.ExitStack() as stack:
        workdir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if not reading:
            ready = mock.Mock(return_value=itertools.cycle(bare.read))
            stack.enter_context(mock.patch("perceiver_jax.train.loop.train_batches", ready))
        train(config, workdir, on_step=on_step)
    return pairs


def main(argv: Sequence[str]) -> None:
    del argv
    config = config_lib.load_experiment(_CONFIG.value)
    bare = BareStep(config)
    print(
        f"{config.name}, {config.trainer.batch_size} examples a step, on "
        f"{jax.device_count()} x {jax.devices()[0].device_kind}; "
        f"{_REPEATS.value} x {_STEPS.value} steps of each"
    )
    for reading in (False, True):
        pairs = measure(config, bare, reading=reading, repeats=_REPEATS.value, steps=_STEPS.value)
        title = "read on the way, ms a step" if reading else "read before, ms a step"
        print(f"\n{title:26}{'bare step':>10}{'loop':>10}{'overhead':>10}")
        for name, field, part in (
            ("median", "seconds", 1.0),
            ("median, fastest quarter", "seconds", 0.25),
            ("processor time, median", "processor_seconds", 1.0),
        ):
            looped, alone = _medians(pairs, field, part)
            print(f"{name:26}{1e3 * alone:10.3f}{1e3 * looped:10.3f}{looped / alone - 1:10.1%}")


def _medians(pairs: Sequence[tuple[Cost, Cost]], field: str, part: float) -> tuple[float, float]:
    """Returns the medians of the loop's and the bare step's fastest `part` of repeats."""
    loop, bare = (
        statistics.median(values[: max(round(part * len(values)), 1)])
        for values in (sorted(getattr(pair[side], field) for pair in pairs) for side in (0, 1))
    )
    return loop, bare


if __name__ == "__main__":
    run_main(main)
