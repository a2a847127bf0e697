"""The paper's Table 2 in miniature: every variant of experiments/digits.py with several seeds.

    python -m benchmarks.digits_table [--seeds=0,1,2] [--variants=fourier,permuted] [--workdir=DIR]

Prints a Markdown table of test accuracies. Runs that a workdir already holds are not repeated, so
it can be stopped and started again.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Sequence

from absl import flags

from perceiver_jax import config as config_lib
from perceiver_jax.errors import ConfigError, run_main
from perceiver_jax.train.interrupt import Interrupted
from perceiver_jax.train.loop import train

_EXPERIMENT = "experiments/digits.py"
_VARIANTS = ("fourier", "permuted", "learned", "perceiver", "conv", "conv_permuted")

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds, separated by commas.")
_CHOSEN = flags.DEFINE_list("variants", list(_VARIANTS), "Variants, separated by commas.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/digits_table", "Where the runs' workdirs go.")


def measure(variant: str, seeds: list[int], workdir: pathlib.Path) -> dict[str, float]:
    """Trains a variant with each seed.

    Returns:
      Mean, spread (standard deviation over seeds) and minimum of the test accuracies, and the
      number of parameters.
    """
    accuracies, num_params = [], 0
    for seed in seeds:
        config = config_lib.load_experiment(f"{_EXPERIMENT}:{variant}")
        config = dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, seed=seed))
        final = train(config, workdir / f"{variant}_seed{seed}")
        accuracies.append(final["top_1"])
        num_params = final["num_params"]
    return {
        "params": num_params,
        "mean": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "lowest": min(accuracies),
    }


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        raise ConfigError(f"unexpected arguments: {' '.join(argv[1:])}")
    try:
        seeds = [int(seed) for seed in _SEEDS.value]
    except ValueError:
        raise ConfigError(f"--seeds={','.join(_SEEDS.value)} must be whole numbers.") from None
    workdir = pathlib.Path(_WORKDIR.value)
    try:
        rows = {variant: measure(variant, seeds, workdir) for variant in _CHOSEN.value}
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code

    print(f"\n| variant | parameters | test accuracy, mean of {len(seeds)} | spread | lowest |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for variant, row in rows.items():
        print(
            f"| `{variant}` | {row['params']:,} | {row['mean']:.2%} | "
            f"{row['spread']:.2%} | {row['lowest']:.2%} |"
        )
    return 0


if __name__ == "__main__":
    run_main(main)
