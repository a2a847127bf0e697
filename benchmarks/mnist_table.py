"""The paper's Table 2 in miniature on MNIST: Perceiver and ResNet, on raw and on shuffled pixels.

    python -m benchmarks.mnist_table [--seeds=0,1,2] [--variants=mnist,mnist_resnet] [--workdir=DIR]

Trains the variants of experiments/mnist.py with each seed, and prints a Markdown table of their
accuracies on the 1,000 test images. Above it stand the accuracies of k-nearest-neighbours on the
same split, from the pixels as they are, and how far the logits of the raw and of the permuted model
are apart if both have the same parameters. Runs that a workdir already holds are not repeated, so
it can be stopped and started again. Takes about an hour and a half on two CPU cores: twelve runs of
6,000 steps of 32 images, of which 440 a second were measured beside other work.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import perceiver_jax
from benchmarks import many_seeds
from perceiver_jax import config as config_lib
from perceiver_jax.data.images import mnist
from perceiver_jax.errors import run_main
from perceiver_jax.report import tables
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.interrupt import Interrupted

EXPERIMENT = "experiments/mnist.py"
VARIANTS = ("mnist", "mnist_permuted", "mnist_resnet", "mnist_resnet_permuted")
NEIGHBOURS = (1, 3, 5)


@dataclasses.dataclass(frozen=True)
class Row:
    """What the runs of a variant found."""

    params: int  # Parameters of the model.
    accuracies: tuple[float, ...]  # On the test images, one for each seed.


def measure(
    configs: Mapping[str, ExperimentConfig], seeds: Sequence[int], workdir: pathlib.Path
) -> dict[str, Row]:
    """Trains each experiment with each seed.

    Args:
      configs: the experiments by name.
      seeds: the seeds.
      workdir: where the runs' work directories go.

    Returns:
      The rows, by name of the experiment.
    """
    return {
        name: Row(finals[0]["num_params"], tuple(final["top_1"] for final in finals))
        for name, finals in many_seeds.train_each(configs, seeds, workdir).items()
    }


def neighbours(
    train_set: tuple[np.ndarray, np.ndarray],  # Images [n, ...] and labels [n].
    test_set: tuple[np.ndarray, np.ndarray],
    numbers: Sequence[int] = NEIGHBOURS,
) -> dict[int, float]:
    """Returns the test accuracy of k-nearest-neighbours on raw pixels, for each k."""
    from sklearn.neighbors import KNeighborsClassifier

    def flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)

    return {
        k: float(
            KNeighborsClassifier(k)
            .fit(flat(train_set[0]), train_set[1])
            .score(flat(test_set[0]), test_set[1])
        )
        for k in numbers
    }


def logit_difference(
    raw: ExperimentConfig, permuted: ExperimentConfig, examples: int = 64
) -> tuple[float, float]:
    """Returns how far the logits of two models with the same parameters are apart, at most.

    And the largest logit, to compare with.

    Parameters are random in all arrays, with values of a trained model's size: fresh logits would
    be zero whatever the model does.

    Args:
      raw: an experiment.
      permuted: the same on shuffled inputs.
      examples: how many test images are compared.
    """
    source = raw.data.make_source("test")
    images = np.stack([source[index]["image"] for index in range(examples)])
    models = [perceiver_jax.build(config.model) for config in (raw, permuted)]
    shapes, _ = models[0].abstract_params()
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), leaf.dtype), shapes
    )
    one, other = (model.apply(params, {}, None, images)[0] for model in models)
    return float(jnp.max(jnp.abs(one - other))), float(jnp.max(jnp.abs(one)))


def render(rows: Mapping[str, Row], accuracies: Mapping[int, float], seeds: int) -> str:
    """The table: k-nearest-neighbours first, then the variants."""
    best = max(accuracies, key=lambda k: accuracies[k])
    cells = [[f"{best}-nearest-neighbours, raw pixels", "–", f"{accuracies[best]:.2%}", "", ""]]
    cells += [
        [
            f"`{name}`",
            f"{row.params:,}",
            f"{statistics.mean(row.accuracies):.2%}",
            f"{min(row.accuracies):.2%}",
            f"{max(row.accuracies):.2%}",
        ]
        for name, row in rows.items()
    ]
    header = ["variant", "parameters", f"test accuracy, mean of {seeds}", "lowest", "highest"]
    return tables.render(header, cells, right=header[1:], markdown=True)


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    many_seeds.define_flags(VARIANTS, "runs/mnist_table")


def main(argv: Sequence[str]) -> int:
    """Entry point; `argv` is what absl left of the command line."""
    configs, seeds, workdir = many_seeds.chosen(argv, EXPERIMENT)
    accuracies = neighbours(mnist.pixels("train"), mnist.pixels("test"))
    raw, permuted = (config_lib.load_experiment(f"{EXPERIMENT}:{name}") for name in VARIANTS[:2])
    difference, largest = logit_difference(raw, permuted)
    try:
        rows = measure(configs, seeds, workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    found = ", ".join(f"{value:.2%} for k={k}" for k, value in accuracies.items())
    print(f"\nk-nearest-neighbours on raw pixels: {found}.")
    print(
        "Equal parameters, raw and permuted pixels: logits of the Perceiver differ by at most "
        f"{difference:.1e} on 64 test images; the largest is {largest:.1f}.\n"
    )
    print(render(rows, accuracies, len(seeds)))
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
