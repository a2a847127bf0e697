"""Several independent labels for each example: sigmoid cross-entropy, mean average precision."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.average_precision import Ranking
from perceiver_jax.tasks.base import Batch, Headline, Mean, ModelInputs, Summary, pick


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultilabelConfig:
    """Classification with any number of labels for each example (AudioSet; Perceiver, 4.2).

    The loss is the mean over classes, and over examples. Open: the paper does not say whether it
    is the mean or the sum over the 527 classes.

    With `clips`, an example that is evaluated is several clips of one recording, and its
    probabilities are the means of theirs: all evaluation metrics, the loss too, are of these means
    (the paper averages over 16 clips). An example to train on is a single clip all the same.
    """

    num_classes: int  # Width of the logits.
    input_key: str = "inputs"  # What the model sees of a batch: an array, or a dict by modality.
    label_key: str = "label"  # [B, num_classes] labels, 0 or 1.
    clips: int | None = None  # Evaluation inputs are [B, clips, ...]; None: [B, ...].

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ConfigError(f"task.num_classes={self.num_classes} must be at least 1.")
        if self.clips is not None and self.clips < 1:
            raise ConfigError(
                f"task.clips={self.clips} must be at least 1, or none for inputs that are not cut "
                "into clips."
            )

    @property
    def headline(self) -> Headline:
        """The mean over classes of their average precisions (Perceiver, Table 3)."""
        return Headline("mean_average_precision", "mAP")

    def model_inputs(self, batch: Batch) -> ModelInputs:
        """Returns what stands under `input_key`.

        Raises:
          ConfigError: the batch has nothing of that name.
        """
        return ModelInputs((pick(batch, self.input_key, "task.input_key"),))

    def evaluation_batch(self, batch: Batch) -> Batch:
        """Returns a batch whose inputs are clips, [B * clips, ...]; all else stays [B, ...].

        Raises:
          ConfigError: the inputs are not [B, clips, ...].
        """
        if self.clips is None:
            return batch
        inputs = pick(batch, self.input_key, "task.input_key")
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(inputs)]
        for shape in shapes:
            if shape[1:2] != (self.clips,):
                raise ConfigError(
                    f"task.clips={self.clips}, and the {self.input_key!r} of a batch to evaluate "
                    f"are {' and '.join(map(str, shapes))}: their second axis must be the clips. "
                    "Let the data cut as many clips of each recording to evaluate, or give "
                    "--config.task.clips=none if they cut none."
                )

        def flat(leaf: jax.Array) -> jax.Array:  # [B, clips, ...] -> [B * clips, ...]
            return jnp.reshape(leaf, (-1, *jnp.shape(leaf)[2:]))

        return {**batch, self.input_key: jax.tree.map(flat, inputs)}

    def measure(
        self,
        outputs: jax.Array,  # [B, num_classes] logits; in evaluation [B * clips, num_classes]
        batch: Batch,
        *,
        is_training: bool,
    ) -> dict[str, Mean]:
        """Returns "loss" and "precision_at_1": how often the likeliest class is a label.

        Where each example has one label, the second is its accuracy.

        Raises:
          ConfigError: logits or labels are not `num_classes` wide, or there are no labels.
        """
        mask = batch.get("mask")  # [B] or None
        is_label, logits = self._checked(outputs, batch, None if is_training else self.clips)
        if mask is not None:
            # An infinite logit of padding would make its gradient nan, and 0 * nan is nan.
            logits = jnp.where(mask[:, None, None] > 0, logits, 0.0)
        # -log p of what is true of every class; the sign is exact, and log_sigmoid never overflows.
        signed = jnp.where(is_label[:, None], logits, -logits)  # [B, clips, num_classes]
        losses = -_log_mean(jax.nn.log_sigmoid(signed))  # [B, num_classes]
        odds = _log_odds(logits)  # [B, num_classes]
        best = jnp.argmax(odds, axis=-1)  # [B]; nan counts as largest ...
        hit = jnp.take_along_axis(is_label, best[:, None], axis=-1)[:, 0]
        hit &= ~jnp.isnan(odds).any(axis=-1)  # ... and is never right.
        return {
            "loss": Mean.of(jnp.mean(losses, axis=-1), mask),
            "precision_at_1": Mean.of(hit, mask),
        }

    def collect(
        self,
        outputs: jax.Array,  # [B * clips, num_classes] logits
        batch: Batch,
    ) -> dict[str, jax.Array]:
        """Returns "scores" and "labels", [B, num_classes] float32 and booleans.

        Scores are log-odds: they rank examples as the probabilities do, and still tell them apart
        where probabilities are 1 to the last bit of a float32.

        Raises:
          ConfigError: see `measure`.
        """
        is_label, logits = self._checked(outputs, batch, self.clips)
        return {"scores": _log_odds(logits), "labels": is_label}

    def summarize(self, arrays: Mapping[str, np.ndarray]) -> Summary:
        """Returns the means over classes, and what they are means of.

        Args:
          arrays: of all examples, as `collect` returns them.

        Returns:
          The metrics of `average_precision.Ranking.means`, and "classes_without_positives": how
          many they leave out. For each class "positives", "average_precision" and "auc".
        """
        ranking = Ranking.of(arrays["scores"], arrays["labels"])
        return Summary(
            metrics={
                **ranking.means(len(arrays["labels"])),
                "classes_without_positives": ranking.without_positives,
            },
            per_class={
                "positives": ranking.positives,
                "average_precision": ranking.average_precision,
                "auc": ranking.auc,
            },
        )

    def _checked(
        self, outputs: jax.Array, batch: Batch, clips: int | None
    ) -> tuple[jax.Array, jax.Array]:
        """Returns labels [B, num_classes] booleans, logits [B, clips, num_classes] float32."""
        labels = pick(batch, self.label_key, "task.label_key")  # [B, num_classes]
        wanted = (len(labels) * (clips or 1), self.num_classes)
        if outputs.shape != wanted or labels.shape[1:] != (self.num_classes,):
            of_clips = "" if clips is None else f", for clips (batch * {clips}, {self.num_classes})"
            raise ConfigError(
                f"The model returns {outputs.shape} and the labels are {labels.shape}: with "
                f"task.num_classes={self.num_classes} both must be (batch, {self.num_classes})"
                f"{of_clips}. Give the model as many outputs as the task has classes: "
                f"--config.model.decoder.num_classes={self.num_classes} for most. Labels are 0 or "
                "1 for every class."
            )
        logits = outputs.astype(jnp.float32).reshape(-1, clips or 1, self.num_classes)
        return labels > 0, logits


def _log_mean(logs: jax.Array) -> jax.Array:  # [B, clips, classes] -> [B, classes]
    """The logarithm of the mean over clips of what `logs` are logarithms of."""
    if logs.shape[1] == 1:
        return logs[:, 0]
    return jax.nn.logsumexp(logs, axis=1) - math.log(logs.shape[1])


def _log_odds(logits: jax.Array) -> jax.Array:  # [B, clips, classes] -> [B, classes]
    """The log-odds of the mean over clips of the probabilities."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return _log_mean(jax.nn.log_sigmoid(logits)) - _log_mean(jax.nn.log_sigmoid(-logits))
