"""What the backward pass of `model/linear.py` saves on this machine.

    python -m benchmarks.linear [--layers=6] [--channels=256] [--rows=512] [--repeats=9]

Times value and gradient of a residual tower of linear layers and GELUs, with `linear.matmul` and
with plain `x @ w`, in turn; prints medians and their ratio.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from perceiver_jax.errors import run_main
from perceiver_jax.model.linear import matmul

_LAYERS = flags.DEFINE_integer("layers", 6, "Residual layers of two matrix products each.")
_CHANNELS = flags.DEFINE_integer("channels", 256, "Width of the tower.")
_ROWS = flags.DEFINE_integer("rows", 512, "Rows of each of four examples.")
_REPEATS = flags.DEFINE_integer("repeats", 9, "Timed runs of each.")


def tower(product: Callable[[jax.Array, jax.Array], jax.Array]) -> Callable[..., jax.Array]:
    """The sum of squares of a residual tower's output, as a function of weights and input."""

    def loss(weights: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
        for up, down in weights:
            normed = (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)
            x = x + product(jax.nn.gelu(product(normed, up)), down)
        return jnp.square(x).mean()

    return loss


def main(argv: Sequence[str]) -> None:
    del argv
    rng = np.random.default_rng(0)
    width = _CHANNELS.value
    x = jnp.asarray(rng.standard_normal((4, _ROWS.value, width)), jnp.float32)
    weights = [
        tuple(
            jnp.asarray(rng.standard_normal((width, width)) / width**0.5, jnp.float32)
            for _ in range(2)
        )
        for _ in range(_LAYERS.value)
    ]
    steps, compiled, seconds = {}, {}, {}
    for name, product in (("linear.matmul", matmul), ("x @ w", jnp.matmul)):
        start = time.perf_counter()
        steps[name] = jax.jit(jax.value_and_grad(tower(product))).lower(weights, x).compile()
        compiled[name] = time.perf_counter() - start
        jax.block_until_ready(steps[name](weights, x))
        seconds[name] = []
    for _ in range(_REPEATS.value):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(weights, x))
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, value in median.items():
        print(f"{name:14} compile {compiled[name]:6.2f} s   step {1e3 * value:8.1f} ms")
    print(f"ratio of steps {median['linear.matmul'] / median['x @ w']:.2f}")


if __name__ == "__main__":
    run_main(main)
