"""Makes a set of labelled recordings, once, from AudioSet's lists and a folder of clips.

    python -m perceiver_jax.data.audioset.prepare --clips=FOLDER --data_dir=DATA \\
        --segments=balanced_train_segments.csv,unbalanced_train_segments.csv \\
        --eval_segments=eval_segments.csv --classes=class_labels_indices.csv

writes DATA/audioset: of every segment for which there is a clip, the sound at 48 kHz and the frames
at 25 a second. It works on all cores. Whatever stops it, the same command goes on where it was, and
a set is there whole or not at all. Clips that are not there or cannot be read are left out, and
listed in DATA/audioset/1.0.0/left_out.json; there stands too which of those that are kept are
short, silent, or without sound or video, and which files were not used. Beside it missing.txt has
the ids that there is no clip of, and damaged.txt those of clips that are there and left out.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import dataclasses
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from absl import flags

from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.convert import DONE_PATTERN, PART, tidy
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.described import LEFT_OUT, ClipLeftOut
from perceiver_jax.data.audioset.jpeg import DEFAULT, Jpeg
from perceiver_jax.data.audioset.labels import NUM_CLASSES
from perceiver_jax.data.audioset.planning import dry_run, plan
from perceiver_jax.data.audioset.records import SPLITS, VERSION, Fingerprint
from perceiver_jax.data.audioset.room import Room, room_lines
from perceiver_jax.data.audioset.told import counted, show_left_out, show_remarks
from perceiver_jax.data.conversion.command import check_arguments, making, show_rate
from perceiver_jax.data.conversion.parts import (
    alone,
    convert,
    number_of_workers,
    written,
)
from perceiver_jax.data.conversion.progress import Progress
from perceiver_jax.errors import require, run_main

_FLAGS = flags.FLAGS

REQUIRED = ("clips", "classes", "data_dir")  # Flags that must be given.


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    folder: Path  # Where the set is.
    fingerprints: dict[str, Fingerprint]  # Of its splits.
    left_out: tuple[ClipLeftOut, ...]
    remarks: tuple[ClipLeftOut, ...]  # On recordings that are in the set and are odd.
    converted: int  # Clips read by this call; an interrupted one before it had done the rest.
    seconds: float  # This took, on all cores.
    num_classes: int


def prepare(
    segments: Sequence[str],
    eval_segments: Sequence[str],
    classes: str,
    clips: str,
    data_dir: str,
    *,
    name: str = "audioset",
    store: Store = "jpeg",
    jpeg: Jpeg = DEFAULT,
    reuse: str | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = print,
) -> Prepared:
    """Makes a set; goes on with one that was interrupted, and leaves a finished one as it is.

    Args:
      segments: the lists of segments to train on.
      eval_segments: those of segments to test on.
      classes: the list of classes.
      clips: the folder with the clips.
      data_dir: where to; the set gets a folder there.
      name: of the set.
      store: "jpeg", "video" or "none"; see `perceiver_jax.data.audioset.decode.read_recording`.
      jpeg: what pictures are to be like.
      reuse: the name of another set there; recordings that it has of the same files are copied.
      workers: how many processes convert; None: one a core.
      report: takes lines for the user.

    Raises:
      DataError: a list is of another form, there are no clips, the place is taken by another set,
        or a process died; with the mend.
      ConfigError: an impossible number or name.
      UserError: a package is missing, or the disk refuses.
    """
    for package, pip_name in (
        ("tensorflow_datasets", "tensorflow-datasets"),
        ("array_record", "array-record"),
        ("av", "av"),
        ("PIL", "pillow"),
    ):
        require(package, purpose="Preparing a set of recordings", pip_name=pip_name)
    workers = number_of_workers(workers)
    conversion = plan(
        segments,
        eval_segments,
        classes,
        clips,
        data_dir,
        name=name,
        store=store,
        jpeg=jpeg,
        report=report,
    )
    root = Path(data_dir).expanduser()
    folder = root / name / VERSION
    if reuse is not None:
        conversion = dataclasses.replace(conversion, reuse=str(root / reuse / VERSION))
    there = written(conversion, folder)
    converted, seconds = 0, 0.0
    if there:
        report(f"{folder} is there already, made of the same clips in the same way.")
        tidy(folder)
    else:
        conversion.check_reuse()
        total = sum(map(len, conversion.clips.values()))
        with alone(conversion.folder):
            conversion.begin()  # First: it refuses what another command has begun.
            conversion.sweep()
            if reuse is not None:
                copies = conversion.look_for_copies()
                report(f"Recordings to be copied from the set {reuse}: {copies:,}.")
            converted = len(conversion.missing_items())
            for line in room_lines(conversion, conversion.missing_items()):
                report(line)
            progress = Progress(total, total - converted, report)
            room = Room(conversion, progress.tell)
            room.check()
            start = time.monotonic()

            def done(item: int) -> None:
                progress.done(item)
                room.done(item)

            convert(conversion, workers, done)
            seconds = time.monotonic() - start
            progress.end()
            conversion.finish(folder)
    left_out, remarks = listed(folder)
    return Prepared(
        folder,
        fingerprints(folder),
        left_out,
        remarks,
        converted,
        seconds,
        len(conversion.classes.names),
    )


def listed(folder: Path) -> tuple[tuple[ClipLeftOut, ...], tuple[ClipLeftOut, ...]]:
    """What was left out of a set, and what is odd in it."""
    found = json.loads((folder / LEFT_OUT).read_text(encoding="utf-8"))
    return (
        tuple(map(ClipLeftOut.read, found["left_out"])),
        tuple(map(ClipLeftOut.read, found["remarks"])),
    )


def fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Which recordings the splits of a set have."""
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    return {split: Fingerprint(**metadata[split]) for split in SPLITS if split in metadata}


