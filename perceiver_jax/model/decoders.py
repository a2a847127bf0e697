"""Decoders: output queries read the latents (Perceiver IO, Sec. 3.2), or the latents' mean is used.

Every decoder is one cross-attention from a query array to the latents. What differs is where the
queries come from: a learned array, Fourier features of output positions, or the inputs themselves.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import blocks, execution
from perceiver_jax.model.byte_array import ByteArray, Grid, fourier_grid
from perceiver_jax.model.linear import Linear
from perceiver_jax.model.position_encoding import LearnedConfig, PositionConfig, PositionEncoder
from perceiver_jax.model.preprocessors import Elements


@dataclasses.dataclass(frozen=True)
class QueryConfig:
    """One output query per position of a grid."""

    shape: tuple[int, ...]  # The grid of outputs.
    position: PositionConfig  # The encoding of an output's position: the query.
    project_position_to: int | None = None  # Width the encoding is projected to.
    concat_inputs: bool = False  # Whether the input's content stands before the position.


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The basic decoder: outputs [b, o, output_channels]."""

    output_channels: int | None  # Width after the final projection; None: no final projection.
    query: QueryConfig | None = None  # The queries; None: the input features themselves.
    num_heads: int = 1  # Heads of the cross-attention.
    qk_channels: int | None = None  # Width of queries and keys; None: by width_rule.
    v_channels: int | None = None  # Width of the values; None: qk_channels.
    width_rule: blocks.WidthRule = "kv"  # Default width inside the cross-attention.
    use_query_residual: bool = False  # Whether the queries are added to what they read.
    widening_factor: int = 1  # MLP width, as a multiple of the query's.
    output_init: Literal["default", "zeros"] = "default"  # Initial weights of the projection.


@dataclasses.dataclass(frozen=True)
class ClassificationDecoderConfig:
    """One learned query, whose output are the logits [b, classes] (Perceiver IO, App. A)."""

    num_classes: int
    query_channels: int = 1024  # Width of the query.
    query_init_scale: float = 0.02  # Standard deviation of the initial query.
    num_heads: int = 1  # See DecoderConfig, from here on.
    qk_channels: int | None = None
    v_channels: int | None = None
    width_rule: blocks.WidthRule = "kv"
    use_query_residual: bool = True
    widening_factor: int = 1
    output_init: Literal["default", "zeros"] = "default"

    def decoder(self) -> DecoderConfig:
        """The basic decoder that computes the logits."""
        return DecoderConfig(
            output_channels=self.num_classes,
            query=QueryConfig((1,), LearnedConfig(self.query_channels, self.query_init_scale)),
            num_heads=self.num_heads,
            qk_channels=self.qk_channels,
            v_channels=self.v_channels,
            width_rule=self.width_rule,
            use_query_residual=self.use_query_residual,
            widening_factor=self.widening_factor,
            output_init=self.output_init,
        )


@dataclasses.dataclass(frozen=True)
class FlowDecoderConfig:
    """One query per pixel, the features of the first frame there (Perceiver IO, App. H).

    Where both frames of a pixel form one input, as in the released model, its features are those
    of both.
    """

    shape: tuple[int, int]  # Height and width of the flow.
    decoder: DecoderConfig = DecoderConfig(output_channels=2, output_init="zeros")
    rescale_factor: float = 100.0  # The output is divided by this.


@dataclasses.dataclass(frozen=True)
class VideoDecoderConfig:
    """One query per element of a video: [b, t, y, x, output_channels]."""

    decoder: DecoderConfig

    def __post_init__(self) -> None:
        if self.decoder.query is None or len(self.decoder.query.shape) != 3:
            raise ValueError("a video decoder needs queries of shape (t, y, x).")


@dataclasses.dataclass(frozen=True)
class ProjectionDecoderConfig:
    """No queries: the mean of the latents, then a linear layer (Perceiver, App. C)."""

    num_classes: int
    output_init: Literal["default", "zeros"] = "zeros"  # Initial weights, as released.


@dataclasses.dataclass
class BasicDecoder(hk.Module):
    """Queries [b, o, c] read latents [b, n, d]."""

    config: DecoderConfig
    exact_gelu: bool = False  # See blocks.MLP.
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        query = self.config.query
        self._positions = (
            PositionEncoder(query.position, query.shape, query.project_position_to)
            if query is not None
            else None
        )

    def decoder_query(
        self, inputs: Elements, points: jax.Array | None = None
    ) -> ByteArray:  # [b, o, c]
        """The queries of all outputs, or of the outputs with flat indices `points` [p]."""
        query = self.config.query
        if self._positions is None or query is None:
            return inputs.inputs if points is None else inputs.inputs.take(points)
        batch, dtype = inputs.inputs.batch_size, inputs.inputs.dtype
        num_outputs = math.prod(query.shape) if points is None else points.shape[0]
        content = jnp.zeros((batch, num_outputs, 0), dtype)
        if query.concat_inputs:
            if inputs.by_modality:
                raise ValueError(
                    "concat_inputs needs the inputs of one modality; of several, give each a query "
                    "of its own (MultimodalDecoderConfig)."
                )
            content = inputs.without_position
            content = content if points is None else content[:, points]
            if content.shape[1] != num_outputs:
                raise ValueError(
                    f"concat_inputs needs one input for each output; got {content.shape[1]} inputs "
                    f"and {num_outputs} outputs."
                )
        axes = self._positions.by_axis() if points is None else None
        if axes is not None:
            axes = jax.tree.map(lambda part: part.astype(dtype), axes)
            content = content.reshape(batch, *query.shape, content.shape[-1])
            return ByteArray((fourier_grid(content, axes),))
        position = self._positions(points).astype(dtype)
        return ByteArray((Grid.of(content, rows=position),))

    def __call__(
        self,
        query: jax.Array | ByteArray,  # [b, o, c]
        latents: jax.Array,  # [b, n, d]
        query_mask: jax.Array | None = None,  # [b, o]; 0 or False: that output reads nothing
        *,
        is_training: bool = False,
    ) -> jax.Array:  # [b, o, output_channels]
        """Decodes `latents` at `query`."""
        config = self.config
        query = ByteArray.of(query)
        mask = None
        if query_mask is not None:
            if query_mask.shape != query.shape[:2]:
                raise ValueError(
                    f"query_mask must have shape [batch, outputs]={query.shape[:2]}; got "
                    f"{query_mask.shape}."
                )
            mask = query_mask[:, :, None]
        how = execution.current()
        project: Callable[[jax.Array], jax.Array] | None = None
        if config.output_channels is not None:
            output = Linear(
                config.output_channels, w_init=_output_init(config.output_init), name="output"
            )

            def project(x: jax.Array) -> jax.Array:
                return output(how.leave(x))

        cross_attend = blocks.CrossAttention(
            num_heads=config.num_heads,
            qk_channels=config.qk_channels,
            v_channels=config.v_channels,
            width_rule=config.width_rule,
            use_query_residual=config.use_query_residual,
            widening_factor=config.widening_factor,
            exact_gelu=self.exact_gelu,
        )
        layer = partial(cross_attend, is_training=is_training, then=project)
        read = how.wrap(layer, is_cross_attend=True)
        return how.leave(how.place(read(how.enter_inputs(query), how.enter(latents), mask)))


