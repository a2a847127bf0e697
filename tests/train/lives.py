"""A run that is killed again and again, each life a process of its own.

    python -m tests.train.lives DIRECTORY KILLS SEED

runs DIRECTORY/whole without and DIRECTORY/killed with interruptions, and prints as JSON what stood
half done in the directory of checkpoints after each kill. The lives are forked from this process,
which has imported all and computed nothing: so each costs what it does, and not its imports.
"""

import dataclasses
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import jax
import sklearn.datasets  # noqa: F401  (imported here, and not in every life)

import perceiver_jax.report.curves
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, experiment


@dataclasses.dataclass(frozen=True)
class Heavy(MLP):
    """With a weight that is large enough for a save to take a while."""

    def init(self, rng: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        params, state = super().init(rng, *inputs)
        return {**params, "ballast": {"w": jax.random.normal(rng, (700, 1000))}}, state


CHANGES = {"trainer__num_steps": 50, "trainer__checkpoint_every": 2, "trainer__keep__every": 10,
           "trainer__eval_every": 4, "trainer__keep__metric": "loss"}  # fmt: skip


def live(workdir: Path, progress: int, last_step: int | None) -> None:
    """Trains; writes a byte to `progress` for every step, and waits to be killed at `last_step`."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    perceiver_jax.report.curves.draw_curves = lambda *_, **__: None  # slower than the training

    def on_step(step: int) -> None:
        os.write(progress, b"!" if step == last_step else b".")
        if step == last_step:
            time.sleep(3600)

    train(experiment(**CHANGES), workdir, model=Heavy(), on_step=on_step)


def start(workdir: Path, log: Path, last_step: int | None = None) -> tuple[int, int]:
    """Returns the number of the new process and the end of its pipe."""
    reading, writing = os.pipe()
    number = os.fork()
    if number:
        os.close(writing)
        return number, reading
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        live(workdir, writing, last_step)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(number: int, reading: int) -> int:
    """Waits for a life to end; returns its exit code."""
    while select.select([reading], [], [])[0] and os.read(reading, 4096):
        pass
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def in_progress(workdir: Path) -> list[str]:
    """Returns what stands half done among the checkpoints."""
    checkpoints = workdir / "checkpoints"
    names = [path.name for path in checkpoints.iterdir()] if checkpoints.exists() else []
    return [name for name in names if not name.isdigit()]


def main() -> None:
    """See above."""
    root, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    choose, killed = random.Random(seed), root / "killed"
    log = root / "log.txt"
    code = end(*start(root / "whole", log))
    assert code == 0, log.read_text()
    left = []
    for count in range(kills):
        # Some die while they start, or read; others between or in steps and saves, and every
        # fourth as soon as a save is seen.
        steps = choose.choice([0, 1, 3, 5, 8])
        delay = choose.uniform(0, 0.05) if steps else choose.uniform(0, 1.5)
        number, reading = start(killed, log, last_step=48)
        for _ in range(steps):
            if os.read(reading, 1) != b".":
                break  # It waits at its last step, or has ended.
        if count % 4 == 3:
            patience = time.monotonic() + 3  # It may be waiting at its last step.
            while not in_progress(killed) and time.monotonic() < patience:
                time.sleep(0.001)
        else:
            time.sleep(delay)
        os.kill(number, signal.SIGKILL)
        code = end(number, reading)
        assert code == -signal.SIGKILL, log.read_text()
        left.append(in_progress(killed))
    code = end(*start(killed, log))
    assert code == 0, log.read_text()
    print(json.dumps(left))


if __name__ == "__main__":
    main()
