"""Languages of prompts that were not trained on: Perceivers beside a random forest.

    python -m benchmarks.language_table [--seeds=0,1,2] [--variants=audio_mel,audio_raw] \\
        [--workdir=DIR] [--set=NAME]

Takes about an hour of one CPU core: the six runs took 61 minutes beside other work.

Trains the variants of experiments/languages.py with each seed, and prints a Markdown table of their
mean average precision and accuracy on the test split. Beside them stands a random forest on
hand-made features of the same recordings. Runs that a workdir already holds are not repeated, so it
can be stopped and started again; each has its curves and its report there. The header of
experiments/languages.py says how the data is made, and of which set values were chosen; --set names
that one. Needs scikit-learn.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags

from benchmarks import many_seeds, seed_curves
from perceiver_jax import config as config_lib
from perceiver_jax.data.audioset.audioset import Recordings, RecordingsConfig
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.media.sound import to_float
from perceiver_jax.errors import require, run_main
from perceiver_jax.report import tables
from perceiver_jax.tasks.average_precision import Ranking
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.interrupt import Interrupted

EXPERIMENT = "experiments/languages.py"
VARIANTS = ("audio_mel", "audio_raw")
PANELS = {"mean_average_precision": "mAP on the test prompts", "precision_at_1": "accuracy"}
NUM_TREES = 500
NUM_CEPSTRA = 20
# Of the forest: the prompts are of 8,000 samples a second.
MEL = MelSpectrogram(num_bands=40, hop=480, window=1200, highest=4_000.0)


@dataclasses.dataclass(frozen=True)
class Row:
    """What the runs of a variant found on the test split, one number for each seed."""

    params: int | None  # Parameters of the model; None: a forest has none to count.
    precisions: tuple[float, ...]  # Means of the classes' average precisions.
    accuracies: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Sounds:
    """A split, as the forest sees it."""

    features: np.ndarray  # [n, features]
    labels: np.ndarray  # [n], numbers of classes

    @classmethod
    def of(cls, recordings: Recordings) -> "Sounds":
        """Reads all of a split."""
        examples = [recordings[index] for index in range(len(recordings))]
        return cls(
            np.stack([features(example["audio"]) for example in examples]),
            np.array([int(np.argmax(example["label"])) for example in examples]),
        )


def features(samples: np.ndarray) -> np.ndarray:  # int16 [n] at 48 kHz -> [160]
    """What describes the sound of a voice over a whole recording: hand-made, for the forest.

    Of the frames that are not silent: mean and deviation of each mel band in decibels, of the first
    cepstra (the bands' discrete cosine transform), and of how much these change in a frame.
    """
    from scipy import fft

    samples = np.pad(samples, (0, max(-len(samples) % MEL.hop, 2 * MEL.hop - len(samples))))
    bands = MEL(to_float(samples))  # [frames, bands]
    heard = bands.mean(axis=1) > bands.mean(axis=1).max() - 2  # By 40 dB.
    cepstra = fft.dct(bands, axis=1, norm="ortho")[:, :NUM_CEPSTRA]
    changes = np.gradient(cepstra, axis=0)
    each = np.concatenate([bands, cepstra, changes], axis=1)[heard]
    return np.concatenate([each.mean(axis=0), each.std(axis=0)])


def forest(train_set: Sounds, test_set: Sounds, seeds: Sequence[int]) -> Row:
    """Trains a random forest with each seed."""
    require("sklearn", purpose="The random forest", pip_name="scikit-learn")
    from sklearn.ensemble import RandomForestClassifier

    classes = np.unique(train_set.labels)
    is_label = test_set.labels[:, None] == classes
    precisions, accuracies = [], []
    for seed in seeds:
        trained = RandomForestClassifier(NUM_TREES, random_state=seed).fit(
            train_set.features, train_set.labels
        )
        scores = trained.predict_proba(test_set.features)
        means = Ranking.of(scores, is_label).means(len(scores))
        precisions.append(float(means["mean_average_precision"]))
        accuracies.append(float(np.mean(classes[scores.argmax(axis=1)] == test_set.labels)))
    return Row(None, tuple(precisions), tuple(accuracies))


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
        name: Row(
            finals[0]["num_params"],
            tuple(final["mean_average_precision"] for final in finals),
            tuple(final["precision_at_1"] for final in finals),
        )
        for name, finals in many_seeds.train_each(configs, seeds, workdir).items()
    }


def render(rows: Mapping[str, Row], seeds: int) -> str:
    """The table."""
    cells = [
        [name, "–" if row.params is None else f"{row.params:,}"]
        + [
            cell
            for values in (row.precisions, row.accuracies)
            for cell in (
                f"{statistics.mean(values):.1%}",
                f"{min(values):.1%} – {max(values):.1%}",
            )
        ]
        for name, row in rows.items()
    ]
    header = ["model", "parameters", f"mAP, mean of {seeds}", "from – to",
              f"accuracy, mean of {seeds}", "from – to"]  # fmt: skip
    return tables.render(header, cells, right=header[1:], markdown=True)


def draw(
    names: Sequence[str], seeds: Sequence[int], workdir: pathlib.Path, reference: Row
) -> pathlib.Path:
    """Draws the evaluations of all runs beside the forest's means; returns the picture."""
    runs = {
        name: [many_seeds.run_folder(workdir, name, seed) / "metrics.jsonl" for seed in seeds]
        for name in names
    }
    means = [statistics.mean(values) for values in (reference.precisions, reference.accuracies)]
    picture = workdir / "curves.png"
    seed_curves.draw(
        runs,
        picture,
        panels=PANELS,
        reference=("random forest", dict(zip(PANELS, means, strict=True))),
    )
    return picture


def describe(train_set: Sounds, test_set: Sounds, class_names: Sequence[str]) -> str:
    """What the numbers are of: how many examples, and what the most frequent class gives."""
    counts = np.bincount(test_set.labels, minlength=len(class_names))
    most, total = int(counts.argmax()), len(test_set.labels)
    return (
        f"{len(train_set.labels):,} prompts to train on, {total:,} to test on, of which nothing "
        f"was trained on in any language; {len(class_names)} languages. One prompt is "
        f"{1 / total:.2%}. Always {class_names[most]!r}: {counts[most] / total:.1%}."
    )


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    many_seeds.define_flags(VARIANTS, "runs/language_table")
    flags.DEFINE_string("set", "languages", "The set, as it was named when it was made.")


def main(argv: Sequence[str]) -> int:
    """Entry point; `argv` is what absl left of the command line."""
    configs, seeds, workdir = many_seeds.chosen(argv, EXPERIMENT)
    chosen_set = {"data.recordings.name": flags.FLAGS.set}
    configs = {name: config_lib.override(each, chosen_set) for name, each in configs.items()}
    recordings: RecordingsConfig = next(iter(configs.values())).data.recordings
    splits = [recordings.open(split) for split in ("train", "test")]
    train_set, test_set = (Sounds.of(split) for split in splits)
    rows = {"random forest": forest(train_set, test_set, seeds)}
    try:
        found = measure(configs, seeds, workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    picture = draw(list(found), seeds, workdir, rows["random forest"])
    rows |= {f"`{name}`": row for name, row in found.items()}
    print(f"\n{describe(train_set, test_set, splits[1].class_names)}\n")
    print(render(rows, len(seeds)))
    runs = many_seeds.run_folders(workdir, found, seeds)
    print(f"\nCurves of all runs: {picture}; of each, and reports: {runs}.")
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
