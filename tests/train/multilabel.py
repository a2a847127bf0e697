"""A task with several labels, on data of which everything is known, for runs that a test can do."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.source import CorruptExample, Example
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.tasks import MultilabelConfig
from perceiver_jax.train.config import Constant, ExperimentConfig, Lamb, TrainerConfig

CLASSES = 10
CLIPS = 3
NEVER = 7  # No example has this label,
ALWAYS = 2  # and all have this one.
EXAMPLES = 83


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingsConfig:
    """Recordings of random clips whose first values tell the labels, more or less."""

    corrupt: tuple[int, ...] = ()  # These are, in the split "test".

    def make_source(self, split: str) -> "Recordings":
        return Recordings(self, split)

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        return {**example, "inputs": example["inputs"][rng.integers(CLIPS)]}

    def class_names(self) -> list[str]:
        return [f"sound {number}" for number in range(CLASSES)]


@dataclasses.dataclass(frozen=True)
class Recordings:
    config: RecordingsConfig
    split: str

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> Example:
        if self.split == "test" and index in self.config.corrupt:
            raise CorruptExample("no sound")
        rng = np.random.default_rng((self.split == "test", index))
        label = (rng.random(CLASSES) < 0.3).astype(np.float32)
        label[[NEVER, ALWAYS]] = 0, 1
        clips = rng.standard_normal((CLIPS, 64)).astype(np.float32)
        clips[:, :CLASSES] += label
        # Few different values in one order, so that means over clips are often the same to the bit;
        # and not on both sides of 0, where others would be the same but for rounding.
        return {"inputs": np.sort(np.round(clips), axis=0) + np.float32(0.2), "label": label}


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Lets `DigitsConfig` give the recordings: only the package's own configs can be saved."""
    recordings = RecordingsConfig()
    for name in ("make_source", "augment", "class_names"):
        method = getattr(recordings, name)
        patch.setattr(DigitsConfig, name, lambda self, *given, method=method: method(*given))


@dataclasses.dataclass(frozen=True)
class Identity:
    """A model that says of each class what the first of its inputs are."""

    def num_params(self) -> int:
        return 0

    def init(self, rng: jax.Array, *inputs: Any) -> tuple[Any, Any]:
        return {}, {}

    def apply(self, params: Any, state: Any, rng: Any, *inputs: Any, **_: Any) -> Any:
        return inputs[0][:, :CLASSES], state


def experiment(corrupt: tuple[int, ...] = (), **trainer: Any) -> ExperimentConfig:
    """A run of 12 steps; its model is to be given."""
    settings: dict[str, Any] = {
        "num_steps": 12, "batch_size": 8, "eval_batch_size": 16, "log_every": 4, "eval_every": 4,
        "checkpoint_every": 4, "reader_threads": 1, "report": False, **trainer,
    }  # fmt: skip
    return ExperimentConfig(
        name="several labels",
        model=ConvNetConfig(shape=(8, 8), num_classes=CLASSES),
        task=MultilabelConfig(num_classes=CLASSES, clips=CLIPS),
        data=RecordingsConfig(corrupt=corrupt),
        trainer=TrainerConfig(**settings),
        optimizer=Lamb(weight_decay=0.01),
        schedule=Constant(base_lr=0.05),
    )


def as_read(examples: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the inputs and the labels of examples of "test": [n, clips, 64], [n, classes]."""
    source = RecordingsConfig().make_source("test")
    read = [source[index] for index in examples]
    return np.stack([e["inputs"] for e in read]), np.stack([e["label"] for e in read])
