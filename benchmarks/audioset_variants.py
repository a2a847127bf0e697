"""Every variant of AudioSet's experiment, in small, on real recordings: what each can tell.

    python -m benchmarks.audioset_variants [--seeds=0] [--variants=small_video,...] [--workdir=DIR]

Trains the variants `small_...` of experiments/audioset.py on the medley of what packages ship, and
prints a Markdown table of their mean average precisions on what is held out: over all classes, over
those that are heard, and over those that are seen. Runs that a workdir already holds are not
repeated, so it can be stopped and started again; each has its curves and its report there.
docs/reproduce.md says how the data is made.
"""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import many_seeds
from perceiver_jax.data.audioset.audioset import Recordings
from perceiver_jax.data.audioset.medley_sources import SEEN
from perceiver_jax.errors import DataError, run_main
from perceiver_jax.report import tables
from perceiver_jax.train import per_class
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.interrupt import Interrupted

EXPERIMENT = "experiments/audioset.py"
# In the order of the papers' tables: sound, video, both; Perceiver, Perceiver IO.
VARIANTS = (
    "small_audio_raw", "small_audio_mel", "small_video", "small_audio_video_raw",
    "small_audio_video_mel", "small_tuned", "small_io_perceiver_raw", "small_io_raw",
    "small_io_perceiver_mel", "small_io_mel",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """What the runs of a variant found on the test split: means over seeds."""

    params: int  # Of the model.
    all: float  # Mean of the classes' average precisions.
    heard: float  # Of the classes that are heard.
    seen: float  # Of those that are seen.
    auc: float  # Mean of the classes' areas under the curve.


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

    Raises:
      DataError: a set has no classes that are heard, or none that are seen.
    """
    rows = {}
    for name, finals in many_seeds.train_each(configs, seeds, workdir).items():
        groups = [
            by_group(
                per_class.read(many_seeds.run_folder(workdir, name, seed) / per_class.FILE) or ()
            )
            for seed in seeds
        ]
        rows[name] = Row(
            finals[0]["num_params"],
            statistics.mean(final["mean_average_precision"] for final in finals),
            statistics.mean(heard for heard, _ in groups),
            statistics.mean(seen for _, seen in groups),
            statistics.mean(final["mean_auc"] for final in finals),
        )
    return rows


def by_group(classes: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Returns mean average precisions of the classes that are heard, and of those that are seen.

    Args:
      classes: of a run's per_class.json.

    Raises:
      DataError: there are none of a group.
    """
    groups: dict[bool, list[float]] = {False: [], True: []}
    for each in classes:
        if each["average_precision"] is not None:
            groups[each["name"] in SEEN].append(each["average_precision"])
    if not groups[False] or not groups[True]:
        raise DataError(
            "this table needs classes that are heard and classes that are seen. Make the set of "
            "all sources: python -m perceiver_jax.data.audioset.medley --help."
        )
    return statistics.mean(groups[False]), statistics.mean(groups[True])


def render(rows: Mapping[str, Row]) -> str:
    """The table."""
    cells = [
        [f"`{name}`", f"{row.params:,}"]
        + [f"{value:.1%}" for value in (row.all, row.heard, row.seen)]
        + [f"{row.auc:.3f}"]
        for name, row in rows.items()
    ]
    header = ["variant", "parameters", "mAP", "what is heard", "what is seen", "AUC"]
    return tables.render(header, cells, right=header[1:], markdown=True)


def describe(train_set: Recordings, test_set: Recordings) -> str:
    """What the numbers are of."""
    seen = sum(name in SEEN for name in test_set.class_names)
    return (
        f"Trained on {train_set.fingerprint}; tested on {test_set.fingerprint}. "
        f"{len(test_set.class_names) - seen} classes that are heard, {seen} that are seen."
    )


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    many_seeds.define_flags(VARIANTS, "runs/audioset_variants", seeds=("0",))


def main(argv: Sequence[str]) -> int:
    """Entry point; `argv` is what absl left of the command line."""
    configs, seeds, workdir = many_seeds.chosen(argv, EXPERIMENT)
    recordings = next(iter(configs.values())).data.recordings
    splits = [recordings.open(split) for split in ("train", "test")]
    try:
        rows = measure(configs, seeds, workdir)
    except Interrupted as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    print(f"\n{describe(*splits)}\n")
    print(render(rows))
    runs = many_seeds.run_folders(workdir, rows, seeds)
    print(f"\nCurves and reports: {runs}.")
    return 0


if __name__ == "__main__":
    define_flags()
    run_main(main)
