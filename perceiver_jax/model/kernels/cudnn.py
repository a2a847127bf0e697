"""Attention by cuDNN's fused kernel, on NVIDIA GPUs.

`jax.nn.dot_product_attention` hands it to cuDNN, which never holds the attention weights. It wants
one width for queries, keys and values, a multiple of 8, in half precision. Zeros are added up to
that: in queries and keys they do not change a score, and in values they are cut away afterwards.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

WIDTH_MULTIPLE = 8
# Channels that a head may have, by the least compute capability of the GPU.
MAX_WIDTHS = (((9, 0), 256), ((8, 0), 128))


def declines(
    *,
    qk_width: int,
    v_width: int,
    dtype: Any,
    backend: str,
    compute_capability: tuple[int, int] | None = None,
    dropout: bool = False,
    weights_wanted: bool = False,
) -> tuple[str, ...]:
    """Says why cuDNN's kernel does not apply; empty where it does.

    The limits are those that JAX checks before it calls cuDNN (0.10 and 0.12), and cuDNN's own for
    the generation of the GPU.

    Args:
      qk_width: channels of a head's queries and keys.
      v_width: channels of a head's values.
      dtype: that of queries, keys and values.
      backend: platform of the devices, as `jax.default_backend()` names it.
      compute_capability: of the GPU, see `this_compute_capability`; None: it has none.
      dropout: whether attention weights are dropped.
      weights_wanted: whether somebody looks at the attention weights.
    """
    dtype = jnp.dtype(dtype)
    reasons = []
    if backend not in ("gpu", "cuda"):
        # Nothing else matters then.
        return (f"cuDNN runs on NVIDIA GPUs, and this is a {backend}",)
    if dtype not in (jnp.bfloat16, jnp.float16):
        reasons.append(f"cuDNN's attention takes bfloat16 or float16, not {dtype.name}")
    if compute_capability is None:
        reasons.append(
            "cuDNN's limits depend on the GPU's compute capability, which it has none of"
        )
    else:
        capability = ".".join(map(str, compute_capability))
        most = next((width for least, width in MAX_WIDTHS if compute_capability >= least), None)
        width = common_width(qk_width, v_width)
        if most is None:
            reasons.append(
                f"cuDNN's attention needs compute capability 8.0, and this GPU has {capability}"
            )
        elif width > most:
            reasons.append(
                f"a head of {qk_width} and {v_width} channels takes {width}, and cuDNN's attention "
                f"has at most {most} with compute capability {capability}"
            )
    if dropout:
        reasons.append("cuDNN's attention, as JAX offers it, does not drop attention weights")
    if weights_wanted:
        reasons.append("cuDNN's attention does not give the attention weights")
    return tuple(reasons)


def this_compute_capability() -> tuple[int, int] | None:
    """The first device's compute capability, (9, 0) for an H100; None unless it is from NVIDIA."""
    text = getattr(jax.local_devices()[0], "compute_capability", None)
    if text is None or "." not in str(text):
        return None
    major, minor = str(text).split(".")[:2]
    return int(major), int(minor)


def common_width(qk_width: int, v_width: int) -> int:
    """Channels of a head as cuDNN gets them."""
    return _round_up(max(qk_width, v_width), WIDTH_MULTIPLE)


def attend_cudnn(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None = None,  # [b or 1, q or 1, k or 1]; 1 or True = attend
    *,
    scale: float | None = None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:  # [b, q, h * d_v]
    """The attended values of `attend`, without dropout.

    With a mask, JAX gives cuDNN a number for each query and key of an example, for all heads. cuDNN
    learns even lengths only with such a mask, so lengths are padded then, by masked keys.

    Args:
      queries: see `attend`, as for the next three.
      keys: see `attend`.
      values: see `attend`.
      mask: see `attend`.
      scale: what scores are multiplied by; None: d_qk^-0.5.
      implementation: 'xla' computes the same on any platform: for tests.
    """
    num_queries, qk_width = queries.shape[1], queries.shape[-1]
    num_keys, v_width = keys.shape[1], values.shape[-1]
    width = common_width(qk_width, v_width)
    multiple = 1 if mask is None else 2
    query_length, key_length = _round_up(num_queries, multiple), _round_up(num_keys, multiple)

    whole_mask = None
    if mask is not None:
        # cuDNN takes no mask that one row stands for.
        mask = jnp.broadcast_to(mask != 0, (queries.shape[0], num_queries, num_keys))
        missing = ((0, 0), (0, query_length - num_queries), (0, key_length - num_keys))
        whole_mask = jnp.pad(mask, missing)[:, None]
    attended = jax.nn.dot_product_attention(
        _pad(queries, query_length, width),
        _pad(keys, key_length, width),
        _pad(values, key_length, width),
        mask=whole_mask,
        scale=qk_width**-0.5 if scale is None else scale,
        implementation=implementation,
    )[:, :num_queries, :, :v_width]
    if mask is not None:
        # A query without any key would get a mean of values.
        attended = jnp.where(mask.any(axis=-1)[:, :, None, None], attended, 0)
    return attended.reshape(attended.shape[0], num_queries, -1)


def _pad(
    x: jax.Array, length: int, width: int
) -> jax.Array:  # [b, n, h, d] -> [b, length, h, width]
    return jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, width - x.shape[-1])))


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
