"""What a task is: which parts of a batch the model sees, and how its outputs are judged."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.errors import ConfigError

Batch = Mapping[str, Any]  # Arrays by name, each [B, ...].


def pick(batch: Batch, key: str, field: str) -> Any:
    """Returns what a batch holds under `key`: an array, or a dict of arrays by modality.

    Args:
      batch: the batch.
      key: the name.
      field: the field of the config that says so, for the error.

    Raises:
      ConfigError: nothing of that name.
    """
    if key not in batch:
        raise ConfigError(
            f"{field}={key!r}, and the data set's examples have no {key!r}; they have: "
            f"{', '.join(map(repr, batch))}."
        )
    return batch[key]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A mean that can be continued over batches and devices: a weighted sum and its weight."""

    total: jax.Array  # [] float32: sum of weight * value.
    weight: jax.Array  # [] float32: sum of weights.

    @classmethod
    def of(
        cls,
        values: jax.Array,  # [B, ...]
        mask: jax.Array | None = None,  # Broadcasts to values: 0 leaves a value out.
    ) -> "Mean":
        """Returns the mean of `values` in float32, over those that `mask` keeps."""
        values = values.astype(jnp.float32)
        if mask is None:
            return cls(jnp.sum(values), jnp.asarray(values.size, jnp.float32))
        weights = jnp.broadcast_to(mask, values.shape).astype(jnp.float32)
        # where, not a product: a padded example may have a loss of infinity, and 0 * inf is nan.
        return cls(jnp.sum(jnp.where(weights > 0, weights * values, 0.0)), jnp.sum(weights))

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.weight + other.weight)

    @property
    def value(self) -> jax.Array:
        """[] The mean; 0 where nothing was counted."""
        return self.total / jnp.maximum(self.weight, jnp.finfo(jnp.float32).tiny)


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """The arguments of a model for one batch."""

    inputs: tuple[Any, ...]  # Positional: arrays [B, ...], or a dict of them by modality.
    input_mask: jax.Array | None = None  # [B, M] True where an input may be attended to.
    query_mask: Any = None  # [B, O] True where an output is wanted; by modality if several.
    subsampled_output_points: Any = None  # Output indices by modality, where not all are wanted.

    def feed(self, apply: Callable[..., Any], params: Any, state: Any, rng: Any) -> Any:
        """Calls a model's `apply`, or a partial of it that has its other options, with these."""
        return apply(
            params,
            state,
            rng,
            *self.inputs,
            input_mask=self.input_mask,
            query_mask=self.query_mask,
            subsampled_output_points=self.subsampled_output_points,
        )


@dataclasses.dataclass(frozen=True)
class Headline:
    """The one number that sums up a run."""

    metric: str  # Its name among the metrics, such as "top_1".
    title: str  # In words, such as "accuracy".
    is_fraction: bool = True  # Shown in per cent.
    higher_is_better: bool = True

    def show(self, value: float) -> str:
        """Returns the value as text."""
        return f"{value:.2%}" if self.is_fraction else f"{value:.4g}"


@runtime_checkable
class Task(Protocol):
    """Loss and metrics as pure functions. A task is a frozen dataclass, and so its own config.

    A batch may carry "mask" [B], 0 for examples that only pad the batch: they count for nothing.
    """

    @property
    def headline(self) -> Headline:
        """Which metric sums up a run."""

    def model_inputs(self, batch: Batch) -> ModelInputs:
        """Returns what the model sees of a batch."""

    def measure(self, outputs: Any, batch: Batch, *, is_training: bool) -> dict[str, Mean]:
        """Returns the metrics of a batch; "loss" is the one that training makes smaller."""


@runtime_checkable
class MakesBatches(Protocol):
    """A task that makes the batch it trains on out of the one that is read, on the devices.

    Optional: without it, training sees what is read. Evaluation always does.
    """

    @property
    def reads(self) -> int:
        """How many examples are read for each one that is trained on; they are neighbours."""

    def training_batch(self, batch: Batch, key: jax.Array) -> Batch:
        """Returns the batch [B, ...] to train on; a pure function, part of the training step.

        Args:
          batch: what was read, [B * reads, ...]; read examples i * reads to (i + 1) * reads - 1
            are for example i and lie on its device.
          key: a function of the run's seed and of the step; all that is random comes from it.
        """


def reads(task: Task) -> int:
    """Returns how many examples are read for each one that a task trains on."""
    return task.reads if isinstance(task, MakesBatches) else 1


def training_batch(task: Task, batch: Batch, key: jax.Array) -> Batch:
    """Returns what a task trains on, of a batch that was read; see `MakesBatches`."""
    return task.training_batch(batch, key) if isinstance(task, MakesBatches) else batch


@runtime_checkable
class MakesEvaluationBatches(Protocol):
    """A task that is evaluated on another batch than the one that is read, such as all of several
    clips of each example.

    Optional: without it, evaluation sees what is read.
    """

    def evaluation_batch(self, batch: Batch) -> Batch:
        """Returns the batch to evaluate, of what was read, [B, ...]; a pure function."""


def evaluation_batch(task: Task, batch: Batch) -> Batch:
    """Returns what a task is evaluated on, of a batch that was read."""
    return task.evaluation_batch(batch) if isinstance(task, MakesEvaluationBatches) else batch


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """What all examples of a split tell together."""

    metrics: dict[str, float]  # By name, as those of `Task.measure`.
    per_class: dict[str, np.ndarray]  # [classes] numbers by name; nan where a class has none.


@runtime_checkable
class Collects(Protocol):
    """A task with metrics that are no means over examples: they need a whole split at once.

    Optional. Such metrics are those of evaluations; a training step has none.
    """

    def collect(self, outputs: Any, batch: Batch) -> dict[str, jax.Array]:
        """Returns what is kept of each example, arrays [B, ...] by name; a pure function."""

    def summarize(self, arrays: Mapping[str, np.ndarray]) -> Summary:
        """Returns the metrics of a split.

        Args:
          arrays: what was collected, [examples, ...] by name: of every example of the split once,
            without those that only pad a batch and those that are corrupt. The result must not
            depend on their order, which is that of the devices.
        """
