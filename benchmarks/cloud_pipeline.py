"""Clouds a second of the input pipeline, stage by stage, in one thread.

    python -m benchmarks.cloud_pipeline [--clouds=4000] [--num_points=2048] [--markdown]

Makes a set of random clouds, reads it in random order, and makes of each cloud what
`PointCloudsConfig` makes of it in training, in batches of 512. All stages together are compared
with `PointCloudsConfig.augment`, which must give the same clouds. Beside them stands the trainer's
own loader. Seconds are those of the processor, so that other programs count little; medians of the
rounds. What the points are makes no difference to how long they take.
"""

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from perceiver_jax.data.loader import train_batches
from perceiver_jax.data.points.config import PointCloudsConfig
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.points.prepare import prepare
from perceiver_jax.data.points.transforms import normalize
from perceiver_jax.data.source import Source
from perceiver_jax.errors import UserError, run_main
from perceiver_jax.report import tables

BATCH = 512  # The paper's.

_HEADER = ("stage", "us/cloud", "clouds/s", "share")

Array = np.ndarray
Stage = Callable[[Array, np.random.Generator], Array]  # [n, 3] -> [n, 3]


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured, in seconds of the processor a cloud: medians over rounds."""

    stages: dict[str, float]  # By name, in order.
    loader: float  # `train_batches`, which does all of them.
    clouds: int  # In a round.
    num_points: int  # Of each.
    repeats: int  # Rounds.

    @property
    def total(self) -> float:
        """All stages together."""
        return sum(self.stages.values())


def write_clouds(folder: Path, count: int, num_points: int) -> ModelNetConfig:
    """Makes a set of random clouds, by way of the HDF5 form of ModelNet40."""
    import h5py

    source = folder / "source"
    source.mkdir()
    (source / "shape_names.txt").write_text("one\ntwo\n")
    rng = np.random.default_rng(0)
    for split, size in (("train", count), ("test", 2)):
        with h5py.File(source / f"{split}.h5", "w") as file:
            file["data"] = rng.standard_normal((size, num_points, 3), np.float32)
            file["label"] = np.arange(size) % 2
    prepare(
        os.fspath(source),
        os.fspath(folder),
        name="random",
        num_points=num_points,
        report=lambda line: None,
    )
    return ModelNetConfig(name="random", data_dir=os.fspath(folder))


def stages(config: PointCloudsConfig) -> dict[str, Stage]:
    """The parts of `PointCloudsConfig.augment` by name, in order."""
    changes = config.augmentation
    assert changes is not None

    def draw(points: Array, rng: np.random.Generator) -> Array:
        return points.take(rng.permutation(len(points))[: config.num_points], axis=0)

    return {
        "draw": draw,
        "normalise": lambda points, rng: normalize(points),
        "change": changes,
        "normalise again": lambda points, rng: normalize(points),
    }


def measure(config: PointCloudsConfig, repeats: int) -> Result:
    """Times the pipeline over all training clouds, round after round.

    Args:
      config: the recipe.
      repeats: rounds, after one that is not counted.

    Raises:
      RuntimeError: the stages do not make what `PointCloudsConfig.augment` makes.
    """
    source = config.make_training_source()
    _check(config, source)
    count, batch = len(source), min(BATCH, len(source))
    rounds = []
    for number in range(repeats + 1):
        seconds = _staged(config, source, number, batch)
        started = time.process_time()
        steps = count // batch
        for _ in train_batches(
            config, source, batch_size=batch, seed=number, start_step=0, stop_step=steps, threads=0
        ):
            pass
        seconds["loader"] = (time.process_time() - started) * count / (steps * batch)
        rounds.append(seconds)
    median = {
        # The first round opens the files.
        name: statistics.median(each[name] / count for each in rounds[1:])
        for name in rounds[0]
    }
    loader = median.pop("loader")
    return Result(median, loader, count, config.num_points, repeats)


def _check(config: PointCloudsConfig, source: Source) -> None:
    points = source[0]["points"]
    rng = np.random.default_rng(0)
    for stage in stages(config).values():
        points = stage(points, rng)
    if not np.array_equal(points, config.augment(source[0], np.random.default_rng(0))["points"]):
        raise RuntimeError("the stages that are timed do not make what the pipeline makes")


def _staged(config: PointCloudsConfig, source: Source, number: int, batch: int) -> dict[str, float]:
    """Seconds by stage over all clouds. Each cloud goes through all stages."""
    parts = stages(config)
    seconds = dict.fromkeys(("read", *parts, "batch"), 0.0)
    rng = np.random.default_rng(number)
    made: list[Array] = []

    def timed(name: str, call: Callable[[], Array]) -> Array:
        started = time.process_time()
        value = call()
        seconds[name] += time.process_time() - started
        return value

    for index in rng.permutation(len(source)):
        points = timed("read", lambda index=index: source[index]["points"])
        for name, stage in parts.items():
            points = timed(name, lambda stage=stage, points=points: stage(points, rng))
        made.append(points)
        if len(made) == batch:
            timed("batch", lambda: np.stack(made))
            made.clear()
    return seconds


def render(result: Result, *, markdown: bool) -> str:
    """The table, and what was measured."""

    def row(name: str, seconds: float, share: str) -> list[str]:
        return [name, f"{1e6 * seconds:.0f}", f"{1 / seconds:,.0f}", share]

    rows = [
        *(row(name, each, f"{each / result.total:.0%}") for name, each in result.stages.items()),
        row("all stages", result.total, "100%"),
        row("as the trainer calls it", result.loader, ""),
    ]
    table = tables.render(_HEADER, rows, right=_HEADER[1:], markdown=markdown)
    return (
        f"{result.clouds:,} clouds of {result.num_points:,} points, median of {result.repeats} "
        f"rounds, one thread.\n\n{table}"
    )


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    with tempfile.TemporaryDirectory() as folder:
        points = write_clouds(Path(folder), given.clouds, given.num_points)
        config = PointCloudsConfig(points=points, num_points=given.num_points)
        print(render(measure(config, given.repeats), markdown=given.markdown))


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    flags.DEFINE_integer("clouds", 4000, "How many clouds.", lower_bound=BATCH)
    flags.DEFINE_integer("num_points", 2048, "Points of each.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Timed rounds over all clouds.", lower_bound=1)
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
