"""What fine-tuning gives: every variant of experiments/digits_transfer.py with several seeds.

    python -m benchmarks.digits_transfer [--seeds=0,1,2] [--workdir=DIR]

Prints a Markdown table of test accuracies on the digits 5 to 9. Runs that a workdir holds are
not repeated.
"""

import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from benchmarks import many_seeds
from perceiver_jax import config as config_lib
from perceiver_jax.errors import run_main
from perceiver_jax.train.interrupt import Interrupted
from perceiver_jax.train.loop import train

_EXPERIMENT = "experiments/digits_transfer.py"
_SOURCES = ("pretrain", "pretrain_half")
_VARIANTS = ("finetune", "slower", "frozen")

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds, separated by commas.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/digits_transfer", "Where the workdirs go.")


def accuracy(variant: str, seed: int, workdir: pathlib.Path, source: str | None = None) -> float:
    """Trains a variant, from the run of `source` with the same seed; returns its test accuracy."""
    changes: dict[str, Any] = {"trainer.seed": seed}
    name = variant
    if source is not None:
        changes["checkpoint"] = str(many_seeds.run_folder(workdir, source, seed).absolute())
        name = f"{variant}_from_{source}"
    config = config_lib.load_experiment(f"{_EXPERIMENT}:{variant}")
    config = config_lib.override(config, changes)
    return train(config, many_seeds.run_folder(workdir, name, seed))["top_1"]


def measure(seeds: list[int], workdir: pathlib.Path) -> dict[tuple[str, str], list[float]]:
    """Returns the accuracies on 5 to 9, one a seed, by variant and what it started from."""
    results = {
        ("scratch", "random"): [accuracy("scratch", seed, workdir) for seed in seeds],
    }
    for source in _SOURCES:
        for seed in seeds:
            accuracy(source, seed, workdir)
            for variant in _VARIANTS:
                found = accuracy(variant, seed, workdir, source)
                results.setdefault((variant, source), []).append(found)
    return results


def main(argv: Sequence[str]) -> int:
    seeds = many_seeds.chosen_seeds(argv, _SEEDS.value)
    try:
        results = measure(seeds, pathlib.Path(_WORKDIR.value))
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    print(f"\n| variant | from | test accuracy, mean of {len(seeds)} | lowest | highest |")
    print("| --- | --- | ---: | ---: | ---: |")
    for (variant, source), each in results.items():
        print(
            f"| `{variant}` | {source} | {statistics.mean(each):.1%} | {min(each):.1%} | "
            f"{max(each):.1%} |"
        )
    return 0


if __name__ == "__main__":
    run_main(main)
