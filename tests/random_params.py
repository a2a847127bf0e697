"""Parameters for tests: none is zero, and drawing them compiles nothing."""

import math
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import numpy as np

import perceiver_jax


def random_params(
    init: Callable[..., Any], *args: Any, seed: int = 0
) -> dict[str, dict[str, np.ndarray]]:
    """Draws what `init(key, *args)` would make, for a function or an `hk.Transformed.init`."""
    return draw(jax.eval_shape(init, jax.random.key(0), *args), seed)


def model_params(model: perceiver_jax.Model, seed: int = 0) -> tuple[Any, Any]:
    """Parameters and state of a model."""
    params, state = model.abstract_params()
    # Averages of squares, among the state, must be positive.
    return draw(params, seed), jax.tree.map(lambda x: np.ones(x.shape, x.dtype), state)


def draw(shapes: Any, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Draws a tree of parameters: weights that keep the size of what they multiply, and so on."""
    rng = np.random.default_rng(seed)

    def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
        z = rng.standard_normal(shape)
        if name == "w":
            z /= math.sqrt(math.prod(shape[:-1]))
        elif name == "scale":
            z = 1 + 0.1 * z
        elif name not in ("pos_embs", "embeddings"):
            z *= 0.1
        return z.astype(np.float32)

    return {
        module: {name: value(name, x.shape) for name, x in sorted(entries.items())}
        for module, entries in sorted(shapes.items())
    }


def transformed(function: Callable[..., Any], *args: Any, seed: int = 0) -> tuple[Any, Any]:
    """Parameters of a function that makes stateless modules, and the function as one of them.

    Returns:
      The parameters, and `call(params, *args, rng=None)`, compiled.
    """
    f = hk.transform(function)
    params = random_params(f.init, *args, seed=seed)
    return params, jax.jit(lambda params, *args, rng=None: f.apply(params, rng, *args))
