"""Furniture of an artist that was not trained on: Perceivers beside a random forest.

    python -m benchmarks.furniture_table [--seeds=0,1,2] [--variants=perceiver] [--workdir=DIR]

Trains the variants of experiments/furniture.py with each seed, and prints a Markdown table of their
accuracies on the test split. Beside them stands a random forest on hand-made features of the same
clouds, and what always naming the most frequent class gives. Runs that a workdir already holds are
not repeated, so it can be stopped and started again; each has its curves and its report there. The
header of experiments/furniture.py says how the data is made. Needs scikit-learn. Takes a quarter of
an hour on two CPU cores: the three runs took 13 minutes beside other work.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import many_seeds
from perceiver_jax import config as config_lib
from perceiver_jax.data.source import Source
from perceiver_jax.errors import require, run_main
from perceiver_jax.report import tables
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.interrupt import Interrupted

EXPERIMENT = "experiments/furniture.py"
VARIANTS = ("perceiver",)
NUM_POINTS = 2048  # Of each cloud, for the forest.
NUM_TREES = 500


@dataclasses.dataclass(frozen=True)
class Row:
    """What the runs of a variant found."""

    params: int | None  # Parameters of the model; None: a forest has none to count.
    accuracies: tuple[float, ...]  # On the test split, one for each seed.


@dataclasses.dataclass(frozen=True)
class Clouds:
    """A split in memory."""

    points: np.ndarray  # [n, points, 3], normalised, z up
    labels: np.ndarray  # [n]

    @classmethod
    def of(cls, source: Source) -> "Clouds":
        """Reads all of a source."""
        examples = [source[index] for index in range(len(source))]
        points = np.stack([example["points"] for example in examples])
        return cls(points, np.array([example["label"] for example in examples]))


def features(points: np.ndarray) -> np.ndarray:  # [points, 3] -> [48]
    """What describes a shape whichever way it faces: hand-made, for the forest.

    The box around it (longer and shorter side, height, and two ratios); how its points are spread
    over the height, over the distance from the axis that stands in its middle, and over the
    distances of pairs; the spread along its principal axes; and moments of the height.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    box = high - low
    points = (np.asarray(points, np.float64) - (low + high) / 2) / (box.max() / 2)
    short, long = sorted(box[:2] / box.max())
    height = box[2] / box.max()
    heights = points[:, 2]
    from_axis = np.linalg.norm(points[:, :2] - points[:, :2].mean(axis=0), axis=1)
    one, other = np.random.default_rng(0).integers(len(points), size=(2, 4096))
    pairs = np.linalg.norm(points[one] - points[other], axis=1)
    spread = np.cov(points.T)
    centred = heights - heights.mean()
    return np.concatenate(
        [
            [long, short, height, short / long, height / long],
            _histogram(heights + height, 10, 2 * height),
            _histogram(from_axis, 10, from_axis.max()),
            _histogram(pairs, 16, pairs.max()),
            np.linalg.eigvalsh(spread),
            [spread[2, 2], heights.mean(), np.mean(centred**2), np.mean(centred**3)],
        ]
    )


def _histogram(values: np.ndarray, bins: int, largest: float) -> np.ndarray:  # [n] -> [bins]
    return np.histogram(values / max(largest, 1e-9), bins, range=(0, 1 + 1e-6))[0] / len(values)


def forest(train_set: Clouds, test_set: Clouds, seeds: Sequence[int]) -> Row:
    """Trains a random forest with each seed."""
    require("sklearn", purpose="The random forest", pip_name="scikit-learn")
    from sklearn.ensemble import RandomForestClassifier

    seen, tested = (
        np.stack([features(cloud) for cloud in each.points]) for each in (train_set, test_set)
    )
    accuracies = [
        RandomForestClassifier(NUM_TREES, random_state=seed)
        .fit(seen, train_set.labels)
        .score(tested, test_set.labels)
        for seed in seeds
    ]
    return Row(None, tuple(map(float, accuracies)))


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


def render(rows: Mapping[str, Row], seeds: int) -> str:
    """The table."""
    cells = [
        [
            name,
            "–" if row.params is None else f"{row.params:,}",
            f"{statistics.mean(row.accuracies):.1%}",
            f"{min(row.accuracies):.1%}",
            f"{max(row.accuracies):.1%}",
        ]
        for name, row in rows.items()
    ]
    header = ["model", "parameters", f"test accuracy, mean of {seeds}", "lowest", "highest"]
    return tables.render(header, cells, right=header[1:], markdown=True)


def describe(train_set: Clouds, test_set: Clouds, class_names: Sequence[str]) -> str:
    """What the numbers are of: how many examples, and what the most frequent class gives."""
    counts = np.bincount(test_set.labels, minlength=len(class_names))
    most, total = int(counts.argmax()), len(test_set.labels)
    return (
        f"{len(train_set.labels)} examples to train on, {total} to test on, of an artist of whom "
        f"nothing was trained on; {len(class_names)} classes. One example is {1 / total:.1%}. "
        f"Always {class_names[most]!r}: {counts[most] / total:.1%}."
    )


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    many_seeds.define_flags(VARIANTS, "runs/furniture_table")


def main(argv: Sequence[str]) -> int:
    """Entry point; `argv` is what absl left of the command line."""
    configs, seeds, workdir = many_seeds.chosen(argv, EXPERIMENT)
    data = config_lib.override(next(iter(configs.values())).data, {"num_points": NUM_POINTS})
    train_set, test_set = (Clouds.of(data.make_source(split)) for split in ("train", "test"))
    rows = {"random forest": forest(train_set, test_set, seeds)}
    try:
        found = measure(configs, seeds, workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    rows |= {f"`{name}`": row for name, row in found.items()}
    print(f"\n{describe(train_set, test_set, data.class_names())}\n")
    print(render(rows, len(seeds)))
    runs = many_seeds.run_folders(workdir, found, seeds)
    print(f"\nCurves and reports: {runs}.")
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
