"""Makes a set of labelled clouds of points, once, from ModelNet40 as it is distributed.

    python -m perceiver_jax.data.points.prepare --source=ModelNet40.zip --data_dir=DATA

writes DATA/modelnet40: each mesh sampled at 2,048 points on its surface. The source may be a folder
as well, the resampled or the HDF5 set, ModelNet10, or meshes of one's own (docs/data.md). It works
on all cores. Whatever stops it, the same command goes on where it was, and a set is there whole or
not at all. Meshes that cannot be read are left out, and listed in left_out.json in its folder.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import dataclasses
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from perceiver_jax.atomic import replacing
from perceiver_jax.data.conversion.command import (
    check_arguments,
    check_name,
    making,
    show_left_out,
    show_rate,
)
from perceiver_jax.data.conversion.parts import (
    LeftOut,
    alone,
    convert,
    number_of_workers,
    written,
)
from perceiver_jax.data.conversion.progress import Progress
from perceiver_jax.data.points.convert import VERSION, Conversion, check_enough_points
from perceiver_jax.data.points.known import HDF5_MODELNET40, MODELNET40, name_of, surprises
from perceiver_jax.data.points.layouts import SPLITS, Hdf5Clouds, Layout, counted, find_layout
from perceiver_jax.data.stored import remove_unfinished
from perceiver_jax.errors import DataError, require, run_main

_FLAGS = flags.FLAGS

LEFT_OUT = "left_out.json"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    name: str  # Of the set.
    folder: Path  # Where it is.
    counts: dict[str, int]  # Clouds by split.
    left_out: tuple[LeftOut, ...]
    converted: int  # Meshes read by this call; an interrupted one before it had done the rest.
    seconds: float  # This took, on all cores.
    num_classes: int


def prepare(
    source: str,
    data_dir: str,
    *,
    name: str | None = None,
    num_points: int = 2048,
    seed: int = 0,
    workers: int | None = None,
    report: Callable[[str], None] = print,
) -> Prepared:
    """Makes a set; goes on with one that was interrupted, and leaves a finished one as it is.

    Args:
      source: the folder or the zip file.
      data_dir: where to; the set gets a folder there.
      name: of the set; None: modelnet40 or modelnet10, if it has their classes.
      num_points: of each cloud.
      seed: of the points; others give other points on the same meshes.
      workers: how many processes convert; None: one a core.
      report: takes lines for the user.

    Raises:
      DataError: the source holds no known set, the place is taken by another set or another
        process, too little could be read, or a process died; with the mend.
      ConfigError: an impossible number or name.
      UserError: a package is missing, or the disk refuses.
    """
    for package, pip_name in (
        ("tensorflow_datasets", "tensorflow-datasets"),
        ("array_record", "array-record"),
    ):
        require(package, purpose="Preparing a set of clouds", pip_name=pip_name)
    workers = number_of_workers(workers)
    layout = find_layout(source, name)
    name = _checked_name(name, layout, source)
    root = Path(data_dir).expanduser()
    conversion = Conversion(layout, num_points, seed, root / f"{name}.parts")
    found = Counter(entry.split for entry in layout.entries)
    report(
        f"{source}: {layout.kind} of {counted(len(layout.class_names), 'class')}, "
        f"{found['train']:,} to train and {found['test']:,} to test on."
    )
    _warn(name, layout, (), report)
    folder = root / name / VERSION
    there = written(conversion, folder)
    converted, seconds = 0, 0.0
    if not there:
        check_enough_points(conversion)
        with alone(conversion.folder):
            conversion.begin()  # First: it refuses what another command has begun.
            converted = len(conversion.missing_items())
            progress = Progress(len(layout.entries), len(layout.entries) - converted, report)
            start = time.monotonic()
            convert(conversion, workers, progress.done)
            seconds = time.monotonic() - start
            progress.end()
            _check_enough(conversion)
            _write(name, root, conversion)
    else:
        report(f"{folder} is there already, made of the same files in the same way.")
    left_out = _finish(folder, conversion, source)
    if left_out:
        _warn(name, layout, left_out, report)
    return Prepared(
        name,
        folder,
        _counts(layout, left_out),
        left_out,
        converted,
        seconds,
        len(layout.class_names),
    )


def _checked_name(name: str | None, layout: Layout, source: str) -> str:
    if name is None:
        name = name_of(layout.class_names)
        if name is None:
            raise DataError(
                f"{source} has {counted(len(layout.class_names), 'class')}: neither those of "
                "ModelNet40 nor of ModelNet10. Give the set a name: --name=NAME."
            )
    check_name(name)
    return name


def _write(name: str, root: Path, conversion: Conversion) -> None:
    from perceiver_jax.data.points import builder

    remove_unfinished(root, name, VERSION)
    builder.write(name, os.fspath(root), conversion)


def _check_enough(conversion: Conversion) -> None:
    left_out = conversion.left_out()
    counts = _counts(conversion.layout, left_out)
    for split in SPLITS:
        if not counts[split]:
            reasons = "".join(f"\n    {each.name}: {each.reason}" for each in left_out[:5])
            raise DataError(
                f"None of the {conversion.layout.kind} to {split} on could be converted:{reasons}"
            )


def _finish(folder: Path, conversion: Conversion, source: str) -> tuple[LeftOut, ...]:
    """Lists what was left out beside the set, and takes the parts away."""
    path = folder / LEFT_OUT
    if conversion.folder.exists() and not path.exists():
        listed = [dataclasses.asdict(each) for each in conversion.left_out()]
        with replacing(path) as temporary:
            text = json.dumps({"source": os.path.abspath(source), "left_out": listed}, indent=1)
            temporary.write_text(text, encoding="utf-8")
    shutil.rmtree(conversion.folder, ignore_errors=True)
    if not path.exists():
        return ()
    listed = json.loads(path.read_text(encoding="utf-8"))["left_out"]
    return tuple(LeftOut(**each) for each in listed)


def _counts(layout: Layout, left_out: Sequence[LeftOut]) -> dict[str, int]:
    entries = {entry.name: entry.split for entry in layout.entries}
    counts = Counter(entries.values())
    counts.subtract(each.split for each in left_out if each.name in entries)
    return {split: counts[split] for split in SPLITS}


def _warn(
    name: str, layout: Layout, left_out: Sequence[LeftOut], report: Callable[[str], None]
) -> None:
    """Tells in which classes the set differs from the published one of its name."""
    gone = {each.name for each in left_out}
    there = [
        (layout.class_names[entry.label], entry.split)
        for entry in layout.entries
        if entry.name not in gone
    ]
    counts = Counter(split for _, split in there)
    if (name, layout.kind) == ("modelnet40", Hdf5Clouds.kind):
        if (counts["train"], counts["test"]) == HDF5_MODELNET40:
            return
    found = surprises(name, there)
    if found:
        what = "With what was left out, this" if left_out else "This"
        report(f"Warning: {what} is not the whole of {name}:")
        for line in found:
            report(f"    {line}")


def main(argv: Sequence[str]) -> None:
    """Makes the set that the flags describe, and says what there is."""
    check_arguments(argv, "source", "data_dir")
    workers = number_of_workers(_FLAGS.workers)
    with making(_FLAGS.data_dir, _FLAGS.name, Conversion.part_pattern):
        done = prepare(
            _FLAGS.source,
            _FLAGS.data_dir,
            name=_FLAGS.name,
            num_points=_FLAGS.num_points,
            seed=_FLAGS.seed,
            workers=workers,
            report=lambda line: print(line, flush=True),
        )
    show_rate(done.converted, done.seconds, workers)
    show_left_out(done.left_out, done.folder / LEFT_OUT)
    were = "was" if len(done.left_out) == 1 else "were"
    print(
        f"{done.folder} has {done.counts['train']:,} clouds to train and {done.counts['test']:,} "
        f"to test on; {len(done.left_out):,} {were} left out. Train with "
        + " ".join(training_flags(done, _FLAGS.data_dir))
    )


def training_flags(done: Prepared, data_dir: str) -> list[str]:
    """Returns what makes experiments/modelnet40.py:perceiver train on a set."""
    given = [f"--config.data.points.data_dir={data_dir}", f"--config.data.points.name={done.name}"]
    if done.num_classes != len(MODELNET40):
        given.append(f"--config.task.num_classes={done.num_classes}")
        given.append(f"--config.model.decoder.num_classes={done.num_classes}")
    if done.num_classes <= 5:  # The accuracy of the five best would be 1.
        given.append("--config.task.top_k=none")
    return given


if __name__ == "__main__":
    flags.DEFINE_string("source", None, "The zip file, or its folder.")
    flags.DEFINE_string("data_dir", None, "Where prepared sets go.")
    flags.DEFINE_string(
        "name", None, "Of the set: required for other sets than ModelNet40 and ModelNet10."
    )
    flags.DEFINE_integer("num_points", 2048, "Points of each cloud.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Others give other points.", lower_bound=0)
    flags.DEFINE_integer(
        "workers", None, "Processes that convert; one a core if not given.", lower_bound=1
    )
    run_main(main)
