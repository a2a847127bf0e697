"""A set of clouds in memory, in place of one on disk."""

import dataclasses

import numpy as np

from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.source import Example
from perceiver_jax.errors import DataError

SIZES = {"train": 12, "test": 6}
CLASSES = ("flat", "long", "tall")


@dataclasses.dataclass(frozen=True)
class StoredClouds:
    """Clouds of three shapes, far from 0 and of any size, as meshes are."""

    split: str
    num_points: int
    class_names: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return SIZES[self.split]

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([index, len(self.split)])
        label = index % 3
        spread = np.array([[5.0, 5.0, 0.5], [5.0, 1.0, 1.0], [1.0, 1.0, 5.0]])[label]
        points = 100.0 * rng.uniform(0.5, 2.0) + spread * rng.uniform(-1, 1, (self.num_points, 3))
        return {"points": points.astype(np.float32), "label": np.int32(label)}

    def describe(self, index: int) -> str:
        """Names the mesh that a cloud might come from."""
        return f"{CLASSES[index % 3]}_{index:04}.off"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InMemory(ModelNetConfig):
    """Opens `StoredClouds`."""

    stored: int = 200  # Points of each cloud.

    def open(self, split: str) -> StoredClouds:  # type: ignore[override]
        """Opens "train" or "test"."""
        if split not in SIZES:
            raise DataError(f"no split {split!r}")
        return StoredClouds(split, self.stored)