@dataclasses.dataclass
class ClassificationDecoder(hk.Module):
    """Logits [b, classes] from one learned query."""

    config: ClassificationDecoderConfig
    exact_gelu: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._decoder = BasicDecoder(self.config.decoder(), self.exact_gelu)

    def decoder_query(self, inputs: Elements, points: jax.Array | None = None) -> ByteArray:
        return self._decoder.decoder_query(inputs, points)

    def __call__(
        self,
        query: jax.Array | ByteArray,
        latents: jax.Array,
        query_mask: jax.Array | None = None,
        *,
        is_training: bool = False,
    ) -> jax.Array:
        return self._decoder(query, latents, query_mask, is_training=is_training)[:, 0]


@dataclasses.dataclass
class FlowDecoder(hk.Module):
    """Flow [b, y, x, 2], or [b, p, 2] for queries at p points."""

    config: FlowDecoderConfig
    exact_gelu: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._decoder = BasicDecoder(self.config.decoder, self.exact_gelu)

    def decoder_query(self, inputs: Elements, points: jax.Array | None = None) -> ByteArray:
        height, width = self.config.shape
        # Elements stand frame by frame: the first frame's come first.
        first_frame = Elements(
            inputs.inputs.first(height * width), inputs.without_position[:, : height * width]
        )
        return self._decoder.decoder_query(first_frame, points)

    def __call__(
        self,
        query: jax.Array | ByteArray,
        latents: jax.Array,
        query_mask: jax.Array | None = None,
        *,
        is_training: bool = False,
    ) -> jax.Array:
        flow = self._decoder(query, latents, query_mask, is_training=is_training)
        return _to_grid(flow / self.config.rescale_factor, self.config.shape)


@dataclasses.dataclass
class BasicVideoAutoencodingDecoder(hk.Module):
    """A video [b, t, y, x, c], or [b, p, c] for queries at p points."""

    config: VideoDecoderConfig
    exact_gelu: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._decoder = BasicDecoder(self.config.decoder, self.exact_gelu)

    def decoder_query(self, inputs: Elements, points: jax.Array | None = None) -> ByteArray:
        return self._decoder.decoder_query(inputs, points)

    def __call__(
        self,
        query: jax.Array | ByteArray,
        latents: jax.Array,
        query_mask: jax.Array | None = None,
        *,
        is_training: bool = False,
    ) -> jax.Array:
        assert self.config.decoder.query is not None
        video = self._decoder(query, latents, query_mask, is_training=is_training)
        return _to_grid(video, self.config.decoder.query.shape)


@dataclasses.dataclass
class ProjectionDecoder(hk.Module):
    """Logits [b, classes] from the mean of the latents: first averaged, then projected."""

    config: ProjectionDecoderConfig
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._logits = Linear(
            self.config.num_classes, w_init=_output_init(self.config.output_init), name="logits"
        )

    def __call__(self, latents: jax.Array) -> jax.Array:  # [b, n, d] -> [b, classes]
        return self._logits(execution.current().leave(latents).mean(axis=1))


QueryingDecoder = BasicDecoder | ClassificationDecoder | FlowDecoder | BasicVideoAutoencodingDecoder
QueryingDecoderConfig = (
    DecoderConfig | ClassificationDecoderConfig | FlowDecoderConfig | VideoDecoderConfig
)


def make_decoder(config: QueryingDecoderConfig, exact_gelu: bool = False) -> QueryingDecoder:
    """The decoder of a config."""
    if isinstance(config, ClassificationDecoderConfig):
        return ClassificationDecoder(config, exact_gelu)
    if isinstance(config, FlowDecoderConfig):
        return FlowDecoder(config, exact_gelu)
    if isinstance(config, VideoDecoderConfig):
        return BasicVideoAutoencodingDecoder(config, exact_gelu)
    return BasicDecoder(config, exact_gelu)


def _output_init(kind: str) -> hk.initializers.Initializer | None:
    return jnp.zeros if kind == "zeros" else None


def _to_grid(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """[b, o, c] -> [b, *shape, c] if all outputs are there; a subset of them stays flat."""
    whole = x.shape[1] == math.prod(shape)
    return x.reshape(x.shape[0], *shape, x.shape[-1]) if whole else x
