"""Decoding many outputs: the queries' and outputs' projections folded into the latents.

With `x` a query element before its layer norm `LN(x) = scale * (x - mean) / std + offset`, `k` the
keys and `v` the values of the latents, and one head (Perceiver IO, App. E.1):

    (W_q LN(x) + b_q) . k_n  =  (x . f_n) / std + g_n,       f_n = centred(scale * W_q^T k_n),
                                                             g_n = (W_q offset + b_q) . k_n
    W_o sum_n w_n v_n + b_o  =  sum_n w_n (W_o v_n) + b_o

so that nothing is projected over the outputs, which are far more than the latents. `x . f_n` over
a grid of queries is a sum for each row, one for each column, and one over their content, if they
have any: the queries of video have none (`byte_array.py`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from perceiver_jax.model.byte_array import Grid
from perceiver_jax.model.folded import centred, precise_product
from perceiver_jax.model.layer_norm import EPS

Weights = tuple[jax.Array, jax.Array]  # [i, o], [o]


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Latents, ready to be read by parts of the queries."""

    keys: jax.Array  # [b, h, k, c_q]: f above
    shifts: jax.Array  # [b, h, k]: g above
    values: jax.Array  # [b, h, k, d_v], or [b, h, k, c_out] with the output folded in
    output: tuple[jax.Array | None, jax.Array | None]  # Its weights, if not folded; its bias.

    def read(self, queries: Grid, mask: jax.Array | None = None) -> jax.Array:  # [b, p, c_out]
        """Answers the queries of a part of a grid [b, r, k, c], p = r * k.

        Args:
          queries: the elements, not normalised.
          mask: [b, p], which of them read; the others read zeros.
        """
        dtype = self.values.dtype
        for_content, for_rows, for_columns, for_constant = queries.split(self.keys)
        float32 = jnp.float32
        by_row = jnp.einsum("bhnc,rc->bhrn", for_rows, queries.rows.astype(float32))
        by_column = jnp.einsum("bhnc,kc->bhkn", for_columns, queries.columns.astype(float32))
        by_column = by_column + (for_constant @ queries.constant.astype(float32))[:, :, None]
        products = by_row[:, :, :, None] + by_column[:, :, None]  # [b, h, r, k, n]
        if for_content.shape[-1]:
            products = products + precise_product("bhnc,brkc->bhrkn", for_content, queries.content)
        scale = jax.lax.rsqrt(queries.moments()[1] + EPS)  # [b, r, k]
        if not queries.content.shape[-1]:
            scale = scale[:1]
        scores = products * scale[:, None, ..., None] + self.shifts[:, :, None, None]
        batch, heads, rows, columns, num_keys = scores.shape
        weights = jax.nn.softmax(scores, axis=-1).reshape(batch, heads, -1, num_keys)
        if mask is not None:
            weights = jnp.where(mask.astype(bool)[:, None, :, None], weights, 0.0)
        read = jnp.einsum(
            "bhpn,bhne->bphe" if self.output[0] is not None else "bhpn,bhne->bpe",
            weights.astype(dtype),
            self.values,
            preferred_element_type=float32,
        )
        read = read.astype(dtype).reshape(batch, rows * columns, -1)
        w_o, b_o = self.output
        if w_o is not None:
            read = read @ w_o.astype(dtype)
        return read if b_o is None else read + b_o.astype(dtype)


def fold(
    keys: jax.Array,  # [b, k, h, d_qk]
    values: jax.Array,  # [b, k, h, d_v]
    *,
    norm: tuple[jax.Array, jax.Array],  # [c_q], [c_q]
    query: Weights,  # [c_q, h * d_qk]
    output: tuple[jax.Array, jax.Array | None],  # [h * d_v, c_out]
    folds_output: bool,
) -> Decoder:
    """Folds the projections of queries, and of outputs where told, into keys and values.

    Args:
      keys: what each latent offers.
      values: what is read of each latent.
      norm: scale and offset of the queries' layer norm.
      query: weights and bias of the queries' projection.
      output: weights and bias of the output's projection.
      folds_output: whether to fold it: it pays where outputs are many and their width is small.
    """
    num_heads, dtype = keys.shape[2], values.dtype
    scale, offset = norm
    w_q, b_q = query
    w_o, b_o = output
    keys = keys * keys.shape[-1] ** -0.5
    w_q_heads = (scale[:, None] * w_q).reshape(*w_q.shape[:1], num_heads, -1)
    looked_for = jnp.einsum(
        "bkhd,chd->bhkc", keys, w_q_heads.astype(dtype), preferred_element_type=jnp.float32
    )
    looked_for = centred(looked_for)
    shift = (offset @ w_q + b_q).reshape(num_heads, -1)
    shifts = jnp.einsum("bkhd,hd->bhk", keys.astype(jnp.float32), shift)
    if folds_output:
        w_o_heads = w_o.reshape(num_heads, -1, w_o.shape[-1])
        # In `dtype`, to which it would be rounded anyway: CPUs cannot batch it with a wider one.
        values = jnp.einsum("bkhd,hde->bhke", values, w_o_heads.astype(dtype))
        return Decoder(looked_for, shifts, values, (None, b_o))
    return Decoder(looked_for, shifts, values.swapaxes(1, 2), (w_o, b_o))
