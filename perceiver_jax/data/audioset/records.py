"""How recordings are stored: one record each, as TFDS writes and reads them without TensorFlow."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from perceiver_jax.data.audioset.decode import Recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.media.encoded import EncodedVideo
from perceiver_jax.data.stored import as_text

VERSION = "1.0.0"
SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Which recordings a result is on: AudioSet shrinks from year to year, and so no two are alike.

    The digest is that of the ids, sorted, each in a line of its own. That of a whole split is what
    `LC_ALL=C sort ids_test.txt | b2sum -l 64` prints in the set's folder.
    """

    num_clips: int
    ids: str  # 16 hexadecimal digits.

    def __str__(self) -> str:
        return f"{self.num_clips:,} clips, ids {self.ids}"


def fingerprint(ids: Iterable[str]) -> Fingerprint:
    """Returns the number of some ids, and their digest, whatever their order."""
    ordered = sorted(ids)
    text = "".join(f"{each}\n" for each in ordered).encode()
    return Fingerprint(len(ordered), hashlib.blake2b(text, digest_size=8).hexdigest())


def ids_file(split: str) -> str:
    """The name of the file that lists the ids of a split's recordings, in the stored order."""
    return f"ids_{split}.txt"


def features(class_names: Sequence[str]) -> Any:
    """Returns what a record has, in TFDS's words: a FeaturesDict."""
    import tensorflow_datasets as tfds

    text = tfds.features.Text
    return tfds.features.FeaturesDict(
        {
            "id": text(),
            # Times are whole numbers: TFDS keeps 32 bits of others.
            "start_ms": tfds.features.Scalar(dtype=np.int64),
            "file": text(),
            "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=list(class_names))),
            # One channel, 48 kHz; empty where there is no sound. As bytes: lists of numbers take a
            # hundred times longer to read.
            "audio": tfds.features.Tensor(
                shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
            ),
            # JPEG files, 25 a second. Text keeps any bytes; a sequence of images could be read with
            # every one of them decoded only.
            "frames": tfds.features.Sequence(text()),
            # Or a Matroska file; see perceiver_jax.data.media.encoded.EncodedVideo.
            "video": text(),
            "video_start_ns": tfds.features.Scalar(dtype=np.int64),
            "video_rotation": tfds.features.Scalar(dtype=np.int32),
            "video_num_frames": tfds.features.Scalar(dtype=np.int32),
        }
    )


def to_record(segment: Segment, file: str, recording: Recording) -> dict[str, Any]:
    """Returns what is stored of a recording, as `features` encodes it."""
    video = recording.video or EncodedVideo(b"", 0.0, 0, 0)
    audio = recording.audio
    return {
        "id": segment.id,
        "start_ms": round(segment.start * 1e3),
        "file": as_text(file),
        "labels": list(segment.labels),
        "audio": np.zeros(0, np.int16) if audio is None else audio,
        "frames": list(recording.frames or ()),
        "video": video.data,
        "video_start_ns": round(video.start * 1e9),
        "video_rotation": video.rotation,
        "video_num_frames": video.num_frames,
    }


def to_example(record: Mapping[str, Any], num_classes: int) -> dict[str, Any]:
    """Returns a stored record as an example; `audioset.Recordings` says what it has."""
    label = np.zeros(num_classes, np.float32)
    label[np.asarray(record["labels"], np.int64)] = 1
    example: dict[str, Any] = {"id": record["id"].decode(), "label": label}
    if len(record["audio"]):
        example["audio"] = np.asarray(record["audio"])
    if len(record["frames"]):
        example["frames"] = list(record["frames"])
    if record["video"]:
        example["video"] = EncodedVideo(
            record["video"],
            int(record["video_start_ns"]) / 1e9,
            int(record["video_rotation"]),
            int(record["video_num_frames"]),
        )
    return example
