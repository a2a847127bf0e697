"""One label for each example: softmax cross-entropy, top-1 and top-k accuracy."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Batch, Headline, Mean, ModelInputs, pick
from perceiver_jax.tasks.mixing import READS, Draws, MixConfig, mix_images, of_pairs
from perceiver_jax.tasks.predictions import ClassPredictions

# In a batch of mixed examples, beside the image and the label:
MIXED_LABEL = "mixed_label"  # [B] int: the label of the other image.
RATIO = "ratio"  # [B] float32: how much of the target is the label's; the rest is the other's.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """Classification with one label for each example (Perceiver, 4.1; Perceiver IO, App. A).

    With `mixing`, two examples that are read make one to train on; see `tasks/mixing.py`.
    """

    num_classes: int  # Width of the logits.
    label_smoothing: float = 0.0  # Weight of the uniform target, in training only.
    top_k: int | None = 5  # A second accuracy: the label is among the k best. None: left out.
    input_key: str = "image"  # What the model sees of a batch: an array, or a dict by modality.
    label_key: str = "label"  # [B] int labels.
    mixing: MixConfig | None = None  # MixUp and CutMix, in training only; None: neither.

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ConfigError(f"task.num_classes={self.num_classes} must be at least 2.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"task.label_smoothing={self.label_smoothing} must lie in [0, 1).")
        if self.top_k is not None and not 1 < self.top_k < self.num_classes:
            raise ConfigError(
                f"task.top_k={self.top_k} says nothing with {self.num_classes} classes: give "
                "--config.task.top_k=none"
                + (f", or 2 to {self.num_classes - 1}." if self.num_classes > 3 else ".")
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

    @property
    def reads(self) -> int:
        """Examples read for each one that is trained on."""
        return 1 if self.mixing is None else READS

    def training_batch(self, batch: Batch, key: jax.Array) -> Batch:
        """Mixes neighbours, if `mixing` says so: the batch [2B, ...] becomes [B, ...].

        What comes out has the images and the first of each two labels under the names they had,
        the second as "mixed_label" and the first's share as "ratio" [B] float32; and "mask", if
        there was one: an example counts if both it is made of do. All else is left out.

        Raises:
          ConfigError: the inputs are not images [y, x, c], or the labels not one for each.
        """
        if self.mixing is None:
            return batch
        images = pick(batch, self.input_key, "task.input_key")  # [2B, y, x, c]
        labels = pick(batch, self.label_key, "task.label_key")  # [2B]
        if isinstance(images, Mapping) or jnp.ndim(images) != 4 or jnp.ndim(labels) != 1:
            shapes = jax.tree.map(lambda array: jnp.shape(array)[1:], images)
            raise ConfigError(
                f"task.mixing mixes images [y, x, c] with one label each; {self.input_key!r} of an "
                f"example is {shapes} and {self.label_key!r} {jnp.shape(labels)[1:]}. Use "
                "--config.task.mixing=none with them."
            )
        images, labels = jnp.asarray(images), jnp.asarray(labels)
        draws = Draws.of(self.mixing, key, len(images) // READS)
        first, second = of_pairs(labels)
        mixed = {
            self.input_key: mix_images(images, draws),
            self.label_key: first,
            MIXED_LABEL: second,
            RATIO: draws.ratio(*images.shape[1:3]),
        }
        if "mask" in batch:
            both = of_pairs(jnp.asarray(batch["mask"]))
            mixed["mask"] = both[0] * both[1]
        return mixed

    def measure(
        self,
        outputs: jax.Array,  # [B, num_classes] logits
        batch: Batch,
        *,
        is_training: bool,
    ) -> dict[str, Mean]:
        """Returns "loss", "top_1" and, if asked for, the accuracy among the k best.

        The loss is smoothed in training only, so that evaluation losses of different smoothing
        can be compared. Where the batch has "mixed_label" and "ratio", the target is ratio of the
        one label and 1 - ratio of the other, smoothed after that, and the label for accuracies is
        the one that weighs more (the first, if they weigh the same).

        Raises:
          ConfigError: the logits have another width than `num_classes`, or there are no labels.
        """
        labels = pick(batch, self.label_key, "task.label_key")  # [B]
        mask = batch.get("mask")  # [B] or None
        if outputs.shape != (*labels.shape, self.num_classes):
            raise ConfigError(
                f"The model returns {outputs.shape} and the labels are {labels.shape}: with "
                f"task.num_classes={self.num_classes} the model must return "
                f"{(*labels.shape, self.num_classes)}. Give the model as many outputs as the "
                f"task has classes: --config.model.decoder.num_classes={self.num_classes}, or for "
                f"baselines --config.model.num_classes={self.num_classes}."
            )
        log_probs = jax.nn.log_softmax(outputs.astype(jnp.float32))  # [B, num_classes]
        at_label = _at(log_probs, labels)  # [B]
        smoothing = self.label_smoothing if is_training else 0.0
        loss = -at_label
        if MIXED_LABEL in batch:
            other, ratio = batch[MIXED_LABEL], batch[RATIO]  # [B], [B]
            at_other = _at(log_probs, other)
            loss = -(ratio * at_label + (1.0 - ratio) * at_other)
            labels = jnp.where(ratio >= 0.5, labels, other)
            at_label = jnp.where(ratio >= 0.5, at_label, at_other)
        if smoothing:
            # Target (1 - s) * onehot + s / num_classes.
            loss = (1.0 - smoothing) * loss - smoothing * jnp.mean(log_probs, axis=-1)
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


def _at(log_probs: jax.Array, labels: jax.Array) -> jax.Array:  # [B, classes], [B] -> [B]
    return jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]
