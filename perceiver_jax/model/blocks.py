"""The pre-layer-norm residual blocks that every Perceiver is made of.

Perceiver, Sec. 3.1 and App. C; Perceiver IO, App. E.1, equations 1 to 6. Module and parameter
names are those of the released checkpoints.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import execution
from perceiver_jax.model.byte_array import ByteArray, Grid, stacked
from perceiver_jax.model.layer_norm import LayerNorm
from perceiver_jax.model.multi_head import Attention, Normed, linear
from perceiver_jax.model.routes import outputs_at_a_time

# Which width the projections inside a cross-attention have where none is given:
#   'kv'   that of the keys' inputs, as in all released models;
#   'q'    that of the queries' inputs;
#   'min'  the smaller of the two, as Perceiver, App. C, words it.
WidthRule = Literal["kv", "q", "min"]
Layer = Callable[[jax.Array], jax.Array]

__all__ = ["MLP", "Attention", "CrossAttention", "SelfAttention", "WidthRule", "layer_norm"]


def layer_norm(x: jax.Array) -> jax.Array:  # [..., c] -> [..., c]
    """Layer norm over the channels, in the parameters' float32 where activations are narrower."""
    return LayerNorm()(x)


def dropout(x: jax.Array, rate: float, is_training: bool) -> jax.Array:
    """Drops a share `rate` of `x` in training. Draws a random key only if it needs one."""
    if not is_training or rate == 0.0:
        return x
    return hk.dropout(hk.next_rng_key(), rate, x)


@dataclasses.dataclass
class MLP(hk.Module):
    """Linear, GELU, linear back to the input's width (Perceiver, App. C)."""

    widening_factor: int = 4  # Width of the hidden layer, as a multiple of the input's.
    init_scale: float = 1.0  # Variance scale of the initial weights.
    dropout_prob: float = 0.0  # Share of the output dropped in training.
    exact_gelu: bool = False  # The erf form instead of the released models' tanh form.
    name: str | None = None

    def __call__(
        self, x: jax.Array, *, is_training: bool = False
    ) -> jax.Array:  # [b, q, c] -> [b, q, c]
        """Applies the MLP to every element alone."""
        width = x.shape[-1]
        hidden = linear(self.widening_factor * width, init_scale=self.init_scale)(x)
        hidden = jax.nn.gelu(hidden, approximate=not self.exact_gelu)
        out = linear(width, init_scale=self.init_scale)(hidden)
        return dropout(out, self.dropout_prob, is_training)


@dataclasses.dataclass
class SelfAttention(hk.Module):
    """One layer of a latent tower: self-attention and MLP, each pre-normed and residual."""

    num_heads: int = 8  # Number of attention heads.
    qk_channels: int | None = None  # Width of queries and keys; None: the input's.
    v_channels: int | None = None  # Width of the values; None: `qk_channels`.
    widening_factor: int = 4  # Hidden width of the MLP, as a multiple of the input's.
    dropout_prob: float = 0.0  # Share of each branch's output dropped in training.
    attention_dropout_prob: float = 0.0  # Share of attention weights dropped in training.
    init_scale: float = 1.0  # Variance scale of the initial weights.
    exact_gelu: bool = False  # See MLP.
    name: str | None = None

    def __call__(
        self,
        x: jax.Array,  # [b, q, c]
        mask: jax.Array | None = None,  # [b, q, q]
        *,
        is_training: bool = False,
    ) -> jax.Array:  # [b, q, c]
        """Applies the layer to `x`."""
        normed = layer_norm(x)
        attended = Attention(
            num_heads=self.num_heads,
            qk_channels=self.qk_channels,
            v_channels=self.v_channels,
            output_channels=x.shape[-1],
            init_scale=self.init_scale,
            dropout_prob=self.attention_dropout_prob,
        )(normed, normed, mask, is_training=is_training)
        x = x + dropout(attended, self.dropout_prob, is_training)
        return x + MLP(
            widening_factor=self.widening_factor,
            init_scale=self.init_scale,
            dropout_prob=self.dropout_prob,
            exact_gelu=self.exact_gelu,
        )(layer_norm(x), is_training=is_training)


