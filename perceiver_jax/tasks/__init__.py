"""What is learned: losses and metrics as pure functions of (outputs, batch)."""

from perceiver_jax.tasks.base import (
    Collects,
    Headline,
    MakesBatches,
    MakesEvaluationBatches,
    Mean,
    ModelInputs,
    Summary,
    Task,
)
from perceiver_jax.tasks.classification import ClassificationConfig
from perceiver_jax.tasks.mixing import MixConfig
from perceiver_jax.tasks.multilabel import MultilabelConfig

__all__ = [
    "ClassificationConfig",
    "Collects",
    "Headline",
    "MakesBatches",
    "MakesEvaluationBatches",
    "Mean",
    "MixConfig",
    "ModelInputs",
    "MultilabelConfig",
    "Summary",
    "Task",
]
