"""Recordings in memory, in place of a set on disk."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from perceiver_jax.data.audioset.audioset import RecordingsConfig, read_frames
from perceiver_jax.data.audioset.decode import Recording
from perceiver_jax.data.audioset.labels import Segment
from perceiver_jax.data.audioset.records import fingerprint, to_example, to_record
from perceiver_jax.errors import DataError

CLASSES = ("Speech", "Cat, meow", "Dog")


def jpeg(pixels: np.ndarray) -> bytes:  # [y, x, 3], uint8
    """A JPEG file of a picture."""
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG", quality=95)
    return written.getvalue()


def recording(
    name: str = "abcdefghijk", *, frames: int | None = 25, samples: int | None = 48_000
) -> dict[str, Any]:
    """A recording whose frame k has a grey of 10 k on the left, and sound that is 1,000 k then."""
    example: dict[str, Any] = {"id": name, "label": np.array([1, 0, 1], np.float32)}
    if frames is not None:
        pictures = []
        for k in range(frames):
            pixels = np.full((48, 64, 3), 10 * k, np.uint8)
            pixels[:, 32:] = 255 - 10 * k
            pictures.append(jpeg(pixels))
        example["frames"] = pictures
    if samples is not None:
        example["audio"] = (1000 * (np.arange(samples) // 1920)).astype(np.int16)
    return example


def pictures(read: Recording) -> list[np.ndarray]:
    """All frames of a recording that was read, through what is stored of it."""
    record = to_record(Segment("a", 0.0, 1.0, (0,)), "a", read)
    return read_frames(to_example({**record, "id": b"a"}, 1), 0, 999)


@dataclasses.dataclass(frozen=True)
class Stored:
    """A split."""

    examples: tuple[Mapping[str, Any], ...]
    class_names: tuple[str, ...] = CLASSES
    has_video: bool = True

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.examples[index]

    def describe(self, index: int) -> str:
        """Names a recording."""
        return self.examples[index]["id"]

    def ids_digest(self) -> str:
        """As `Recordings` has it."""
        return fingerprint(each["id"] for each in self.examples).ids


@dataclasses.dataclass(frozen=True, kw_only=True)
class InMemory(RecordingsConfig):
    """Opens `Stored`."""

    def open(self, split: str) -> Stored:  # type: ignore[override]
        """Opens "train" or "test"."""
        if split not in ("train", "test"):
            raise DataError(f"no split {split!r}")
        return Stored(tuple(recording(f"{split}-{k:05}") for k in range(3)))
