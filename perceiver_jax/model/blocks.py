"""The pre-layer-norm residual blocks that every Perceiver is made of.

Perceiver, Sec. 3.1 and App. C; Perceiver IO, App. E.1, equations 1 to 6. Module and parameter
names are those of the released checkpoints: `attention/linear` is the query projection,
`linear_1` the keys', `linear_2` the values', `linear_3` the output's.
"""

import dataclasses
from typing import Literal

import haiku as hk
import jax

from perceiver_jax.model import attention, capture
from perceiver_jax.model.layer_norm import LayerNorm
from perceiver_jax.model.linear import Linear

# Which width the projections inside a cross-attention have where none is given:
#   'kv'   that of the keys' inputs, as in all released models;
#   'q'    that of the queries' inputs;
#   'min'  the smaller of the two, as Perceiver, App. C, words it.
WidthRule = Literal["kv", "q", "min"]


def linear(
    output_size: int, *, init_scale: float = 1.0, with_bias: bool = True, name: str | None = None
) -> Linear:
    """A linear layer, initialised as released: truncated normal of variance scale / fan-in."""
    return Linear(
        output_size,
        with_bias=with_bias,
        w_init=hk.initializers.VarianceScaling(init_scale),
        name=name,
    )


def layer_norm(x: jax.Array) -> jax.Array:  # [..., c] -> [..., c]
    """Layer norm over the channels, in the parameters' float32 where activations are narrower."""
    return LayerNorm()(x)


def dropout(x: jax.Array, rate: float, is_training: bool) -> jax.Array:
    """Drops a share `rate` of `x` in training. Draws a random key only if it needs one."""
    if not is_training or rate == 0.0:
        return x
    return hk.dropout(hk.next_rng_key(), rate, x)


@dataclasses.dataclass
class Attention(hk.Module):
    """Multi-headed attention with separate widths for queries and keys, values, and output."""

    num_heads: int = 8  # Number of attention heads.
    qk_channels: int | None = None  # Width of queries and keys over all heads; None: the queries'.
    v_channels: int | None = None  # Width of the values over all heads; None: `qk_channels`.
    output_channels: int | None = None  # Width of the output; None: `v_channels`.
    init_scale: float = 1.0  # Variance scale of the projections' initial weights.
    final_init_scale_multiplier: float = 1.0  # The output's variance scale, times `init_scale`.
    with_final_bias: bool = True  # Whether the output projection has a bias.
    dropout_prob: float = 0.0  # Share of attention weights dropped in training.
    name: str | None = None

    def __call__(
        self,
        inputs_q: jax.Array,  # [b, q, c_q]
        inputs_kv: jax.Array,  # [b, k, c_kv]
        mask: jax.Array | None = None,  # [b, q, k]
        *,
        is_training: bool = False,
    ) -> jax.Array:  # [b, q, output_channels]
        """Attends from `inputs_q` to `inputs_kv`.

        Raises:
          ValueError: a width is not divisible by the number of heads.
        """
        qk_channels = self.qk_channels or inputs_q.shape[-1]
        v_channels = self.v_channels or qk_channels
        output_channels = self.output_channels or v_channels
        for what, width in (("qk_channels", qk_channels), ("v_channels", v_channels)):
            if width % self.num_heads:
                raise ValueError(
                    f"{what}={width} is not divisible by num_heads={self.num_heads}; choose a "
                    f"multiple of {self.num_heads} for {what}, or another number of heads."
                )

        queries = self._split_heads(linear(qk_channels, init_scale=self.init_scale)(inputs_q))
        keys = self._split_heads(linear(qk_channels, init_scale=self.init_scale)(inputs_kv))
        values = self._split_heads(linear(v_channels, init_scale=self.init_scale)(inputs_kv))

        use_dropout = is_training and self.dropout_prob > 0.0
        # Who asks for the weights gets them, whatever memory they take.
        whole = use_dropout or capture.wanted() or not attention.needs_chunks(queries, keys)
        if whole:
            attended, weights = attention.attend(
                queries,
                keys,
                values,
                mask,
                dropout_rate=self.dropout_prob if use_dropout else 0.0,
                dropout_key=hk.next_rng_key() if use_dropout else None,
            )
            capture.record(weights)
        else:
            attended = attention.attend_in_chunks(queries, keys, values, mask)
        return linear(
            output_channels,
            init_scale=self.init_scale * self.final_init_scale_multiplier,
            with_bias=self.with_final_bias,
        )(attended)

    def _split_heads(self, x: jax.Array) -> jax.Array:  # [b, q, h * d] -> [b, q, h, d]
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)


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
        inputs_q: jax.Array,  # [b, q, c_q]
        inputs_kv: jax.Array,  # [b, k, c_kv]
        mask: jax.Array | None = None,  # [b, q, k]
        *,
        is_training: bool = False,
    ) -> jax.Array:  # [b, q, c_q]
        """Lets `inputs_q` read from `inputs_kv`."""
        q_width, kv_width = inputs_q.shape[-1], inputs_kv.shape[-1]
        default_width = {"kv": kv_width, "q": q_width, "min": min(q_width, kv_width)}
        attended = Attention(
            num_heads=self.num_heads,
            qk_channels=self.qk_channels or default_width[self.width_rule],
            v_channels=self.v_channels,
            output_channels=q_width,
            init_scale=self.init_scale,
            dropout_prob=self.attention_dropout_prob,
        )(layer_norm(inputs_q), layer_norm(inputs_kv), mask, is_training=is_training)
        attended = dropout(attended, self.dropout_prob, is_training)
        x = inputs_q + attended if self.use_query_residual else attended
        return x + MLP(
            widening_factor=self.widening_factor,
            init_scale=self.init_scale,
            dropout_prob=self.dropout_prob,
            exact_gelu=self.exact_gelu,
        )(layer_norm(x), is_training=is_training)
