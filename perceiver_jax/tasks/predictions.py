"""What a model said of single examples, for reports. Every method here is optional for a task.

A task that has `predictions` gets the parts of the report that show single examples; which ones
depends on the class that it returns.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from perceiver_jax.tasks.base import Batch


@runtime_checkable
class Predicts(Protocol):
    """A task that can say what was predicted for each example."""

    def predictions(self, outputs: Any, batch: Batch) -> Any:
        """Returns a tree of arrays, each [B, ...], such as `ClassPredictions`; a pure function."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClassPredictions:
    """One label and the best guesses for each example. K guesses, the best one first."""

    labels: jax.Array  # [B] int32
    label_probabilities: jax.Array  # [B] float32: what the label was given.
    guesses: jax.Array  # [B, K] int32: classes.
    guess_probabilities: jax.Array  # [B, K] float32
    num_classes: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(
        cls,
        logits: jax.Array,  # [B, classes]
        labels: jax.Array,  # [B] int
        num_guesses: int = 3,
    ) -> "ClassPredictions":
        """Returns the predictions that logits are; of equal logits the lower class is first."""
        probabilities = jax.nn.softmax(logits.astype(jnp.float32))
        best, classes = jax.lax.top_k(probabilities, min(num_guesses, logits.shape[-1]))
        at_label = jnp.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]
        return cls(
            labels=labels.astype(jnp.int32),
            label_probabilities=at_label,
            guesses=classes.astype(jnp.int32),
            guess_probabilities=best,
            num_classes=logits.shape[-1],
        )
