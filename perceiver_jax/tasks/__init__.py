"""What is learned: losses and metrics as pure functions of (outputs, batch)."""

from perceiver_jax.tasks.base import Headline, Mean, ModelInputs, Task
from perceiver_jax.tasks.classification import ClassificationConfig
from perceiver_jax.tasks.multilabel import MultilabelConfig

__all__ = ["ClassificationConfig", "Headline", "Mean", "ModelInputs", "MultilabelConfig", "Task"]
