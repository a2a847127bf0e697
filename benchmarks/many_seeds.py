"""Every variant of an experiment with several seeds: what the tables of small experiments share."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from perceiver_jax import config as config_lib
from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.loop import train


class Chosen(NamedTuple):
    """What is to be trained, by the flags."""

    configs: Mapping[str, ExperimentConfig]  # By name of the variant.
    seeds: Sequence[int]
    workdir: pathlib.Path  # Where the runs' work directories go.


def define_flags(
    variants: Sequence[str], workdir: str, seeds: Sequence[str] = ("0", "1", "2")
) -> None:
    """Defines the flags; called by `define_flags` of a table, so that tests may import it."""
    flags.DEFINE_list("seeds", list(seeds), "Seeds, separated by commas.")
    flags.DEFINE_list("variants", list(variants), "Variants, separated by commas.")
    flags.DEFINE_string("workdir", workdir, "Where the runs' workdirs go.")


def chosen(argv: Sequence[str], experiment: str) -> Chosen:
    """Reads the flags.

    Args:
      argv: what absl left of the command line.
      experiment: the file of the variants.

    Raises:
      ConfigError: they do not say what to train.
    """
    given = flags.FLAGS
    seeds = chosen_seeds(argv, given.seeds)
    if not seeds or not given.variants:
        raise ConfigError("--seeds and --variants must each name at least one.")
    configs = {name: config_lib.load_experiment(f"{experiment}:{name}") for name in given.variants}
    return Chosen(configs, seeds, pathlib.Path(given.workdir))


def chosen_seeds(argv: Sequence[str], given: Sequence[str]) -> list[int]:
    """Reads the flag --seeds, beside which there may be no arguments.

    Args:
      argv: what absl left of the command line.
      given: the flag.

    Raises:
      ConfigError: there are arguments, or seeds that are no whole numbers.
    """
    if len(argv) > 1:
        raise ConfigError(f"unexpected arguments: {' '.join(argv[1:])}")
    try:
        return [int(seed) for seed in given]
    except ValueError:
        raise ConfigError(f"--seeds={','.join(given)} must be whole numbers.") from None


def train_each(
    configs: Mapping[str, ExperimentConfig], seeds: Sequence[int], workdir: pathlib.Path
) -> dict[str, list[dict[str, Any]]]:
    """Trains each experiment with each seed; what `workdir` already holds is not trained again.

    Args:
      configs: the experiments by name.
      seeds: the seeds.
      workdir: where the runs' work directories go.

    Returns:
      The results of the runs, by name of the experiment and in the order of the seeds.
    """
    return {
        name: [
            train(
                config_lib.override(config, {"trainer.seed": seed}), run_folder(workdir, name, seed)
            )
            for seed in seeds
        ]
        for name, config in configs.items()
    }


def run_folder(workdir: pathlib.Path, name: str, seed: int) -> pathlib.Path:
    """Returns the work directory of a run."""
    return workdir / f"{name}_seed{seed}"


def run_folders(workdir: pathlib.Path, names: Iterable[str], seeds: Sequence[int]) -> str:
    """Returns those of all runs, in a line as a shell has it."""
    return f"{workdir}/{{{','.join(names)}}}_seed{{{','.join(map(str, seeds))}}}"
