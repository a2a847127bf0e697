"""Several independent labels for each example: sigmoid cross-entropy."""

import dataclasses

import jax
import jax.numpy as jnp

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Batch, Headline, Mean, ModelInputs, pick


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultilabelConfig:
    """Classification with any number of labels for each example (AudioSet; Perceiver, 4.2).

    The loss is the mean over classes, and over examples. Open: the paper does not say whether it
    is the mean or the sum over the 527 classes.

    Mean average precision is no mean over examples and is not among the metrics: it needs the
    scores of a whole split, which `scores` gives.
    """

    num_classes: int  # Width of the logits.
    input_key: str = "inputs"  # What the model sees of a batch: an array, or a dict by modality.
    label_key: str = "label"  # [B, num_classes] labels, 0 or 1.

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ConfigError(f"task.num_classes={self.num_classes} must be at least 1.")

    @property
    def headline(self) -> Headline:
        """How often the class that is thought most likely is one of the example's."""
        return Headline("precision_at_1", "precision at 1")

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
        """Returns "loss" and "precision_at_1".

        Raises:
          ConfigError: logits or labels are not `num_classes` wide, or there are no labels.
        """
        labels = pick(batch, self.label_key, "task.label_key")  # [B, num_classes]
        mask = batch.get("mask")  # [B] or None
        if outputs.shape[-1:] != (self.num_classes,) or outputs.shape != labels.shape:
            raise ConfigError(
                f"The model returns {outputs.shape} and the labels are {labels.shape}: with "
                f"task.num_classes={self.num_classes} both must be (batch, {self.num_classes}). "
                "Give the model's decoder as many outputs as the task has classes; labels are 0 "
                "or 1 for every class."
            )
        logits = outputs.astype(jnp.float32)
        if mask is not None:
            # An infinite logit of padding would make its gradient nan, and 0 * nan is nan.
            logits = jnp.where(mask[:, None] > 0, logits, 0.0)
        is_label = labels > 0
        # -log p of what is true of every class; the sign is exact, and log_sigmoid never overflows.
        losses = -jax.nn.log_sigmoid(jnp.where(is_label, logits, -logits))  # [B, num_classes]
        best = jnp.argmax(logits, axis=-1)  # [B]; nan counts as largest ...
        hit = jnp.take_along_axis(is_label, best[:, None], axis=-1)[:, 0]
        hit &= ~jnp.isnan(logits).any(axis=-1)  # ... and is never right.
        return {
            "loss": Mean.of(jnp.mean(losses, axis=-1), mask),
            "precision_at_1": Mean.of(hit, mask),
        }

    def scores(self, outputs: jax.Array) -> jax.Array:
        """Returns the probability of every class, [B, num_classes] float32."""
        return jax.nn.sigmoid(outputs.astype(jnp.float32))
