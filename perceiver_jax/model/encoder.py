"""The encoder: a latent array that reads inputs by cross-attention and processes what it read.

One module for both papers. Perceiver (Sec. 3.1, App. B and C) repeats the cross-attention and
shares weights between the repetitions; Perceiver IO (Sec. 3.1) reads once.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import (
    blocks,
    capture,
    execution,
    position_encoding,
    routes,
    traced_once,
)
from perceiver_jax.model.byte_array import ByteArray

# Which weights the cross-attends share: every one has its own, or all but the first share one set
# (Perceiver, Table 7: without sharing the ImageNet model overfits).
CrossAttendSharing = Literal["none", "all_but_first"]


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Size and structure of the encoder."""

    num_latents: int  # Rows of the latent array (N).
    latent_channels: int  # Width of the latent array (D).
    num_blocks: int = 8  # Latent towers; 0 leaves only the cross-attends (Perceiver, Table 5).
    self_attends_per_block: int = 6  # Self-attention layers of a tower.
    num_cross_attends: int = 1  # How often the latents read the inputs.
    cross_attend_placement: Literal["interleaved", "at_start"] = "interleaved"  # Perceiver, Tab. 6.
    cross_attend_sharing: CrossAttendSharing = "all_but_first"  # Perceiver, App. C.
    share_towers: bool = True  # Whether all towers share one set of weights.
    cross_attend_heads: int = 1  # Heads of the cross-attends.
    self_attend_heads: int = 8  # Heads of the self-attention layers.
    qk_channels: int | None = None  # Width of queries and keys; None: by width_rule, or latent.
    v_channels: int | None = None  # Width of the values; None: qk_channels.
    width_rule: blocks.WidthRule = "kv"  # Default width inside the cross-attends.
    use_query_residual: bool = True  # Whether cross-attends add to the latents or replace them.
    cross_attend_widening_factor: int = 1  # MLP width of the cross-attends.
    self_attend_widening_factor: int = 1  # MLP width of the self-attention layers.
    dropout_prob: float = 0.0  # Dropout of the branches' outputs; the papers use none.
    latent_init_scale: float = 0.02  # Standard deviation of the initial latents.

    def __post_init__(self) -> None:
        for name in (
            "num_latents",
            "latent_channels",
            "num_cross_attends",
            "self_attends_per_block",
            "cross_attend_heads",
            "self_attend_heads",
            "cross_attend_widening_factor",
            "self_attend_widening_factor",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.num_blocks < 0:
            raise ValueError(f"num_blocks={self.num_blocks} must not be negative.")
        # The cross-attends' default width depends on the inputs, and is checked with them.
        qk_channels = self.qk_channels or self.latent_channels
        widths = {"qk_channels": qk_channels, "v_channels": self.v_channels or qk_channels}
        for name, width in widths.items():
            if self.num_blocks and width % self.self_attend_heads:
                raise ValueError(
                    f"{name}={width} is not divisible by self_attend_heads="
                    f"{self.self_attend_heads}; choose a multiple, or another number of heads."
                )
        if (
            self.num_blocks
            and self.cross_attend_placement == "interleaved"
            and self.num_cross_attends > self.num_blocks
        ):
            raise ValueError(
                f"{self.num_cross_attends} cross-attends cannot be interleaved with "
                f"{self.num_blocks} blocks; use at most one for each, or "
                "cross_attend_placement='at_start'."
            )

    def blocks_after_cross_attends(self) -> tuple[int, ...]:
        """How many towers follow each cross-attend.

        Interleaved cross-attends are spread evenly, the first before the first tower. Perceiver,
        App. B, says no more than "interleaved"; for as many cross-attends as blocks, its main
        model, there is only this way.
        """
        if self.cross_attend_placement == "at_start" or not self.num_blocks:
            return (0,) * (self.num_cross_attends - 1) + (self.num_blocks,)
        starts = [
            t * self.num_blocks // self.num_cross_attends for t in range(self.num_cross_attends)
        ]
        ends = [*starts[1:], self.num_blocks]
        return tuple(end - start for start, end in zip(starts, ends, strict=True))


@dataclasses.dataclass
class PerceiverEncoder(hk.Module):
    """Reads inputs [b, m, c] into latents [b, n, d]."""

    config: EncoderConfig
    exact_gelu: bool = False  # See blocks.MLP.
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        config = self.config
        self._latents = position_encoding.TrainablePositionEncoding(
            config.num_latents,
            config.latent_channels,
            config.latent_init_scale,
            name="trainable_position_encoding",
        )
        # Names follow Haiku's own numbering: cross_attention, cross_attention_1, ...
        num_cross_attends = config.num_cross_attends
        if config.cross_attend_sharing == "all_but_first":
            num_cross_attends = min(num_cross_attends, 2)
        self._cross_attends = [
            _make_cross_attend(config, self.exact_gelu) for _ in range(num_cross_attends)
        ]
        num_towers = min(config.num_blocks, 1) if config.share_towers else config.num_blocks
        self._towers = [
            tuple(
                _make_self_attend(config, self.exact_gelu)
                for _ in range(config.self_attends_per_block)
            )
            for _ in range(num_towers)
        ]

    def __call__(
        self,
        inputs: jax.Array | ByteArray,  # [b, m, c]
        input_mask: jax.Array | None = None,  # [b, m]; 1 or True = may be read
        *,
        is_training: bool = False,
    ) -> jax.Array:  # [b, n, d]
        """Encodes `inputs`; what `input_mask` hides cannot influence the latents."""
        config = self.config
        batch = inputs.shape[0]
        how = execution.current()
        inputs = how.enter_inputs(ByteArray.of(inputs))
        # The latents are the same for all examples until they have read something.
        latents = how.enter_latents(self._latents()[None])
        mask = None
        if input_mask is not None:
            if input_mask.shape != inputs.shape[:2]:
                raise ValueError(
                    f"input_mask must have shape [batch, inputs]={inputs.shape[:2]}; got "
                    f"{input_mask.shape}."
                )
            mask = input_mask[:, None, :]

        def read(latents: jax.Array, cross_attend: blocks.CrossAttention) -> jax.Array:
            layer = partial(cross_attend, is_training=is_training)
            return how.place(how.wrap(layer, is_cross_attend=True)(latents, inputs, mask))

        def as_layer(self_attend: blocks.SelfAttention) -> blocks.Layer:
            layer = how.wrap(partial(self_attend, is_training=is_training), is_cross_attend=False)
            return lambda latents: how.place(layer(latents))

        is_plain = routes.chosen() == "plain"
        has_dropout = is_training and config.dropout_prob > 0.0
        call = traced_once.calls(
            partial(_make_self_attend, config, self.exact_gelu), as_layer, has_dropout=has_dropout
        )

        def think(latents: jax.Array, tower: Tower) -> jax.Array:
            for self_attend in tower:
                latents = call(self_attend, latents)
            return latents

        def cycle(latents: jax.Array, step: Cycle) -> jax.Array:
            cross_attend, towers = step
            latents = read(latents, cross_attend)
            for tower, times in _runs(towers):
                latents = repeat(partial(think, tower=tower), latents, times)
            return latents

        repeat = _scan if self._is_deep() and not (capture.active() or is_plain) else _loop
        for step, times in _runs(self._cycles()):
            if times > 1 or is_plain:
                latents = jnp.broadcast_to(latents, (batch, *latents.shape[1:]))
            latents = repeat(partial(cycle, step=step), latents, times)
        return latents

    def _cycles(self) -> list["Cycle"]:
        """What happens, in order: a cross-attend, and the towers that follow it."""
        cycles, block = [], 0
        for t, num_blocks in enumerate(self.config.blocks_after_cross_attends()):
            towers = [
                self._towers[min(block + i, len(self._towers) - 1)] for i in range(num_blocks)
            ]
            cross_attend = self._cross_attends[min(t, len(self._cross_attends) - 1)]
            cycles.append((cross_attend, tuple(towers)))
            block += num_blocks
        return cycles

    def _is_deep(self) -> bool:
        config = self.config
        layers = config.num_cross_attends + config.num_blocks * config.self_attends_per_block
        return layers >= _SCAN_FROM


Tower = tuple[blocks.SelfAttention, ...]
Cycle = tuple[blocks.CrossAttention, tuple[Tower, ...]]
Item = TypeVar("Item")

# Layers from which repetitions are one loop in the program instead of copies of what they repeat.
# It compiles in the time of one, and lets recomputed layers save memory on CPUs, whose compiler
# joins equal copies again. Below, copies compile quickly enough.
_SCAN_FROM = 12


def _runs(items: Sequence[Item]) -> list[tuple[Item, int]]:
    """Neighbours that are the same objects, and how many: AABBB -> (A, 2), (B, 3)."""
    return [(item, len(list(same))) for item, same in itertools.groupby(items)]


def _loop(layer: Callable[[jax.Array], jax.Array], x: jax.Array, times: int) -> jax.Array:
    for _ in range(times):
        x = layer(x)
    return x


def _scan(layer: Callable[[jax.Array], jax.Array], x: jax.Array, times: int) -> jax.Array:
    if times == 1:
        return layer(x)
    return hk.scan(lambda x, _: (layer(x), None), x, None, length=times)[0]


# Functions, not methods: Haiku would put a method's name into those of the parameters.
def _make_cross_attend(config: EncoderConfig, exact_gelu: bool) -> blocks.CrossAttention:
    return blocks.CrossAttention(
        num_heads=config.cross_attend_heads,
        qk_channels=config.qk_channels,
        v_channels=config.v_channels,
        width_rule=config.width_rule,
        use_query_residual=config.use_query_residual,
        widening_factor=config.cross_attend_widening_factor,
        dropout_prob=config.dropout_prob,
        exact_gelu=exact_gelu,
    )


def _make_self_attend(
    config: EncoderConfig, exact_gelu: bool, name: str | None = None
) -> blocks.SelfAttention:
    return blocks.SelfAttention(
        num_heads=config.self_attend_heads,
        qk_channels=config.qk_channels,
        v_channels=config.v_channels,
        widening_factor=config.self_attend_widening_factor,
        dropout_prob=config.dropout_prob,
        exact_gelu=exact_gelu,
        name=name,
    )
