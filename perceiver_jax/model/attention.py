"""Scaled dot-product attention: the definition that all routes are equal to (`routes.py`).

Perceiver IO, App. E.1, equations 1 to 3. A query that may attend to no key at all gives zeros,
as in the released models (not the mean of the values, as a bare softmax would).
"""

import jax
import jax.numpy as jnp


def attend(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None = None,  # [b or 1, q or 1, k or 1]; 1 or True = attend
    *,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:  # [b, q, h * d_v], [b, h, q, k]
    """Attends from `queries` to `values` by the similarity of `queries` and `keys`.

    The softmax is taken in float32 whatever the dtype of the inputs: in half precision that is one
    unit in the last place closer to the exact result, and never overflows.

    Args:
      queries: what each query looks for.
      keys: what each key offers, as wide per head as `queries`.
      values: what is read from each key.
      mask: which query may attend to which key; an axis of size 1 stands for all. A masked score is
        replaced, not shifted, so no value behind a mask can reach the output or its gradient.
      dropout_rate: share of the attention weights set to zero; 0 draws no random number.
      dropout_key: the random key, needed if `dropout_rate` > 0.

    Returns:
      The attended values with the heads concatenated, in the dtype of `values`, and the attention
      weights before dropout in float32. Rows of both are zero for a query that has no key.

    Raises:
      ValueError: the shapes do not fit each other, or dropout has no key.
    """
    check_shapes(queries, keys, values, mask)
    batch, num_queries, num_heads, qk_width = queries.shape
    v_width = values.shape[-1]

    # Scaling the queries costs less than scaling the scores, and rounds less in float32.
    scores = jnp.einsum("bqhd,bkhd->bhqk", queries * qk_width**-0.5, keys)
    scores = scores.astype(jnp.float32)
    if mask is None:
        weights = jax.nn.softmax(scores, axis=-1)
    else:
        allowed = mask.astype(bool)[:, None, :, :]
        # A finite score keeps rows without any key free of NaN; those rows become zero below.
        weights = jax.nn.softmax(jnp.where(allowed, scores, -1e30), axis=-1)
        weights = jnp.where(allowed.any(axis=-1, keepdims=True), weights, 0.0)

    dropped = weights
    if dropout_rate > 0.0:
        if dropout_key is None:
            raise ValueError(f"dropout_rate={dropout_rate} needs a dropout_key.")
        keep = jax.random.bernoulli(dropout_key, 1.0 - dropout_rate, weights.shape)
        dropped = jnp.where(keep, weights / (1.0 - dropout_rate), 0.0)

    attended = jnp.einsum("bhqk,bkhd->bqhd", dropped.astype(values.dtype), values)
    return attended.reshape(batch, num_queries, num_heads * v_width), weights


def cross_attention_mask(
    query_mask: jax.Array,  # [b, q]
    key_mask: jax.Array,  # [b, k]
) -> jax.Array:  # [b, q, k]
    """Combines a mask of queries and a mask of keys: 1 where both are 1, in their common dtype."""
    return query_mask[:, :, None] * key_mask[:, None, :]


def check_shapes(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
) -> None:
    """Raises ValueError unless the arguments of `attend` fit each other."""
    shapes = f"queries {queries.shape}, keys {keys.shape}, values {values.shape}"
    if not queries.ndim == keys.ndim == values.ndim == 4:
        raise ValueError(f"attend() takes [batch, index, heads, channels] arrays; got {shapes}.")
    if (
        queries.shape[0] != keys.shape[0]
        or queries.shape[2:] != keys.shape[2:]
        or keys.shape[:3] != values.shape[:3]
    ):
        raise ValueError(
            "attend() needs one batch size and head count, queries and keys of one width, and as "
            f"many values as keys; got {shapes}."
        )
    whole = (queries.shape[0], queries.shape[1], keys.shape[1])
    if mask is not None and (
        mask.ndim != 3
        or any(size not in (1, full) for size, full in zip(mask.shape, whole, strict=True))
    ):
        raise ValueError(
            "the attention mask must have shape [batch, queries, keys]="
            f"{whole}, or 1 for any of them; got {mask.shape}."
        )
