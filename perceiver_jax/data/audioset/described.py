"""How a set is described: to TFDS, and beside that: ids, what was left out, what it is made of."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_jax.atomic import replacing
from perceiver_jax.data.audioset.records import VERSION, features, fingerprint, ids_file
from perceiver_jax.data.conversion.parts import LeftOut
from perceiver_jax.data.stored import FORMAT

if TYPE_CHECKING:
    from perceiver_jax.data.audioset.convert import Conversion

LEFT_OUT = "left_out.json"  # What is not in the set, and why, and what is odd in it;
MISSING = "missing.txt"  # ids that there is no clip of. Both are in the set's folder.


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a set's clips."""

    ids: Mapping[str, list[str]]  # Of the recordings, by split, in the stored order.
    made_of: Mapping[str, list[str]]  # Of what; see perceiver_jax.data.audioset.reuse.note.
    lengths: Mapping[str, list[tuple[int, int]]]  # Of each shard: recordings, bytes.
    left_out: tuple[LeftOut, ...]
    remarks: tuple[LeftOut, ...]  # On recordings that are in the set and are odd.


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
    listed = {
        "left_out": [dataclasses.asdict(each) for each in outcome.left_out],
        "remarks": [
            {"name": each.name, "split": each.split, "remark": each.reason}
            for each in outcome.remarks
        ],
        "unused": [{"name": each.path, "reason": each.reason} for each in conversion.unused],
    }
    write_text(folder / "metadata.json", json.dumps(metadata, indent=1))
    write_text(folder / LEFT_OUT, json.dumps(listed, indent=1))
    write_missing(folder / MISSING, conversion.missing)


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


def write_missing(path: Path, missing: Sequence[LeftOut]) -> None:
    """Writes the ids of recordings that there is no clip of, one a line, as downloaders take them.

    A segment that is missing is named by its recording's id.
    """
    write_text(path, "".join(f"{id_}\n" for id_ in dict.fromkeys(each.name for each in missing)))


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
