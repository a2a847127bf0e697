"""Every model that the papers name, as typed configs, and `build`."""

from perceiver_jax.zoo.model import Model, ModelConfig, count
from perceiver_jax.zoo.registry import build, get_config, list_models

__all__ = ["Model", "ModelConfig", "build", "count", "get_config", "list_models"]
