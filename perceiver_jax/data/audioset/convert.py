"""Turns clips into the shards of a set, over all cores: each part of the conversion is a shard.

AudioSet takes terabytes, which are written once: when all shards are there, their folder gets
TFDS's description, and the set's name. Clips are dealt out to shards in the order of a hash of
their ids, so that any shard, and the beginning of a split, is a random part of it.
"""

import dataclasses
import functools
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from perceiver_jax.atomic import replacing
from perceiver_jax.data.audioset.clip_names import Clip
from perceiver_jax.data.audioset.clips import Unused
from perceiver_jax.data.audioset.decode import Store
from perceiver_jax.data.audioset.described import (
    ClipLeftOut,
    Outcome,
    describe_set,
    describe_shards,
    write_text,
)
from perceiver_jax.data.audioset.jpeg import DEFAULT, Jpeg
from perceiver_jax.data.audioset.labels import Classes, Segment
from perceiver_jax.data.audioset.records import SPLITS, VERSION
from perceiver_jax.data.audioset.reuse import Copy, OtherSet, check_reusable, find_copies
from perceiver_jax.data.audioset.shards import write_shard
from perceiver_jax.data.conversion.parts import LOCK, PartedConversion, digest
from perceiver_jax.data.stored import FORMAT, as_text
from perceiver_jax.errors import DataError

_WORK = "work"  # The folder, beside the shards, of what is needed until the set is whole.
DONE_PATTERN = f"{_WORK}/done-*.json"  # One for each part that is converted.
_MOST_SHARDS = 1024  # Of a split: a reader keeps each that it has read from open.
_LEAST_CLIPS = 32  # Of a shard: half a minute's work, about 100 MB.
PART = f"part (of {_LEAST_CLIPS} clips, or more in large sets)"  # What is kept; for messages.


@dataclasses.dataclass(frozen=True)
class Part:
    """A shard: which of a split's clips it is of."""

    split: str
    index: int  # Among the split's shards.
    first: int  # Its first clip among all of the conversion, and
    stop: int  # the first that is not its own.


