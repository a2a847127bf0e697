"""Multi-head attention with its four projections, by whichever route is cheapest (`routes.py`).

Perceiver IO, App. E.1, equations 1 to 3. Parameter names are those of the released checkpoints:
`attention/linear` is the query projection, `linear_1` the keys', `linear_2` the values', `linear_3`
the output's.
"""

import dataclasses
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import (
    attention,
    capture,
    decoding,
    execution,
    folded,
    routes,
    streamed,
)
from perceiver_jax.model.byte_array import ByteArray
from perceiver_jax.model.kernels import cudnn, pallas_tpu
from perceiver_jax.model.layer_norm import LayerNorm
from perceiver_jax.model.linear import Linear


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


class Normed(NamedTuple):
    """A byte array and its layer norm, which is applied only where it has to be written out."""

    inputs: ByteArray  # [b, m, c]
    norm: LayerNorm

    def dense(self) -> jax.Array:  # [b, m, c]; [1, m, c] if it is the same for all examples
        """The normalised elements."""
        inputs = self.inputs
        if inputs.is_shared and not hk.running_init():
            inputs = inputs.map_content(lambda content: content[:1])
        return self.norm(inputs.dense())


class _Layers(NamedTuple):
    """The projections."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear


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
        inputs_q: jax.Array | Normed,  # [b, q, c_q]; a plain array may have 1 for b
        inputs_kv: jax.Array | Normed,  # [b, k, c_kv]
        mask: jax.Array | None = None,  # [b or 1, q or 1, k or 1]
        *,
        is_training: bool = False,
        plan: routes.Plan | None = None,
    ) -> jax.Array:  # [b, q, output_channels]
        """Attends from `inputs_q` to `inputs_kv`.

        Args:
          inputs_q: what reads.
          inputs_kv: what is read.
          mask: which query may read what.
          is_training: whether attention weights are dropped out.
          plan: what `plan` says of these arguments, if that was asked before.

        Raises:
          ValueError: a width is not divisible by the number of heads.
        """
        layers = _make_layers(self, _width(inputs_q))
        if plan is None:
            plan = self.plan(inputs_q, inputs_kv, mask, is_training=is_training)
        if plan.route == "folded" and isinstance(inputs_kv, Normed):
            assert isinstance(inputs_q, jax.Array)
            return layers.output(self._read_folded(layers, inputs_q, inputs_kv, mask))
        return layers.output(self._projected(plan, layers, inputs_q, inputs_kv, mask, is_training))

    @hk.experimental.name_like("__call__")
    def decoder(
        self, inputs_kv: jax.Array, norm: LayerNorm, q_channels: int, plan: routes.Plan
    ) -> decoding.Decoder:
        """What parts of a byte array of queries, not normalised yet, are answered with.

        Args:
          inputs_kv: [b, k, c_kv], what is read.
          norm: the layer norm of the queries.
          q_channels: the queries' channels.
          plan: the plan of the whole, 'folded'.
        """
        layers = _make_layers(self, q_channels)
        keys = self._split_heads(layers.key(inputs_kv))
        values = self._split_heads(layers.value(inputs_kv))
        w_q, b_q = layers.query.parameters(q_channels)
        w_o, b_o = layers.output.parameters(values.shape[-1] * self.num_heads)
        assert b_q is not None
        return decoding.fold(
            keys,
            values,
            norm=norm.parameters(q_channels),
            query=(w_q, b_q),
            output=(w_o, b_o),
            folds_output=plan.site.folds_output,
        )

    def plan(
        self,
        inputs_q: jax.Array | Normed,
        inputs_kv: jax.Array | Normed,
        mask: jax.Array | None,
        *,
        is_training: bool,
    ) -> routes.Plan:
        """Chooses the route."""
        qk_channels, v_channels, output_channels = self.widths(_width(inputs_q))
        keys = inputs_kv.inputs if isinstance(inputs_kv, Normed) else inputs_kv
        queries = inputs_q.inputs if isinstance(inputs_q, Normed) else inputs_q
        needs_weights = ""
        if hk.running_init():
            needs_weights = "parameters are being made"
        elif self._drops(is_training):
            needs_weights = "attention weights are dropped out"
        elif capture.wanted():
            needs_weights = "attention weights are captured"
        kind: routes.MaskKind = "none"
        if mask is not None:
            kind = "queries" if mask.shape[2] == 1 else "keys" if mask.shape[1] == 1 else "full"
        site = routes.Site(
            batch_size=keys.shape[0],
            num_queries=queries.shape[1],
            num_keys=keys.shape[1],
            num_heads=self.num_heads,
            q_channels=queries.shape[2],
            kv_channels=keys.shape[2],
            qk_channels=qk_channels,
            v_channels=v_channels,
            output_channels=output_channels,
            dtype=jnp.dtype(keys.dtype).name,
            backend=jax.default_backend(),
            compute_capability=cudnn.this_compute_capability(),
            mask=kind,
            needs_weights=needs_weights,
            shared_queries=(
                queries.is_shared if isinstance(queries, ByteArray) else queries.shape[0] == 1
            ),
            keys=keys.parts if isinstance(keys, ByteArray) else (),
            queries=queries.parts if isinstance(queries, ByteArray) else (),
        )
        return routes.decide(hk.experimental.current_name(), site)

    def _drops(self, is_training: bool) -> bool:
        return is_training and self.dropout_prob > 0.0 and not hk.running_init()

    def _projected(
        self,
        plan: routes.Plan,
        layers: _Layers,
        inputs_q: jax.Array | Normed,
        inputs_kv: jax.Array | Normed,
        mask: jax.Array | None,
        is_training: bool,
    ) -> jax.Array:  # [b, q, v_channels]
        inputs_q, inputs_kv = (
            x.dense() if isinstance(x, Normed) else x for x in (inputs_q, inputs_kv)
        )
        queries = self._split_heads(layers.query(inputs_q))
        keys = self._split_heads(layers.key(inputs_kv))
        values = self._split_heads(layers.value(inputs_kv))
        # What is the same for all examples was projected once.
        queries, keys, values = (
            jnp.broadcast_to(x, (plan.site.batch_size, *x.shape[1:]))
            for x in (queries, keys, values)
        )
        if plan.route == "cudnn":
            return cudnn.attend_cudnn(queries, keys, values, mask)
        if plan.route == "pallas":
            # A mask that is the same for all queries, or all keys, reaches the kernel as a row.
            whole = mask if plan.site.mask == "full" else None
            key_mask = mask[:, 0] if mask is not None and plan.site.mask == "keys" else None
            query_mask = mask[..., 0] if mask is not None and plan.site.mask == "queries" else None
            return pallas_tpu.attend_pallas(
                queries,
                keys,
                values,
                whole,
                query_mask=query_mask,
                key_mask=key_mask,
                batch=execution.current().batch,
            )
        if plan.route != "plain":
            shards = execution.current().head_shards
            return streamed.attend_streamed(queries, keys, values, mask, head_shards=shards)
        use_dropout = self._drops(is_training)
        attended, weights = attention.attend(
            queries,
            keys,
            values,
            mask,
            dropout_rate=self.dropout_prob if use_dropout else 0.0,
            dropout_key=hk.next_rng_key() if use_dropout else None,
        )
        capture.record(weights)
        return attended

    def _read_folded(
        self, layers: _Layers, inputs_q: jax.Array, kv: Normed, mask: jax.Array | None
    ) -> jax.Array:  # [b, q, v_channels]
        inputs, heads, dtype = kv.inputs, self.num_heads, inputs_q.dtype
        channels = inputs.num_channels
        scale, offset = kv.norm.parameters(channels)
        w_k, _ = layers.key.parameters(channels)
        w_v, b_v = layers.value.parameters(channels)
        assert b_v is not None
        queries = self._split_heads(layers.query(inputs_q))
        queries = queries * queries.shape[-1] ** -0.5
        looked_for = jnp.einsum(
            "bqhd,chd->bhqc",
            queries,
            self._split_heads(scale[:, None] * w_k).astype(dtype),
            preferred_element_type=jnp.float32,
        )
        batch, _, num_queries, _ = looked_for.shape
        keys_mask = None if mask is None else mask[:, 0]
        found = folded.read(looked_for.reshape(batch, heads * num_queries, -1), inputs, keys_mask)
        values = jnp.einsum(
            "bhqc,chd->bqhd",
            found.reshape(-1, heads, num_queries, channels).astype(dtype),
            self._split_heads(scale[:, None] * w_v).astype(dtype),
            preferred_element_type=jnp.float32,
        )
        shift = offset @ w_v + b_v  # Of every value; without any, there is nothing to shift.
        if keys_mask is not None:
            shift = shift * keys_mask.astype(bool).any(axis=1)[:, None, None]
        values = values.reshape(*values.shape[:2], -1) + shift
        return values.astype(dtype)

    def widths(self, q_channels: int) -> tuple[int, int, int]:
        """Widths of queries and keys, of values, and of the output."""
        qk_channels = self.qk_channels or q_channels
        v_channels = self.v_channels or qk_channels
        for what, width in (("qk_channels", qk_channels), ("v_channels", v_channels)):
            if width % self.num_heads:
                raise ValueError(
                    f"{what}={width} is not divisible by num_heads={self.num_heads}; choose a "
                    f"multiple of {self.num_heads} for {what}, or another number of heads."
                )
        return qk_channels, v_channels, self.output_channels or v_channels

    def _split_heads(self, x: jax.Array) -> jax.Array:  # [..., h * d] -> [..., h, d]
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)


# A function, not a method: Haiku would put a method's name into those of the parameters.
def _make_layers(module: Attention, q_channels: int) -> _Layers:
    qk_channels, v_channels, output_channels = module.widths(q_channels)
    return _Layers(
        linear(qk_channels, init_scale=module.init_scale),
        linear(qk_channels, init_scale=module.init_scale),
        linear(v_channels, init_scale=module.init_scale),
        linear(
            output_channels,
            init_scale=module.init_scale * module.final_init_scale_multiplier,
            with_bias=module.with_final_bias,
        ),
    )


def _width(x: jax.Array | Normed) -> int:
    return x.inputs.num_channels if isinstance(x, Normed) else x.shape[-1]
