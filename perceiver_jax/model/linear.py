"""Linear layers whose backward pass does not copy what it needs.

The derivative of `x @ w` by w contracts all leading axes of x. Left to automatic differentiation,
XLA's CPU backend makes a transposed copy of x for that, and fuses into the copy the whole residual
chain that produced x; layer after layer then recomputes everything before it. Contracting the
flattened leading axes directly avoids this (`python -m benchmarks.linear` measures it). Likewise
the derivative by a bias, a sum over rows, is a product with a row of ones on CPUs: their compiler
walks down the columns one by one otherwise, which takes as long as a large product. Values and
gradients are the same on every backend.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.model import routes

LINEAR = "linear"  # What policies of recomputation know the products of linear layers by.


@jax.custom_vjp
def matmul(x: jax.Array, w: jax.Array) -> jax.Array:  # [..., i], [i, o] -> [..., o]
    """`x @ w` in the dtype of `x`. Differentiable in reverse mode, any number of times.

    Where `w` is wider than `x`, so is its gradient: the products of bfloat16 activations are added
    up, and over devices too, in the float32 of the parameters.
    """
    return x @ w.astype(x.dtype)


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
        preferred_element_type=w.dtype,
    )
    return dx, dw


matmul.defvjp(_matmul_forward, _matmul_backward)


@jax.custom_vjp
def affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:  # [..., i], [i, o], [o]
    """`x @ w + b` in the dtype of `x`, with gradients like those of `matmul`."""
    return matmul(x, w) + b.astype(x.dtype)


def _affine_forward(
    x: jax.Array, w: jax.Array, b: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    return affine(x, w, b), (x, w, b)


def _affine_backward(
    residuals: tuple[jax.Array, jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, w, b = residuals
    return *_matmul_backward((x, w), cotangent), sum_rows(cotangent, b.dtype)


affine.defvjp(_affine_forward, _affine_backward)


def sum_rows(x: jax.Array, dtype: jnp.dtype) -> jax.Array:  # [..., c] -> [c]
    """The sum over all axes but the last, added up in `dtype`."""
    rows = x.reshape(-1, x.shape[-1])

    def as_product(rows: jax.Array) -> jax.Array:
        return lax.dot_general(
            jnp.ones((1, rows.shape[0]), rows.dtype),
            rows,
            dimension_numbers=(((1,), (0,)), ((), ())),
            preferred_element_type=dtype,
        )[0]

    def as_sum(rows: jax.Array) -> jax.Array:
        return jnp.sum(rows, axis=0, dtype=dtype)

    return lax.platform_dependent(rows, cpu=as_product, default=as_sum)


@dataclasses.dataclass
class Linear(hk.Module):
    """A linear layer with Haiku's names and initialisation, and the backward pass above."""

    output_size: int  # Width of the output.
    with_bias: bool = True  # Whether a bias is added.
    w_init: hk.initializers.Initializer | None = None  # Default: truncated normal, std fan_in^-0.5.
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., i] -> [..., output_size]
        """Applies the layer to the last axis."""
        w, b = self.parameters(x.shape[-1], x.dtype)
        if routes.chosen() == "plain":
            out = x @ w.astype(x.dtype)
            out = out if b is None else out + b.astype(x.dtype)
        else:
            out = matmul(x, w) if b is None else affine(x, w, b)
        return checkpoint_name(out, LINEAR)

    def parameters(
        self, fan_in: int, dtype: jnp.dtype = jnp.float32
    ) -> tuple[jax.Array, jax.Array | None]:  # [fan_in, output_size], [output_size]
        """Weights and bias alone, for who folds them into something else."""
        w_init = self.w_init or hk.initializers.TruncatedNormal(stddev=fan_in**-0.5)
        w = hk.get_parameter("w", [fan_in, self.output_size], dtype, init=w_init)
        if not self.with_bias:
            return w, None
        return w, hk.get_parameter("b", [self.output_size], dtype, init=jnp.zeros)
