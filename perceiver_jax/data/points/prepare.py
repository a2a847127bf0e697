"""Makes a set of labelled clouds of points, once, from ModelNet40 as it is distributed.

    python -m perceiver_jax.data.points.prepare --source=ModelNet40.zip --data_dir=DATA

writes DATA/modelnet40: each mesh sampled at 2,048 points on its surface. The source may be a folder
as well, the resampled or the HDF5 set, ModelNet10, or meshes of one's own (docs/data.md). It works
on all cores. Whatever stops it, the same command goes on where it was, and a set is there whole or
not at all. Meshes that cannot be read are left out, and listed in left_out.json beside the set.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from absl import flags

from perceiver_jax.atomic import replacing
from perceiver_jax.data.points.convert import (
    VERSION,
    Conversion,
    available_cores,
    check_enough_points,
    convert,
    differences,
)
from perceiver_jax.data.points.known import HDF5_MODELNET40, name_of, surprises
from perceiver_jax.data.points.layouts import SPLITS, Hdf5Clouds, Layout, LeftOut, find_layout
from perceiver_jax.errors import (
    EXIT_INTERRUPTED,
    ConfigError,
    DataError,
    UserError,
    require,
    run_main,
)

_FLAGS = flags.FLAGS

LEFT_OUT = "left_out.json"
_SHOWN = 20  # So many that were left out are printed; the file has all.
_TERMINAL_EVERY = 0.2  # Seconds between redrawings,
_FILE_EVERY = 15.0  # and between lines where there is no terminal.


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    name: str  # Of the set.
    folder: Path  # Where it is.
    counts: dict[str, int]  # Clouds by split.
    left_out: tuple[LeftOut, ...]
    converted: int  # Meshes read by this call; an interrupted one before it had done the rest.
    seconds: float  # This took, on all cores.


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
    layout = find_layout(source, name)
    name = _checked_name(name, layout, source)
    root = Path(data_dir).expanduser()
    conversion = Conversion(layout, num_points, seed, root / f"{name}.parts")
    found = Counter(entry.split for entry in layout.entries)
    report(
        f"{source}: {layout.kind} of {len(layout.class_names)} classes, {found['train']:,} to "
        f"train and {found['test']:,} to test on."
    )
    _warn(name, layout, (), report)
    folder = _written(name, root, conversion)
    before, seconds = len(conversion.missing_items()), 0.0
    if folder is None:
        check_enough_points(conversion)
        progress = Progress(len(layout.entries), len(layout.entries) - before, report)
        with _alone(conversion.folder):
            start = time.monotonic()
            convert(conversion, workers or available_cores(), progress.done)
            seconds = time.monotonic() - start
            progress.end()
            _check_enough(conversion)
            folder = _write(name, root, conversion)
    else:
        report(f"{folder} is there already, made of the same files in the same way.")
        before = 0
    left_out = _finish(folder, conversion, source)
    if left_out:
        _warn(name, layout, left_out, report)
    return Prepared(name, folder, _counts(layout, left_out), left_out, before, seconds)


class Progress:
    """Says how many are converted, how fast, and how long it will still take."""

    def __init__(
        self,
        total: int,
        before: int,
        report: Callable[[str], None],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts the clock.

        Args:
          total: how many there are.
          before: so many of them were converted by an earlier run.
          report: takes a line; used where the stream is no terminal.
          stream: where the line is redrawn if it is a terminal; standard output if None.
          clock: tells seconds.
        """
        self._total, self._before, self._at = total, before, before
        self._report, self._stream, self._clock = report, stream or sys.stdout, clock
        self._terminal = self._stream.isatty()
        self._start = self._shown = clock()
        if before:
            report(f"Going on after {before:,} that an earlier run has converted.")

    def done(self, item: int) -> None:
        """Counts one, and shows it now and then."""
        self._at += 1
        now = self._clock()
        if now - self._shown >= (_TERMINAL_EVERY if self._terminal else _FILE_EVERY):
            self._shown = now
            if self._terminal:
                self._stream.write(f"\r{self.line()}\x1b[K")
                self._stream.flush()
            else:
                self._report(self.line())

    def line(self) -> str:
        """Returns "3,200 of 12,311 converted, 85.0/s, 0:01:47 left"."""
        elapsed = self._clock() - self._start
        rate = (self._at - self._before) / elapsed if elapsed > 0 else 0.0
        left = ""
        if rate:
            left = f", {datetime.timedelta(seconds=round((self._total - self._at) / rate))} left"
        return f"{self._at:,} of {self._total:,} converted, {rate:,.1f}/s{left}"

    def end(self) -> None:
        """Takes the line away."""
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _checked_name(name: str | None, layout: Layout, source: str) -> str:
    if name is None:
        name = name_of(layout.class_names)
        if name is None:
            raise DataError(
                f"{source} has {len(layout.class_names)} classes, which are neither those of "
                "ModelNet40 nor of ModelNet10. Give the set a name: --name=NAME."
            )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"--name={name} must be made of small letters, digits and underscores, and begin with "
            "a letter."
        )
    return name


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process from the same set: it would take away what this one writes.

    Raises:
      DataError: another process is at it.
      UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Gone when the process is.
        except BlockingIOError as error:
            raise DataError(
                f"Another process is making this set, in {folder}. Wait until it is done, or give "
                "another --name or --data_dir."
            ) from error
        except OSError:
            pass  # A file system without locks.
        yield


