"""A run whose disk is full for a while, as a process: a limit on the size of files acts the same.

    python -m tests.train.full_disk DIRECTORY

prints what the user was told, and JSON on what became of it. Saves of steps 6 and 18 are due in
between; the limit is below the size of a checkpoint and of metrics.jsonl.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import perceiver_jax.report.curves
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.loop import train
from tests.train.fake import MLP, experiment, history

SMALL = 1500  # Bytes.


def limit(size: int) -> None:
    """Lets no file grow beyond `size` bytes; writes then fail with EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def full_between(first: int, last: int, workdir: Path, saved: int | None) -> Callable[[int], None]:
    """Returns an `on_step`; the disk is full from step `first` on, when `saved` is on it."""

    def on_step(step: int) -> None:
        if step == first:
            while saved is not None and not (workdir / "checkpoints" / str(saved)).exists():
                time.sleep(0.01)
            limit(SMALL)
        if step == last:
            limit(resource.RLIM_INFINITY)

    return on_step


def main() -> None:
    """Runs without, with a passing and with two lasting shortages."""
    root = Path(sys.argv[1])
    perceiver_jax.report.curves.draw_curves = lambda *_, **__: None  # slower than the training
    results = {}
    for name, (first, last), saved, changes in (
        ("whole", (99, 99), None, {}),
        ("passing", (4, 14), None, {}),
        ("lasting", (7, 99), 6, {"trainer__checkpoint_every": "3"}),
        ("at the end", (19, 99), 18, {}),
    ):
        errors = []
        config = experiment(**changes)
        while True:
            full = full_between(first, last, root / name, saved)
            try:
                train(config, root / name, model=MLP(), on_step=full)
                break
            except CheckpointError as error:
                errors.append(str(error))
                first = 99
            finally:
                limit(resource.RLIM_INFINITY)
        results[name] = {
            "errors": errors,
            "history": history(root / name),
            "final": json.loads((root / name / "final_metrics.json").read_text()),
            "files": sorted(path.name for path in (root / name / "checkpoints").iterdir()),
        }
    print("\nresults", json.dumps(results))


if __name__ == "__main__":
    main()
