"""What is measured: a model, a mode and a batch; and random examples for it.

Needs NumPy alone, so that every contender makes the same examples in its own process.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

MODELS = ("imagenet_fourier", "perceiver_imagenet", "mlm", "optical_flow", "video_autoencoding")
Mode = Literal["forward", "train"]
MODES: tuple[Mode, ...] = ("forward", "train")
# Outputs of each kind that the training of the video autoencoder decodes (Perceiver IO, App. I).
TRAIN_POINTS = 512


@dataclasses.dataclass(frozen=True)
class Work:
    """One piece of work that all contenders do."""

    model: str  # A name of the zoo.
    mode: Mode  # forward: all outputs; train: the loss and its gradients for all parameters.
    batch: int  # Examples.
    changes: Mapping[str, str] = dataclasses.field(default_factory=dict)  # Of the model's config.


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """A random array."""

    shape: tuple[int, ...]
    below: int | None = None  # Whole numbers from 0 to this, exclusive; None: normal floats.

    def make(self, rng: np.random.Generator) -> np.ndarray:
        """Draws it."""
        if self.below is None:
            return rng.standard_normal(self.shape, np.float32)
        return rng.integers(0, self.below, self.shape, np.int32)


@dataclasses.dataclass(frozen=True)
class Description:
    """What a contender needs to know of a piece of work; made by `reference_worker.describe`."""

    work: Work
    gflop: float  # Of the model's mathematics, for one run; `report/flops.py` counts.
    config: Mapping[str, Any]  # The model's, with all changes, as JSON.
    inputs: Mapping[str, ArraySpec]  # By modality; "inputs" where there is one.
    targets: Mapping[str, ArraySpec]  # By output; "outputs" where there is one.
    # By output, for a model whose outputs are too many to be computed at once: how many there are,
    # and how many a call of the released procedure computes. Empty for other models.
    chunks: Mapping[str, tuple[int, int]]
    # The class of transformers and its config, or why there is none: "architecture", "fields";
    # "refused".
    huggingface: Mapping[str, Any]

    @property
    def num_calls(self) -> int:
        """Calls of the whole model that the released procedure makes for all outputs."""
        if self.work.mode == "train" or not self.chunks:
            return 1
        return max(-(-total // size) for total, size in self.chunks.values())

    def points(self, call: int) -> dict[str, np.ndarray]:
        """The outputs that a call computes, as flat indices; empty where it computes all."""
        if self.work.mode == "train":
            rng = np.random.default_rng(1)
            return {
                name: rng.choice(total, min(total, TRAIN_POINTS), replace=False).astype(np.int32)
                for name, (total, _) in self.chunks.items()
            }
        return {
            name: np.minimum(np.arange(size, dtype=np.int32) + call * size, total - 1)
            for name, (total, size) in self.chunks.items()
        }

    def make_inputs(self) -> dict[str, np.ndarray]:
        """Random inputs, equal in all processes."""
        rng = np.random.default_rng(2)
        return {name: spec.make(rng) for name, spec in self.inputs.items()}

    def make_targets(self) -> dict[str, np.ndarray]:
        """Random targets of the outputs in training, equal in all processes."""
        rng = np.random.default_rng(3)
        return {name: spec.make(rng) for name, spec in self.targets.items()}


def to_json(description: Description) -> dict[str, Any]:
    """A description as JSON has it."""
    return dataclasses.asdict(description)


def from_json(data: Mapping[str, Any]) -> Description:
    """What `to_json` gave."""

    def specs(name: str) -> dict[str, ArraySpec]:
        return {
            key: ArraySpec(tuple(spec["shape"]), spec["below"]) for key, spec in data[name].items()
        }

    return Description(
        **{
            **data,
            "work": Work(**data["work"]),
            "inputs": specs("inputs"),
            "targets": specs("targets"),
            "chunks": {name: (total, size) for name, (total, size) in data["chunks"].items()},
        }
    )
