"""Perceiver and Perceiver IO in JAX and Haiku: both papers' models, a trainer, and experiments.

model = perceiver_jax.build("imagenet_fourier")
params, state = model.init(jax.random.key(0))
logits, state = model.apply(params, state, None, images)
"""

from typing import TYPE_CHECKING, Any

from perceiver_jax._version import __version__

if TYPE_CHECKING:
    from perceiver_jax.checkpoints.load import load_checkpoint
    from perceiver_jax.zoo import Model, build, list_models

__all__ = ["Model", "__version__", "build", "list_models", "load_checkpoint"]


def __getattr__(name: str) -> Any:
    """Imports the zoo, and with it JAX, when it is first used: entry points answer at once."""
    if name in ("Model", "build", "list_models"):
        from perceiver_jax import zoo

        return getattr(zoo, name)
    if name == "load_checkpoint":
        from perceiver_jax.checkpoints.load import load_checkpoint

        return load_checkpoint
    raise AttributeError(f"module 'perceiver_jax' has no attribute {name!r}")
