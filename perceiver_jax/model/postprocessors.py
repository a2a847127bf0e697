"""Postprocessors: from decoded elements [b, o, c] to what the modality looks like outside."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import convolutions, patches
from perceiver_jax.model.linear import Linear


@dataclasses.dataclass(frozen=True)
class AudioOutputConfig:
    """A linear layer to the samples of a patch."""

    samples_per_patch: int


@dataclasses.dataclass(frozen=True)
class ProjectionOutputConfig:
    """A linear layer, element by element."""

    channels: int


@dataclasses.dataclass(frozen=True)
class ClassOutputConfig:
    """A linear layer to logits, of the first element."""

    num_classes: int


@dataclasses.dataclass(frozen=True)
class ImageOutputConfig:
    """Elements of a grid as an image or a video."""

    kind: Literal["conv", "conv1x1", "patches", "pixels"] = "pixels"  # How elements become pixels.
    channels: int | None = None  # Channels of a pixel, for conv and conv1x1.
    spatial_upsample: int = 1  # Pixels per element along height and width.
    temporal_upsample: int = 1  # Frames per element.
    shape: tuple[int, ...] | None = None  # The grid of a flat input: (y, x) or (t, y, x).

    def __post_init__(self) -> None:
        if self.kind in ("conv", "conv1x1") and self.channels is None:
            raise ValueError(f"kind={self.kind!r} needs channels.")
        if self.kind in ("conv1x1", "pixels") and (
            self.spatial_upsample != 1 or self.temporal_upsample != 1
        ):
            raise ValueError(f"kind={self.kind!r} cannot upsample; use 'conv' or 'patches'.")
        if self.kind == "conv" and self.temporal_upsample == 1 and self.spatial_upsample != 4:
            raise ValueError("kind='conv' upsamples images by 4; use 'patches' for other factors.")


@dataclasses.dataclass(frozen=True)
class TiedEmbeddingConfig:
    """Logits over the vocabulary, with the input embedding's own matrix (Perceiver IO, App. F)."""


OutputConfig = AudioOutputConfig | ProjectionOutputConfig | ClassOutputConfig | ImageOutputConfig


@dataclasses.dataclass(frozen=True)
class MultimodalOutputConfig:
    """One postprocessor for each modality."""

    outputs: Mapping[str, OutputConfig]  # By modality.


@dataclasses.dataclass
class AudioPostprocessor(hk.Module):
    """[b, o, c] -> [b, o * samples_per_patch]."""

    config: AudioOutputConfig
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        samples = Linear(self.config.samples_per_patch)(x)
        return samples.reshape(x.shape[0], -1)


@dataclasses.dataclass
class ProjectionPostprocessor(hk.Module):
    """[b, o, c] -> [b, o, channels]."""

    config: ProjectionOutputConfig
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        return Linear(self.config.channels)(x)


@dataclasses.dataclass
class ClassificationPostprocessor(hk.Module):
    """[b, o, c] -> [b, num_classes]."""

    config: ClassOutputConfig
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        return Linear(self.config.num_classes)(x)[:, 0]


@dataclasses.dataclass
class ImagePostprocessor(hk.Module):
    """[b, o, c], or a grid [b, (t,) y, x, c], -> images or videos."""

    config: ImageOutputConfig
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        config = self.config
        self._head: Callable[[jax.Array], jax.Array]
        channels = config.channels or 0
        if config.kind == "conv1x1":
            self._head = hk.Conv2D(channels, kernel_shape=1, name="conv2_d")
        elif config.kind == "conv" and config.temporal_upsample > 1:
            self._head = convolutions.Conv3DUpsample(
                channels,
                num_temporal_upsamples=convolutions.exact_log(
                    config.temporal_upsample, 2, "temporal_upsample"
                ),
                num_space_upsamples=convolutions.exact_log(
                    config.spatial_upsample, 2, "spatial_upsample"
                ),
            )
        elif config.kind == "conv":
            self._head = convolutions.Conv2DUpsample(channels)

    def __call__(self, x: jax.Array) -> jax.Array:
        config = self.config
        if config.shape is not None:
            x = x.reshape(x.shape[0], *config.shape, x.shape[-1])
        if config.kind == "pixels":
            return x
        if config.kind == "patches":
            return patches.depth_to_space(
                x,
                temporal_block=config.temporal_upsample,
                spatial_block=config.spatial_upsample,
            )
        if x.ndim == 5 and config.temporal_upsample == 1:
            return hk.BatchApply(self._head)(x)
        return self._head(x)


@dataclasses.dataclass
class EmbeddingDecoder(hk.Module):
    """Logits [b, o, vocab] by the similarity of [b, o, c] to each embedding, plus a bias."""

    embedding_matrix: jax.Array  # [vocab, c]
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        vocab_size, channels = self.embedding_matrix.shape
        if x.shape[-1] != channels:
            raise ValueError(
                f"decoded elements of {x.shape[-1]} channels cannot be compared with embeddings "
                f"of {channels}; give the decoder's query {channels} channels."
            )
        bias = hk.get_parameter("bias", [vocab_size], init=jnp.zeros)
        return x @ self.embedding_matrix.T + bias


def make_postprocessor(config: OutputConfig) -> Callable[[jax.Array], jax.Array]:
    """The postprocessor of a config, a function of [b, o, c]."""
    if isinstance(config, AudioOutputConfig):
        return AudioPostprocessor(config)
    if isinstance(config, ProjectionOutputConfig):
        return ProjectionPostprocessor(config)
    if isinstance(config, ClassOutputConfig):
        return ClassificationPostprocessor(config)
    return ImagePostprocessor(config)
