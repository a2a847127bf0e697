"""Layer norm over the channels, with a backward pass that costs what it must.

Ba, Kiros and Hinton, Layer Normalization, 2016, as in the released models: biased variance, eps
1e-5 inside the root, scale and offset. The backward pass is written out so that the sums over rows
are those of `linear.sum_rows`, and so that nothing is kept for it but the input and two numbers a
row.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.model import routes
from perceiver_jax.model.linear import LINEAR, sum_rows

EPS = 1e-5  # Added to the variance.

_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


@jax.custom_vjp
def normalise(
    x: jax.Array,  # [..., c]
    scale: jax.Array,  # [c]
    offset: jax.Array,  # [c]
) -> jax.Array:  # [..., c]
    """`x` with mean 0 and variance 1 over its channels, times `scale`, plus `offset`.

    Computed in the wider dtype of `x` and `scale`; the result has the dtype of `x`. Differentiable
    in reverse mode, any number of times.
    """
    return _normalise_forward(x, scale, offset)[0]


def _normalise_forward(
    x: jax.Array, scale: jax.Array, offset: jax.Array
) -> tuple[jax.Array, _Residuals]:
    wide = x.astype(jnp.promote_types(x.dtype, scale.dtype))
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=-1, keepdims=True)
    inverse = lax.rsqrt(variance + EPS)
    # Two numbers a row: kept wherever the results of linear layers are, and never computed again.
    mean, inverse = checkpoint_name(mean, LINEAR), checkpoint_name(inverse, LINEAR)
    out = (wide - mean) * inverse * scale + offset
    return out.astype(x.dtype), (x, scale, offset, mean, inverse)


def _normalise_backward(
    residuals: _Residuals, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, offset, mean, inverse = residuals
    normed = (x.astype(mean.dtype) - mean) * inverse
    cotangent = cotangent.astype(mean.dtype)
    by_scale = cotangent * normed
    # Means over the channels: what the derivatives of mean and variance take away.
    shift = _weighted_mean(cotangent, scale)
    slope = _weighted_mean(by_scale, scale)
    dx = inverse * (cotangent * scale - shift - normed * slope)
    return dx.astype(x.dtype), sum_rows(by_scale, scale.dtype), sum_rows(cotangent, offset.dtype)


def _weighted_mean(x: jax.Array, weights: jax.Array) -> jax.Array:  # [..., c], [c] -> [..., 1]
    """The mean over the channels of `x * weights`: a product on CPUs, as in `linear.sum_rows`."""
    weights = weights.astype(x.dtype) / x.shape[-1]

    def as_product(x: jax.Array, weights: jax.Array) -> jax.Array:
        return (x.reshape(-1, x.shape[-1]) @ weights).reshape(*x.shape[:-1], 1)

    def as_sum(x: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.sum(x * weights, axis=-1, keepdims=True)

    return lax.platform_dependent(x, weights, cpu=as_product, default=as_sum)


normalise.defvjp(_normalise_forward, _normalise_backward)


@dataclasses.dataclass
class LayerNorm(hk.Module):
    """Layer norm with Haiku's names and initial parameters, and the backward pass above."""

    # Haiku numbers modules of one name: layer_norm, layer_norm_1, ...
    name: str | None = "layer_norm"

    def __call__(self, x: jax.Array) -> jax.Array:  # [..., c] -> [..., c]
        """Normalises over the last axis; in float32 where the parameters are float32."""
        scale, offset = self.parameters(x.shape[-1], x.dtype)
        if routes.chosen() == "plain":
            return _textbook(x, scale, offset)
        return normalise(x, scale, offset)

    def parameters(
        self, width: int, dtype: jnp.dtype = jnp.float32
    ) -> tuple[jax.Array, jax.Array]:  # [width], [width]
        """Scale and offset alone, for who normalises elsewhere."""
        scale = hk.get_parameter("scale", [width], dtype, init=jnp.ones)
        offset = hk.get_parameter("offset", [width], dtype, init=jnp.zeros)
        return scale, offset


def _textbook(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
    wide = x.astype(jnp.promote_types(x.dtype, scale.dtype))
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.var(wide, axis=-1, keepdims=True)
    return (scale * lax.rsqrt(variance + EPS) * (wide - mean) + offset).astype(x.dtype)
