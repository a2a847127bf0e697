"""How a set is described: to TFDS, and beside that: ids, what was left out, what it is made of."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_jax.atomic import replacing
from perceiver_jax.data.audioset.clips import never_read
from perceiver_jax.data.audioset.records import VERSION, features, fingerprint, ids_file
from perceiver_jax.data.conversion.parts import LeftOut
from perceiver_jax.data.stored import FORMAT

if TYPE_CHECKING:
    from perceiver_jax.data.audioset.convert import Conversion

LEFT_OUT = "left_out.json"  # What is not in the set, and why, and what is odd in it;
MISSING = "missing.txt"  # ids that there is no clip of;
DAMAGED = "damaged.txt"  # ids of clips that are there and left out. All are in the set's folder.


@dataclasses.dataclass(frozen=True)
class ClipLeftOut(LeftOut):
    """A clip or segment that is left out, or odd; its name is that of its file, if it has one."""

    id: str = ""  # Of its recording.
    file: str | None = None  # In the folder of the clips; None: there is none.

    @classmethod
    def of(cls, id_: str, file: str | None, reason: str, split: str) -> "ClipLeftOut":
        """What is said of a clip, by its recording's id."""
        return cls(file or id_, split, reason, id_, file)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "ClipLeftOut":
        """What stands in `LEFT_OUT`; once that was a name alone."""
        file, id_ = stored.get("file"), stored.get("id", "")
        name = stored.get("name") or file or id_
        return cls(name, stored["split"], stored.get("reason") or stored["remark"], id_, file)

    def stored(self, what: str = "reason") -> dict[str, str | None]:
        """As it stands there."""
        return {"id": self.id, "file": self.file, "split": self.split, what: self.reason}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a set's clips."""

    ids: Mapping[str, list[str]]  # Of the recordings, by split, in the stored order.
    made_of: Mapping[str, list[str]]  # Of what; see perceiver_jax.data.audioset.reuse.note.
    lengths: Mapping[str, list[tuple[int, int]]]  # Of each shard: recordings, bytes.
    left_out: tuple[ClipLeftOut, ...]
    remarks: tuple[ClipLeftOut, ...]  # On recordings that are in the set and are odd.
    spares: tuple[Mapping[str, str], ...]  # Of clips: files that were not read, and why.


def made_of_file(split: str) -> str:
    """The name of the file that says of what each recording of a split is made, as stored."""
    return f"made_of_{split}.txt"


def describe_set(conversion: "Conversion", outcome: Outcome, folder: Path) -> None:
    """Writes what belongs to a set beside TFDS's own description, into the folder of its shards.

    That is: the ids of its recordings, what was left out, and what the set is made of.
    """
    metadata = conversion.provenance()
    for split, ids in outcome.ids.items():
        if ids:
            write_text(folder / ids_file(split), "".join(f"{each}\n" for each in ids))
            made_of = "".join(f"{each}\n" for each in outcome.made_of[split])
            write_text(folder / made_of_file(split), made_of)
            metadata[split] = dataclasses.asdict(fingerprint(ids))
    clips = (clip for each in conversion.clips.values() for clip in each)
    unused = [*conversion.unused, *never_read(clips, outcome.spares)]
    listed = {
        "left_out": [each.stored() for each in outcome.left_out],
        "remarks": [each.stored("remark") for each in outcome.remarks],
        "unused": [{"file": each.path, "reason": each.reason} for each in unused],
    }
    write_text(folder / "metadata.json", json.dumps(metadata, indent=1))
    write_text(folder / LEFT_OUT, json.dumps(listed, indent=1))
    write_ids(folder / MISSING, conversion.missing)
    write_ids(folder / DAMAGED, [each for each in outcome.left_out if each.file is not None])


def describe_shards(conversion: "Conversion", outcome: Outcome, folder: Path) -> None:
    """Writes what TFDS needs to know to read shards that it has not written itself."""
    import tensorflow_datasets as tfds

    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(conversion.classes.names),
        version=VERSION,
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[length for length, _ in shards],
                num_bytes=sum(size for _, size in shards),
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder,
                    dataset_name=conversion.name,
                    split=split,
                    filetype_suffix=FORMAT,
                ),
            )
            for split, shards in outcome.lengths.items()
            if outcome.ids[split]
        ],
        check_data=False,  # That would need TensorFlow.
        description="Recordings with labels: sound at 48 kHz, frames at 25 a second.",
    )


def write_ids(path: Path, left_out: Sequence[ClipLeftOut]) -> None:
    """Writes the ids of recordings, one a line, as downloaders take them."""
    write_text(path, "".join(f"{id_}\n" for id_ in dict.fromkeys(each.id for each in left_out)))


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