def show_set(done: Prepared, data_dir: str, name: str) -> None:
    """Prints what a set has, and how to train with it."""
    for split, fingerprint in done.fingerprints.items():
        print(f"To {split} on: {fingerprint}.")
    print(f"{done.folder} is made. Left out: {counted(done.left_out)}.")
    if "train" in done.fingerprints:
        named = "" if name == RecordingsConfig.name else f" --config.data.recordings.name={name}"
        count, classes = done.num_classes, ""
        if count != NUM_CLASSES:
            names = ("task.num_classes", "model.decoder.num_classes")
            classes = "".join(f" --config.{each}={count}" for each in names)
        print(f"Train with --config.data.recordings.data_dir={data_dir}{named}{classes}")


def given() -> dict[str, Any]:
    """What the flags say of the set: arguments of `plan`, `prepare` and `prepare_by_beam`."""
    return {
        "segments": _FLAGS.segments,
        "eval_segments": _FLAGS.eval_segments,
        "classes": _FLAGS.classes,
        "clips": _FLAGS.clips,
        "data_dir": _FLAGS.data_dir,
        "name": _FLAGS.name,
        "store": _FLAGS.store,
        "jpeg": Jpeg(_FLAGS.frame_size, _FLAGS.quality),
        "report": functools.partial(print, flush=True),
    }


def main(argv: Sequence[str]) -> None:
    """Makes the set that the flags describe, and says what there is."""
    check_arguments(argv, *REQUIRED)
    workers = number_of_workers(_FLAGS.workers)
    if _FLAGS.dry_run:
        dry_run(plan(**given()), print)
        return
    with making(_FLAGS.data_dir, _FLAGS.name, DONE_PATTERN, PART):
        done = prepare(**given(), reuse=_FLAGS.reuse, workers=workers)
    show_rate(done.converted, done.seconds, workers)
    show_left_out(done.left_out, done.folder)
    show_remarks(done.remarks)
    show_set(done, _FLAGS.data_dir, _FLAGS.name)


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_list("segments", [], "Lists of segments to train on, separated by commas.")
    flags.DEFINE_list("eval_segments", [], "Lists of segments to test on.")
    flags.DEFINE_string("classes", None, "The list of classes: class_labels_indices.csv.")
    flags.DEFINE_string("clips", None, "The folder with the clips.")
    flags.DEFINE_string("data_dir", None, "Where prepared sets go.")
    flags.DEFINE_string("name", "audioset", "Of the set.")
    flags.DEFINE_enum("store", "jpeg", get_args(Store), "Frames as JPEG, video as it is, or none.")
    flags.DEFINE_integer(
        "frame_size", DEFAULT.shorter_side, "The shorter side of stored frames in pixels, at most."
    )
    flags.DEFINE_integer("quality", DEFAULT.quality, "Of JPEG, 1 to 95.")


if __name__ == "__main__":
    define_flags()
    flags.DEFINE_bool(
        "dry_run",
        False,
        "Say what there is to convert, by the names of files; do nothing.",
    )
    flags.DEFINE_string(
        "reuse", None, "Another set in DATA: its recordings of the same files are copied."
    )
    flags.DEFINE_integer(
        "workers", None, "Processes that convert; one a core if not given.", lower_bound=1
    )
    run_main(main)
