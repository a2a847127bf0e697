"""Makes a set of labelled recordings, once, from AudioSet's lists and a folder of clips.

    python -m perceiver_jax.data.audioset.prepare --clips=FOLDER --data_dir=DATA \\
        --segments=balanced_train_segments.csv,unbalanced_train_segments.csv \\
        --eval_segments=eval_segments.csv --classes=class_labels_indices.csv

writes DATA/audioset: of every segment for which there is a clip, the sound at 48 kHz and the frames
at 25 a second. It works on all cores. Whatever stops it, the same command goes on where it was, and
a set is there whole or not at all. Clips that are not there or cannot be read are left out, and
listed in left_out.json beside the set; there stands too which of those that are kept are short,
silent, or without sound or video.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import dataclasses
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from absl import flags

from perceiver_jax.data.audioset.clips import Clip, find_clips
from perceiver_jax.data.audioset.convert import DONE_PATTERN, LEFT_OUT, Conversion, tidy
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.labels import (
    Segment,
    check_apart,
    check_distinct,
    read_classes,
    read_segments,
)
from perceiver_jax.data.audioset.records import SPLITS, VERSION, Fingerprint
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
from perceiver_jax.data.stored import as_text
from perceiver_jax.errors import ConfigError, DataError, require, run_main

_FLAGS = flags.FLAGS

REQUIRED = ("clips", "classes", "data_dir")  # Flags that must be given.


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    folder: Path  # Where the set is.
    fingerprints: dict[str, Fingerprint]  # Of its splits.
    left_out: tuple[LeftOut, ...]
    remarks: tuple[LeftOut, ...]  # On recordings that are in the set and are odd.
    converted: int  # Clips read by this call; an interrupted one before it had done the rest.
    seconds: float  # This took, on all cores.


def prepare(
    segments: Sequence[str],
    eval_segments: Sequence[str],
    classes: str,
    clips: str,
    data_dir: str,
    *,
    name: str = "audioset",
    store: Store = "jpeg",
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
        segments, eval_segments, classes, clips, data_dir, name=name, store=store, report=report
    )
    folder = Path(data_dir).expanduser() / name / VERSION
    there = written(conversion, folder)
    converted, seconds = 0, 0.0
    if there:
        report(f"{folder} is there already, made of the same clips in the same way.")
        tidy(folder)
    else:
        total = sum(map(len, conversion.clips.values()))
        with alone(conversion.folder):
            conversion.begin()  # First: it refuses what another command has begun.
            converted = len(conversion.missing_items())
            progress = Progress(total, total - converted, report)
            start = time.monotonic()
            convert(conversion, workers, progress.done)
            seconds = time.monotonic() - start
            progress.end()
            conversion.finish(folder)
    left_out, remarks = listed(folder)
    return Prepared(folder, fingerprints(folder), left_out, remarks, converted, seconds)


def plan(
    segments: Sequence[str],
    eval_segments: Sequence[str],
    classes: str,
    clips: str,
    data_dir: str,
    *,
    name: str,
    store: Store,
    report: Callable[[str], None],
) -> Conversion:
    """Reads the lists, looks for the clips, and says what is to be done; see `prepare`."""
    check_name(name)
    if store not in get_args(Store):
        raise ConfigError(f"--store={store} must be one of {', '.join(get_args(Store))}.")
    known = read_classes(classes)
    lists = dict(zip(SPLITS, (segments, eval_segments), strict=True))
    wanted: dict[str, list[Segment]] = {
        split: [segment for path in paths for segment in read_segments(path, known)]
        for split, paths in lists.items()
    }
    everything = [segment for each in wanted.values() for segment in each]
    if not everything:
        raise ConfigError(
            "name lists of segments: --segments to train on, --eval_segments to test."
        )
    check_distinct(everything)
    if shared := check_apart(*(wanted[split] for split in SPLITS)):
        report(
            f"Warning: recordings of which one part is to train on and another to test on: "
            f"{shared:,}."
        )
    found = find_clips(clips, everything)
    splits = {segment.key: split for split, each in wanted.items() for segment in each}
    by_split: dict[str, list[Clip]] = {split: [] for split in SPLITS}
    for clip in found.clips:
        by_split[splits[clip.segment.key]].append(clip)
    for split in SPLITS:
        if wanted[split] and not by_split[split]:
            raise DataError(
                f"{clips} has clips of none of the {len(wanted[split]):,} segments to {split} on. "
                "The names of files must contain the ids of the lists, such as "
                f"{wanted[split][0].id}.mp4."
            )
        if wanted[split]:
            report(
                f"To {split} on: {len(by_split[split]):,} clips of {len(wanted[split]):,} segments."
            )
    if found.unused:
        report(f"{found.unused:,} files of {clips} belong to no segment, or to one with another.")
    return Conversion(
        name=name,
        classes=known,
        clips={split: tuple(each) for split, each in by_split.items()},
        root=os.path.abspath(os.path.expanduser(clips)),
        store=store,
        folder=Path(data_dir).expanduser() / f"{name}.parts",
        missing=tuple(
            LeftOut(segment.id, splits[segment.key], "there is no clip of it")
            for segment in found.missing
        ),
    )


def listed(folder: Path) -> tuple[tuple[LeftOut, ...], tuple[LeftOut, ...]]:
    """What was left out of a set, and what is odd in it."""
    found = json.loads((folder / LEFT_OUT).read_text(encoding="utf-8"))
    return (
        tuple(LeftOut(**each) for each in found["left_out"]),
        tuple(LeftOut(each["name"], each["split"], each["remark"]) for each in found["remarks"]),
    )


def fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Which recordings the splits of a set have."""
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    return {split: Fingerprint(**metadata[split]) for split in SPLITS if split in metadata}


def show_remarks(remarks: Sequence[LeftOut]) -> None:
    """Prints how many recordings are odd in which way, with an example of each."""
    kinds: dict[str, list[LeftOut]] = defaultdict(list)
    for each in remarks:
        kinds[re.split(r"\d", each.reason)[0].strip()].append(each)
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        example = as_text(found[0].name)
        print(f"odd         {len(found):,} {kind}, such as {example}: {found[0].reason}")


def show_set(done: Prepared, data_dir: str, name: str) -> None:
    """Prints what a set has, and how to train with it."""
    for split, fingerprint in done.fingerprints.items():
        print(f"To {split} on: {fingerprint}.")
    print(
        f"{done.folder} is made; {len(done.left_out):,} were left out. Train with "
        f"--config.data.recordings.data_dir={data_dir} --config.data.recordings.name={name}"
    )


def main(argv: Sequence[str]) -> None:
    """Makes the set that the flags describe, and says what there is."""
    check_arguments(argv, *REQUIRED)
    workers = number_of_workers(_FLAGS.workers)
    with making(_FLAGS.data_dir, _FLAGS.name, DONE_PATTERN):
        done = prepare(
            _FLAGS.segments,
            _FLAGS.eval_segments,
            _FLAGS.classes,
            _FLAGS.clips,
            _FLAGS.data_dir,
            name=_FLAGS.name,
            store=_FLAGS.store,
            workers=workers,
            report=lambda line: print(line, flush=True),
        )
    show_rate(done.converted, done.seconds, workers)
    show_left_out(done.left_out, done.folder / LEFT_OUT)
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


if __name__ == "__main__":
    define_flags()
    flags.DEFINE_integer(
        "workers", None, "Processes that convert; one a core if not given.", lower_bound=1
    )
    run_main(main)
