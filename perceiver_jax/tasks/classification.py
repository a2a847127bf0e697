"""One label for each example: softmax cross-entropy, top-1 and top-k accuracy."""

import dataclasses

import jax
import jax.numpy as jnp

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Batch, Headline, Mean, ModelInputs, pick
from perceiver_jax.tasks.predictions import ClassPredictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Classification with one label for each example (Perceiver, 4.1; Perceiver IO, App. A)."""

    num_classes: int  # Width of the logits.
    label_smoothing: float = 0.0  # Weight of the uniform target, in training only.
    top_k: int | None = 5  # A second accuracy: the label is among the k best. None: left out.
    input_key: str = "image"  # What the model sees of a batch: an array, or a dict by modality.
    label_key: str = "label"  # [B] int labels.

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ConfigError(f"task.num_classes={self.num_classes} must be at least 2.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"task.label_smoothing={self.label_smoothing} must lie in [0, 1).")
        if self.top_k is not None and not 1 < self.top_k < self.num_classes:
            raise ConfigError(
                f"task.top_k={self.top_k} says nothing with {self.num_classes} classes: choose "
                f"2 to {self.num_classes - 1}, or none."
            )

    @property
    def headline(self) -> Headline:
        """Accuracy of the best guess."""
        return Headline("top_1", "accuracy")

    def model_inputs(self, batch: Batch) -> ModelInputs:
        """Returns what stands under `input_key`.

        Raises:
          ConfigError: the batch has nothing of that name.
        """
        return ModelInputs((pick(batch, self.input_key, "task.input_key"),))

    def measure(
        self,
        outputs: jax.Array,  # [B, num_classes] logits
        batch: Batch,
        *,
        is_training: bool,
    ) -> dict[str, Mean]:
        """Returns "loss", "top_1" and, if asked for, the accuracy among the k best.

        The loss is smoothed in training only, so that evaluation losses of different smoothing
        can be compared.

        Raises:
          ConfigError: the logits have another width than `num_classes`, or there are no labels.
        """
        labels = pick(batch, self.label_key, "task.label_key")  # [B]
        mask = batch.get("mask")  # [B] or None
        if outputs.shape != (*labels.shape, self.num_classes):
            raise ConfigError(
                f"The model returns {outputs.shape} and the labels are {labels.shape}: with "
                f"task.num_classes={self.num_classes} the model must return "
                f"{(*labels.shape, self.num_classes)}. Give the model's decoder as many outputs "
                "as the task has classes."
            )
        log_probs = jax.nn.log_softmax(outputs.astype(jnp.float32))  # [B, num_classes]
        at_label = jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]  # [B]
        smoothing = self.label_smoothing if is_training else 0.0
        loss = -at_label
        if smoothing:
            # Target (1 - s) * onehot + s / num_classes.
            loss = -(1.0 - smoothing) * at_label - smoothing * jnp.mean(log_probs, axis=-1)
        # Rank of the label: how many classes it does not beat. A tie goes to the lower index, as a
        # sort that keeps the order would have it. Written so that nan beats nothing.
        later = jnp.arange(self.num_classes) >= labels[:, None]  # itself included
        own = at_label[:, None]
        beaten = (log_probs < own) | ((log_probs == own) & later)  # [B, num_classes]
        rank = self.num_classes - jnp.sum(beaten, axis=-1)  # [B]
        metrics = {"loss": Mean.of(loss, mask), "top_1": Mean.of(rank < 1, mask)}
        if self.top_k is not None:
            metrics[f"top_{self.top_k}"] = Mean.of(rank < self.top_k, mask)
        return metrics

    def predictions(
        self,
        outputs: jax.Array,  # [B, num_classes] logits
        batch: Batch,
    ) -> ClassPredictions:
        """Returns the three best guesses for each example, for reports."""
        return ClassPredictions.of(outputs, pick(batch, self.label_key, "task.label_key"))
