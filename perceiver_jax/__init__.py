"""Perceiver and Perceiver IO in JAX and Haiku: exact, complete, fast.

model = perceiver_jax.build("imagenet_fourier")
params, state = model.init(jax.random.key(0))
logits, state = model.apply(params, state, None, images)
"""

from perceiver_jax._version import __version__
from perceiver_jax.zoo import Model, build, list_models

__all__ = ["Model", "__version__", "build", "list_models"]