@dataclasses.dataclass(frozen=True)
class Conversion(PartedConversion):
    """All clips of a set, and where its shards are made."""

    name: str  # Of the set.
    classes: Classes
    clips: Mapping[str, tuple[Clip, ...]]  # By split, "train" and "test"; in any order.
    root: str  # The folder that they are in.
    store: Store
    folder: Path  # Of the shards, until the set is whole.
    missing: tuple[ClipLeftOut, ...] = ()  # Segments without a clip.
    unused: tuple[Unused, ...] = ()  # Files that are of none.
    jpeg: Jpeg = DEFAULT  # Of stored pictures.
    reuse: str | None = None  # The folder of another set that may have some of the recordings.

    version: ClassVar[str] = VERSION
    part_pattern: ClassVar[str] = DONE_PATTERN
    told: ClassVar[Mapping[str, str]] = {
        "store": "with --store={}",
        "frame_size": "with --frame_size={}",
        "quality": "with --quality={}",
    }

    @functools.cached_property
    def ordered(self) -> Sequence[tuple[str, Clip]]:
        """All clips with their splits, in the order in which they are stored."""
        return [
            (split, clip)
            for split in SPLITS
            for clip in sorted(self.clips.get(split, ()), key=lambda each: _shuffled(each.segment))
        ]

    @functools.cached_property
    def parts(self) -> Sequence[Part]:
        """All parts: those of the training split first."""
        parts, first = [], 0
        for split in SPLITS:
            count = len(self.clips.get(split, ()))
            size = max(_LEAST_CLIPS, -(-count // _MOST_SHARDS))
            for index, start in enumerate(range(0, count, size)):
                stop = min(start + size, count)
                parts.append(Part(split, index, first + start, first + stop))
            first += count
        return parts

    @functools.cached_property
    def _num_shards(self) -> Mapping[str, int]:  # By split.
        return Counter(part.split for part in self.parts)

    @property
    def num_parts(self) -> int:
        return len(self.parts)

    def provenance(self) -> dict[str, Any]:
        """Says what the set is made of."""
        return dict(self._provenance)

    @functools.cached_property
    def _provenance(self) -> dict[str, Any]:
        clips = (f"{split} {clip}" for split, clip in self.ordered)
        listed = (f"{each.split} {each.name}" for each in self.missing)
        return {
            "clips": digest(clips),
            "missing": digest(listed),
            "classes": digest((*self.classes.mids, *self.classes.names)),
            **self._made(),
        }

    def _made(self) -> dict[str, Any]:
        """How recordings are made of files."""
        pictures = {"frame_size": self.jpeg.shorter_side, "quality": self.jpeg.quality}
        return {"store": self.store, **(pictures if self.store == "jpeg" else {})}

    def instead(self, found: Any) -> str:
        """What to do where another set has the place: if it may have some of it, copy that."""
        made = self._made()
        if not isinstance(found, dict) or any(found.get(key) != made[key] for key in made):
            return super().instead(found)
        return (
            "Remove it, or choose another --data_dir, or another --name; with that, prepare's "
            f"--reuse={self.name} copies what is the same."
        )

    def items(self, part: int) -> range:
        return range(self.parts[part].first, self.parts[part].stop)

    def describe(self, item: int) -> str:
        return self.ordered[item][1].path

    def is_done(self, part: int) -> bool:
        return self._done(part).exists()

    def lay_out(self) -> None:
        """Lists each part's clips: processes get no list of two million."""
        for part in range(self.num_parts):
            clips = [dataclasses.asdict(self.ordered[item][1]) for item in self.items(part)]
            with replacing(self._listed(part)) as path:
                path.write_text(json.dumps(clips), encoding="utf-8")

    def check_reuse(self) -> None:
        """Refuses a set to reuse that cannot be; see `find_copies`. Writes nothing."""
        if self.reuse is not None:
            check_reusable(Path(self.reuse), self._made())

    def look_for_copies(self) -> int:
        """Notes which recordings of the parts that are to be made are in the set to reuse.

        Returns:
          How many.

        Raises:
          DataError: see `find_copies`.
        """
        if self.reuse is None:
            return 0
        items = self.missing_items()
        clips = [self.ordered[item][1] for item in items]
        copies = find_copies(Path(self.reuse), clips, self.root, self._made())
        noted = {items[number]: dataclasses.asdict(copy) for number, copy in copies.items()}
        for part in self.missing_parts():
            of_part = [noted.get(item) for item in self.items(part)]
            write_text(self._copies(part), json.dumps(of_part))
        return len(copies)

    def give_up(self, item: int, reason: str) -> bool:
        """Notes that a clip is to be left out; False if that has been of no use."""
        if self._given_up(item).exists():
            return False
        write_text(self._given_up(item), json.dumps(f"{self.describe(item)!r} {reason}"))
        return True

    def do(self, part: int, done: Callable[[int], None]) -> None:
        """Converts a part's clips, and writes its shard."""
        given_up = {
            number: json.loads(self._given_up(item).read_text("utf-8"))
            for number, item in enumerate(self.items(part))
            if self._given_up(item).exists()
        }
        copies: dict[int, Copy] = {}
        if self.reuse is not None:
            noted = json.loads(self._copies(part).read_text("utf-8"))
            copies = {number: Copy(**each) for number, each in enumerate(noted) if each}
        write_shard(
            self._shard(part),
            self._done(part),
            [_to_clip(each) for each in json.loads(self._listed(part).read_text("utf-8"))],
            root=self.root,
            class_names=self.classes.names,
            store=self.store,
            jpeg=self.jpeg,
            given_up=given_up,
            copies=copies,
            other=None if self.reuse is None else OtherSet(self.reuse),
            done=lambda number: done(self.parts[part].first + number),
        )

    def outcome(self) -> Outcome:
        """Returns what became of the clips; all parts must be there."""
        ids: dict[str, list[str]] = {split: [] for split in SPLITS}
        made_of: dict[str, list[str]] = {split: [] for split in SPLITS}
        left_out, spares = list(self.missing), []
        remarks: list[ClipLeftOut] = []
        lengths: dict[str, list[tuple[int, int]]] = {split: [] for split in SPLITS}
        for number, part in enumerate(self.parts):
            found = json.loads(self._done(number).read_text("utf-8"))
            ids[part.split] += found["ids"]
            made_of[part.split] += found["made_of"]
            lengths[part.split].append((len(found["ids"]), found["bytes"]))
            for listed, told in ((left_out, "left_out"), (remarks, "remarks")):
                for id_, file, reason in found[told]:
                    listed.append(ClipLeftOut.of(id_, file, reason, part.split))
            spares += found["spare"]
        return Outcome(ids, made_of, lengths, tuple(left_out), tuple(remarks), tuple(spares))

    def written_so_far(self) -> tuple[int, int]:
        """How many clips the parts have that are there, and how many bytes, packed as they are."""
        clips = total = 0
        for part in range(self.num_parts):
            if self.is_done(part):
                clips += len(self.items(part))
                total += self._shard(part).stat().st_size
        return clips, total

    def sweep(self) -> None:
        """Takes away what processes left half-written that were killed; none may be at it."""
        for left in self.folder.glob(".*.partial*"):
            left.unlink()

    def finish(self, place: Path) -> None:
        """Makes the folder of the shards the set.

        Args:
          place: where it goes: DATA/NAME/VERSION.

        Raises:
          DataError: a split has lost all its clips; says why.
        """
        outcome = self.outcome()
        for split in SPLITS:
            if self.clips.get(split) and not outcome.ids[split]:
                lost = [each for each in outcome.left_out if each.split == split]
                reasons = "".join(f"\n    {as_text(each.name)}: {each.reason}" for each in lost[:5])
                raise DataError(f"None of the clips to {split} on could be converted:{reasons}")
        self.sweep()
        describe_shards(self, outcome, self.folder)
        describe_set(self, outcome, self.folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.folder.rename(place)
        tidy(place)

    def _shard(self, part: int) -> Path:
        each = self.parts[part]
        count = self._num_shards[each.split]
        return self.folder / f"{self.name}-{each.split}.{FORMAT}-{each.index:05d}-of-{count:05d}"

    def _listed(self, part: int) -> Path:
        return self.folder / _WORK / f"clips-{part:05d}.json"

    def _copies(self, part: int) -> Path:
        return self.folder / _WORK / f"copies-{part:05d}.json"

    def _done(self, part: int) -> Path:
        return self.folder / _WORK / f"done-{part:05d}.json"

    def _given_up(self, item: int) -> Path:
        return self.folder / _WORK / f"given-up-{item:07d}.json"

    def __getstate__(self) -> dict[str, Any]:
        """Goes to the processes that convert, with the parts and without the clips."""
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**state, "clips": {}, "missing": (), "unused": (), "parts": self.parts}


def tidy(place: Path) -> None:
    """Takes away what a finished set does not need."""
    shutil.rmtree(place / _WORK, ignore_errors=True)
    for name in ("plan.json", LOCK):
        (place / name).unlink(missing_ok=True)


def _shuffled(segment: Segment) -> bytes:
    """The place of a segment among others: random, and the same whoever computes it."""
    return hashlib.blake2b(segment.key.encode(), digest_size=16).digest()


def _to_clip(stored: dict[str, Any]) -> Clip:
    segment = {**stored["segment"], "labels": tuple(stored["segment"]["labels"])}
    others = tuple(stored["others"])
    return Clip(**{**stored, "segment": Segment(**segment), "others": others})