def _written(name: str, root: Path, conversion: Conversion) -> Path | None:
    """Returns the set's folder if it is there already, made in just this way."""
    folder = root / name / VERSION
    if not folder.exists():
        return None
    try:
        found = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    expected = conversion.provenance()
    if found != expected:
        raise DataError(
            f"{folder} is there already, made {differences(found, expected)}, and is left as it "
            "is. Remove it, or choose another --name or --data_dir."
        )
    return folder


def _write(name: str, root: Path, conversion: Conversion) -> Path:
    from perceiver_jax.data.points import builder

    for left in (root / name).glob(f"*incomplete*{VERSION}*"):  # By a run that was killed.
        shutil.rmtree(left, ignore_errors=True)
    return Path(builder.write(name, os.fspath(root), conversion))


def _check_enough(conversion: Conversion) -> None:
    left_out = conversion.left_out()
    counts = _counts(conversion.layout, left_out)
    for split in SPLITS:
        if not counts[split]:
            reasons = "".join(f"\n    {each.reason}" for each in left_out[:5])
            raise DataError(
                f"None of the {conversion.layout.kind} to "
                f"{'train' if split == 'train' else 'test'} on could be converted:{reasons}"
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


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    # Not print: it may have been print that was interrupted.
    os.write(2, b"\nInterrupted. What is converted is kept: the same command goes on from there.\n")
    for process in multiprocessing.active_children():  # Where only this process was told to stop.
        process.kill()
    os._exit(EXIT_INTERRUPTED)


def main(argv: Sequence[str]) -> None:
    """Makes the set that the flags describe, and says what there is."""
    if len(argv) > 1:
        raise ConfigError(f"unexpected argument {argv[1]!r}; see --help.")
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupted)
    workers = _FLAGS.workers or available_cores()
    try:
        done = prepare(
            _FLAGS.source,
            _FLAGS.data_dir,
            name=_FLAGS.name,
            num_points=_FLAGS.num_points,
            seed=_FLAGS.seed,
            workers=workers,
            report=lambda line: print(line, flush=True),
        )
    except KeyboardInterrupt:  # A process met it before this one.
        _interrupted(signal.SIGINT, None)
    if done.converted and done.seconds:
        print(
            f"Converted {done.converted:,} in {done.seconds:,.1f} s on {workers} "
            f"{'core' if workers == 1 else 'cores'}: {done.converted / done.seconds:,.1f}/s."
        )
    for each in done.left_out[:_SHOWN]:
        named = each.reason if each.name in each.reason else f"{each.name}: {each.reason}"
        print(f"left out    from {each.split}: {named}")
    if len(done.left_out) > _SHOWN:
        print(f"            and {len(done.left_out) - _SHOWN:,} more: {done.folder / LEFT_OUT}")
    print(
        f"{done.folder} has {done.counts['train']:,} clouds to train and {done.counts['test']:,} "
        f"to test on; {len(done.left_out):,} were left out. Train with "
        f"--config.data.points.data_dir={_FLAGS.data_dir} --config.data.points.name={done.name}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("source", None, "The zip file, or its folder.", required=True)
    flags.DEFINE_string("data_dir", None, "Where prepared sets go.", required=True)
    flags.DEFINE_string("name", None, "Of the set; not needed for ModelNet40 and ModelNet10.")
    flags.DEFINE_integer("num_points", 2048, "Points of each cloud.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Others give other points.", lower_bound=0)
    flags.DEFINE_integer("workers", None, "Processes that convert; one a core if not given.")
    run_main(main)
