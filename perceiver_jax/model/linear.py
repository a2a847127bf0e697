"""Linear layers whose backward pass does not copy what it needs.

The derivative of `x @ w` by w contracts all leading axes of x. Left to automatic differentiation,
XLA's CPU backend makes a transposed copy of x for that, and fuses into the copy the whole residual
chain that produced x; layer after layer then recomputes everything before it. Contracting the
flattened leading axes directly avoids this (`python -m benchmarks.linear` measures it). Values and
gradients are the same on every backend.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def matmul(x: jax.Array, w: jax.Array) -> jax.Array:  # [..., i], [i, o] -> [..., o]
    """`x @ w`. Differentiable in reverse mode, any number of times."""
    return x @ w


def _matmul_forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return matmul(x, w), (x, w)


def _matmul_backward(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, w = residuals
    dx = matmul(cotangent, w.T)
    dw = lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        cotangent.reshape(-1, cotangent.shape[-1]),
        dimension_numbers=(((0,), (0,)), ((), ())),
    )
    return dx.astype(x.dtype), dw.astype(w.dtype)


matmul.defvjp(_matmul_forward, _matmul_backward)


@dataclasses.dataclass
class Linear(hk.Module):
    """A linear layer with Haiku's names and initialisation, and the backward pass above."""

    output_size: int  # Width of the output.
    with_bias: bool = True  # Whether a bias is added.
    w_init: hk.initializers.Initializer | None = None  # Default: truncated normal, std fan_in^-0.5.
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., i] -> [..., output_size]
        """Applies the layer to the last axis."""
        fan_in = x.shape[-1]
        w_init = self.w_init or hk.initializers.TruncatedNormal(stddev=fan_in**-0.5)
        out = matmul(x, hk.get_parameter("w", [fan_in, self.output_size], x.dtype, init=w_init))
        if self.with_bias:
            bias = hk.get_parameter("b", [self.output_size], x.dtype, init=jnp.zeros)
            out = out + jnp.broadcast_to(bias, out.shape)
        return out
