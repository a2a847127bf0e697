"""What a set is to be made of: lists are read, clips looked for, and said what there is."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import find_clips
from perceiver_jax.data.audioset.convert import Conversion
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.described import MISSING, ClipLeftOut, write_ids
from perceiver_jax.data.audioset.jpeg import Jpeg
from perceiver_jax.data.audioset.labels import (
    Segment,
    check_apart,
    check_distinct,
    read_classes,
    read_segments,
)
from perceiver_jax.data.audioset.records import SPLITS
from perceiver_jax.data.audioset.room import room_lines
from perceiver_jax.data.audioset.told import at_hand_lines, unused_lines
from perceiver_jax.data.conversion.command import check_name
from perceiver_jax.errors import ConfigError, DataError

_NAMED = 5  # So many recordings that are in both lists are named.


def plan(
    segments: Sequence[str],
    eval_segments: Sequence[str],
    classes: str,
    clips: str,
    data_dir: str,
    *,
    name: str,
    store: Store,
    jpeg: Jpeg,
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
        named = ", ".join(shared[:_NAMED]) + (", ..." if len(shared) > _NAMED else "")
        report(
            f"Warning: recordings of which one part is to train on and another to test on: "
            f"{len(shared):,} ({named})."
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
    for line in (*at_hand_lines(found.clips), *unused_lines(found.unused, clips)):
        report(line)
    return Conversion(
        name=name,
        classes=known,
        clips={split: tuple(each) for split, each in by_split.items()},
        root=os.path.abspath(os.path.expanduser(clips)),
        store=store,
        folder=Path(data_dir).expanduser() / f"{name}.parts",
        missing=tuple(
            ClipLeftOut.of(segment.id, None, found.reasons[segment.key], splits[segment.key])
            for segment in found.missing
        ),
        unused=found.unused,
        jpeg=jpeg,
    )


def dry_run(conversion: Conversion, report: Callable[[str], None]) -> Path:
    """Says what a set will take, and lists the ids that there is no clip of; decodes nothing.

    Returns:
      The file with the ids, one a line.

    Raises:
      UserError: it cannot be written.
    """
    for line in room_lines(conversion, range(len(conversion.ordered))):
        report(line)
    path = conversion.folder.with_name(f"{conversion.name}.{MISSING}")
    write_ids(path, conversion.missing)
    report(f"Nothing was decoded. Without a clip: {len(conversion.missing):,}; their ids: {path}")
    return path
