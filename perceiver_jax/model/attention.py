"""Scaled dot-product attention: the definition, and the route for weights too large to exist.

Perceiver IO, App. E.1, equations 1 to 3. A query that may attend to no key at all gives zeros,
as in the released models (not the mean of the values, as a bare softmax would).
"""

import jax
import jax.numpy as jnp

# Attention weights that would take more bytes than this are never held whole. It lets the ImageNet
# models' 512 x 50,176 weights of a few examples be, and catches optical flow's 2,048 x 182,528.
MAX_WEIGHTS_BYTES = 512 * 2**20
# Bytes of the weights that are held at a time then.
CHUNK_BYTES = 128 * 2**20


def attend(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None = None,  # [b, q, k]; 1 or True = attend
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
      mask: which query may attend to which key. A masked score is replaced, not shifted, so no
        value behind a mask can reach the output or its gradient.
      dropout_rate: share of the attention weights set to zero; 0 draws no random number.
      dropout_key: the random key, needed if `dropout_rate` > 0.

    Returns:
      The attended values with the heads concatenated, in the dtype of `values`, and the attention
      weights before dropout in float32. Rows of both are zero for a query that has no key.

    Raises:
      ValueError: the shapes do not fit each other, or dropout has no key.
    """
    _check_shapes(queries, keys, values, mask)
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


def needs_chunks(queries: jax.Array, keys: jax.Array) -> bool:  # [b, q, h, d], [b, k, h, d]
    """Says whether the attention weights are too large to be held whole."""
    batch, num_queries, num_heads, _ = queries.shape
    return 4 * batch * num_heads * num_queries * keys.shape[1] > MAX_WEIGHTS_BYTES


def attend_in_chunks(
    queries: jax.Array,  # [b, q, h, d_qk]
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    mask: jax.Array | None = None,  # [b, q, k]
    *,
    chunk_size: int | None = None,
) -> jax.Array:  # [b, q, h * d_v]
    """The attended values of `attend`, a few queries after the other, without dropout.

    Each query's softmax is still taken over all keys at once, so the result is that of `attend`.
    Memory is that of one chunk of weights, in the backward pass too, where they are made again.

    Args:
      queries: see `attend`, as for the next three.
      keys: see `attend`.
      values: see `attend`.
      mask: see `attend`.
      chunk_size: queries at a time; None: as many as have weights of `CHUNK_BYTES`.
    """
    _check_shapes(queries, keys, values, mask)
    batch, num_queries, num_heads, _ = queries.shape
    if chunk_size is None:
        chunk_size = max(CHUNK_BYTES // (4 * batch * num_heads * keys.shape[1]), 1)
    num_chunks = -(-num_queries // chunk_size)
    chunk_size = -(-num_queries // num_chunks)  # No chunk nearly empty.

    def split(x: jax.Array) -> jax.Array:  # [b, q, ...] -> [chunks, b, q / chunks, ...]
        missing = num_chunks * chunk_size - num_queries
        x = jnp.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(batch, num_chunks, chunk_size, *x.shape[2:]), 1, 0)

    @jax.checkpoint
    def chunk(inputs: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        return attend(inputs[0], keys, values, inputs[1])[0]

    attended = jax.lax.map(chunk, (split(queries), None if mask is None else split(mask)))
    attended = jnp.moveaxis(attended, 0, 1)
    return attended.reshape(batch, num_chunks * chunk_size, -1)[:, :num_queries]


def cross_attention_mask(
    query_mask: jax.Array,  # [b, q]
    key_mask: jax.Array,  # [b, k]
) -> jax.Array:  # [b, q, k]
    """Combines a mask of queries and a mask of keys: 1 where both are 1, in their common dtype."""
    return query_mask[:, :, None] * key_mask[:, None, :]


def _check_shapes(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array | None
) -> None:
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
    if mask is not None and mask.shape != (queries.shape[0], queries.shape[1], keys.shape[1]):
        raise ValueError(
            "the attention mask must have shape [batch, queries, keys]="
            f"{(queries.shape[0], queries.shape[1], keys.shape[1])}; got {mask.shape}."
        )
