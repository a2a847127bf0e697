"""The paper's Table 2 in miniature: every variant of experiments/digits.py with several seeds.

    python -m benchmarks.digits_table [--seeds=0,1,2] [--variants=fourier,permuted] [--workdir=DIR]

Prints a Markdown table of test accuracies. Runs that a workdir already holds are not repeated, so
it can be stopped and started again.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import many_seeds
from perceiver_jax.errors import run_main
from perceiver_jax.train.interrupt import Interrupted

_EXPERIMENT = "experiments/digits.py"
_VARIANTS = ("fourier", "permuted", "learned", "perceiver", "conv", "conv_permuted")


def summary(finals: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Sums up the runs of a variant.

    Returns:
      Mean, spread (standard deviation over seeds) and minimum of the test accuracies, and the
      number of parameters.
    """
    accuracies = [final["top_1"] for final in finals]
    return {
        "params": finals[0]["num_params"],
        "mean": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "lowest": min(accuracies),
    }


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    many_seeds.define_flags(_VARIANTS, "runs/digits_table")


def main(argv: Sequence[str]) -> int:
    """Entry point; `argv` is what absl left of the command line."""
    configs, seeds, workdir = many_seeds.chosen(argv, _EXPERIMENT)
    try:
        found = many_seeds.train_each(configs, seeds, workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    rows = {variant: summary(finals) for variant, finals in found.items()}

    print(f"\n| variant | parameters | test accuracy, mean of {len(seeds)} | spread | lowest |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for variant, row in rows.items():
        print(
            f"| `{variant}` | {row['params']:,} | {row['mean']:.2%} | "
            f"{row['spread']:.2%} | {row['lowest']:.2%} |"
        )
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