@dataclasses.dataclass
class CrossAttention(hk.Module):
    """Queries read from inputs: the encoder's (from latents) and the decoder's (from outputs)."""

    num_heads: int = 8  # Number of attention heads.
    qk_channels: int | None = None  # Width of queries and keys; None: by `width_rule`.
    v_channels: int | None = None  # Width of the values; None: `qk_channels`.
    width_rule: WidthRule = "kv"  # Where the default of `qk_channels` comes from.
    use_query_residual: bool = True  # Whether the queries are added to what they read.
    widening_factor: int = 1  # Hidden width of the MLP, as a multiple of the queries'.
    dropout_prob: float = 0.0  # Share of each branch's output dropped in training.
    attention_dropout_prob: float = 0.0  # Share of attention weights dropped in training.
    init_scale: float = 1.0  # Variance scale of the initial weights.
    exact_gelu: bool = False  # See MLP.
    name: str | None = None

    def __call__(
        self,
        inputs_q: jax.Array | ByteArray,  # [b, q, c_q]; an array may have 1 for b
        inputs_kv: jax.Array | ByteArray,  # [b, k, c_kv]
        mask: jax.Array | None = None,  # [b or 1, q or 1, k or 1]
        *,
        is_training: bool = False,
        then: Layer | None = None,
    ) -> jax.Array:  # [b, q, c_q], or what `then` makes of it
        """Lets `inputs_q` read from `inputs_kv`.

        Args:
          inputs_q: what reads. As a byte array, it is taken a part after the other where outputs
            are many.
          inputs_kv: what is read.
          mask: which query may read what.
          is_training: whether there is dropout.
          then: what happens to every output, [b, p, c_q] -> [b, p, c], before all are joined.
        """
        q_width, kv_width = (
            x.num_channels if isinstance(x, ByteArray) else x.shape[-1]
            for x in (inputs_q, inputs_kv)
        )
        default_width = {"kv": kv_width, "q": q_width, "min": min(q_width, kv_width)}
        attention = Attention(
            num_heads=self.num_heads,
            qk_channels=self.qk_channels or default_width[self.width_rule],
            v_channels=self.v_channels,
            output_channels=q_width,
            init_scale=self.init_scale,
            dropout_prob=self.attention_dropout_prob,
        )
        norm_q, norm_kv, norm = LayerNorm(), LayerNorm(), LayerNorm()
        mlp = MLP(
            widening_factor=self.widening_factor,
            init_scale=self.init_scale,
            dropout_prob=self.dropout_prob,
            exact_gelu=self.exact_gelu,
        )

        def finish(queries: Callable[[], jax.Array], attended: jax.Array) -> jax.Array:
            attended = dropout(attended, self.dropout_prob, is_training)
            x = queries() + attended if self.use_query_residual else attended
            x = x + mlp(norm(x), is_training=is_training)
            return x if then is None else then(x)

        if isinstance(inputs_q, ByteArray) and is_training and self.dropout_prob > 0.0:
            inputs_q = inputs_q.dense()  # Parts in a loop would all drop the same.
        q = Normed(inputs_q, norm_q) if isinstance(inputs_q, ByteArray) else norm_q(inputs_q)
        kv = Normed(inputs_kv, norm_kv) if isinstance(inputs_kv, ByteArray) else norm_kv(inputs_kv)
        plan = attention.plan(q, kv, mask, is_training=is_training)
        if not isinstance(inputs_q, ByteArray):
            attended = attention(q, kv, mask, is_training=is_training, plan=plan)
            return finish(lambda: inputs_q, attended)
        if plan.route != "folded":
            attended = attention(q, kv, mask, is_training=is_training, plan=plan)
            return finish(inputs_q.dense, attended)
        assert isinstance(kv, jax.Array)
        decoder = attention.decoder(kv, norm_q, q_width, plan)

        def answer(part: Grid, mask: jax.Array | None) -> jax.Array:  # [b, r, k, c] -> [b, p, c]
            return finish(part.dense, decoder.read(part, mask))

        examples = execution.current().examples_here(kv.shape[0])
        per_query = examples * self.num_heads * kv.shape[1]
        return _in_parts(answer, inputs_q, None if mask is None else mask[:, :, 0], per_query)


def _in_parts(
    answer: Callable[[Grid, jax.Array | None], jax.Array],
    queries: ByteArray,  # [b, o, c]
    mask: jax.Array | None,  # [b, o]
    weights_per_query: int,
) -> jax.Array:  # [b, o, c_out]
    """Answers a few rows of queries at a time, in a loop whose backward pass repeats them."""
    answers = []
    for grid, grid_mask in queries.with_masks(mask):
        num_rows, columns = grid.content.shape[1:3]
        size = min(outputs_at_a_time(weights_per_query * columns, num_rows), num_rows)
        if size == num_rows:
            answers.append(answer(grid, grid_mask))
            continue
        pieces, rest = grid.pieces(size)
        whole = num_rows // size * size * columns
        masks = None if grid_mask is None else stacked(grid_mask, size * columns, axis=1)

        def step(_: None, piece: Any, grid: Grid = grid) -> tuple[None, jax.Array]:
            content, rows, piece_mask = piece
            part = dataclasses.replace(grid, content=content, rows=rows)
            return None, hk.remat(answer)(part, piece_mask)

        _, found = hk.scan(step, None, (*pieces, masks))  # [pieces, b, p, c_out]
        answers.append(found.swapaxes(0, 1).reshape(found.shape[1], -1, found.shape[-1]))
        if rest is not None:
            rest_mask = None if grid_mask is None else grid_mask[:, whole:]
            answers.append(answer(rest, rest_mask))
    return jnp.concatenate(answers, axis=1) if len(answers) > 1 else answers[0]
