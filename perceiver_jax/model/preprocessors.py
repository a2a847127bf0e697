"""Preprocessors of one modality: from images, sound, points, bytes or labels to input elements.

Each turns its modality into a byte array [b, m, c] whose elements carry their position, the form
that any Perceiver reads. `multimodal.py` joins several.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model import convolutions, patches
from perceiver_jax.model.byte_array import ByteArray, Grid, fourier_grid
from perceiver_jax.model.linear import Linear
from perceiver_jax.model.permutation import fixed_permutation
from perceiver_jax.model.position_encoding import (
    FourierConfig,
    PositionConfig,
    PositionEncoder,
    TrainablePositionEncoding,
)


class Elements(NamedTuple):
    """What a preprocessor hands to the encoder, and to decoders that query with their inputs."""

    inputs: ByteArray  # [b, m, c], content and position
    # Content alone, [b, m, c']; without elements where modalities are joined, which have their own.
    without_position: jax.Array
    by_modality: Mapping[str, "Elements"] = {}  # The parts of joined modalities, not masked.

    @property
    def features(self) -> jax.Array:  # [b, m, c]
        """The inputs written out."""
        return self.inputs.dense()


def check_input(x: jax.Array, expected: Mapping[str, int | None], what: str) -> None:
    """Raises ValueError unless `x` is a float array of the expected shape.

    Args:
      x: the input.
      expected: the size of each axis by its name; None for any size.
      what: the input's name, for the error.
    """
    names = ", ".join(name if size is None else str(size) for name, size in expected.items())
    if not isinstance(x, jax.Array | np.ndarray):
        raise ValueError(f"{what} must be an array [{names}]; got a {type(x).__name__}.")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{what} must be floating point, scaled as in training; got {x.dtype}.")
    sizes = tuple(expected.values())
    if x.ndim != len(sizes) or any(e not in (None, s) for s, e in zip(x.shape, sizes, strict=True)):
        raise ValueError(f"{what} must have shape [{names}]; got {list(x.shape)}.")


@dataclasses.dataclass
class PositionedPreprocessor(hk.Module):
    """Joins content with the encodings of its positions; base of the grid-like modalities."""

    config: "ImageConfig | AudioConfig"
    name: str | None = None

    def _build_network_inputs(self, x: jax.Array) -> Elements:  # [b, *index_dims, c]
        config = self.config
        grid, index_dims = x, x.shape[1:-1]
        x = x.reshape(x.shape[0], math.prod(index_dims), x.shape[-1])
        order = None
        if config.permutation_seed is not None:
            # One fixed order for all examples, after the positions are attached (Perceiver, 4.1).
            order = fixed_permutation(config.permutation_seed, x.shape[1])
        if config.position is None:
            x = x if order is None else x[:, order]
            return Elements(ByteArray.of(x), x)

        encoder = PositionEncoder(config.position, index_dims, config.project_position_to)
        joined = config.position_joined_by == "concat"
        if joined and order is None and not config.extra_position_mlp_layers:
            axes = encoder.by_axis()
            if axes is not None:
                axes = jax.tree.map(lambda part: part.astype(x.dtype), axes)
                return Elements(ByteArray((fourier_grid(grid, axes),)), x)
        encoding = encoder()
        for layer in range(config.extra_position_mlp_layers):
            encoding = encoding + Linear(encoding.shape[-1])(encoding)
            if layer < config.extra_position_mlp_layers - 1:
                encoding = jax.nn.relu(encoding)
        encoding = encoding.astype(x.dtype)
        if order is not None:
            encoding, x = encoding[order], x[:, order]
        if joined:
            return Elements(ByteArray((Grid.of(x, rows=encoding),)), x)
        if encoding.shape[-1] != x.shape[-1]:
            raise ValueError(
                f"positions of {encoding.shape[-1]} channels cannot be added to inputs of "
                f"{x.shape[-1]}; set project_position_to={x.shape[-1]}."
            )
        return Elements(ByteArray.of(x + encoding), x)


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """Images [b, y, x, c] or videos [b, t, y, x, c] as input elements."""

    shape: tuple[int, ...]  # Natural size of the input, (y, x) or (t, y, x).
    channels: int = 3  # Channels of a pixel.
    prep: Literal["pixels", "patches", "conv", "conv1x1"] = "pixels"  # What an element is made of.
    spatial_downsample: int = 1  # Step of pixels and conv1x1, side of a patch, 4^layers of conv.
    temporal_downsample: int = 1  # Step or depth of a patch in time.
    prep_channels: int | None = None  # Width after conv, conv1x1, or a linear layer on patches.
    use_batch_norm: bool = True  # Whether prep 'conv' has batch norm.
    stem_padding: convolutions.StemPadding = "same"  # How prep 'conv' pads; see convolutions.py.
    neighbourhood: int = 1  # Side of the surroundings each pixel brings along (flow: 3).
    position: PositionConfig | None = None  # The position encoding.
    project_position_to: int | None = None  # Width the encoding is projected to.
    extra_position_mlp_layers: int = 0  # Residual layers on the encoding.
    position_joined_by: Literal["concat", "add"] = "concat"  # How positions meet the content.
    permutation_seed: int | None = None  # Shuffles the elements, the same way for every example.

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3):
            raise ValueError(
                f"shape={self.shape} must be (height, width) or (frames, height, width)."
            )
        if self.prep in ("conv", "conv1x1") and self.prep_channels is None:
            raise ValueError(f"prep={self.prep!r} needs prep_channels.")
        if self.prep in ("conv", "conv1x1") and self.temporal_downsample != 1:
            raise ValueError(
                f"prep={self.prep!r} works frame by frame: temporal_downsample must be 1."
            )
        if self.prep == "pixels" and self.prep_channels is not None:
            raise ValueError(
                "prep='pixels' takes channels as they are: prep_channels must be none."
            )
        if self.neighbourhood % 2 == 0 or (self.neighbourhood > 1 and len(self.shape) != 3):
            raise ValueError("neighbourhood must be odd, and needs frames: shape=(t, y, x).")

    @property
    def index_dims(self) -> tuple[int, ...]:
        """Size of the grid of elements at the natural input size."""
        *time, height, width = self.shape
        dims = [-(-size // self.spatial_downsample) for size in (height, width)]
        if self.prep == "conv":
            layers = convolutions.exact_log(self.spatial_downsample, 4, "spatial_downsample")
            dims = [
                convolutions.stem_output_size(size, layers, self.stem_padding)
                for size in (height, width)
            ]
        time = [-(-size // self.temporal_downsample) for size in time]
        if self.prep == "patches" and time == [1]:
            time = []
        return (*time, *dims)


@dataclasses.dataclass
class ImagePreprocessor(PositionedPreprocessor):
    """Images and videos (Perceiver, Sec. 4.1 and 4.2; Perceiver IO, App. A, H and I)."""

    config: ImageConfig

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        config = self.config
        self._stem: Callable[..., jax.Array]
        if config.prep == "conv":
            assert config.prep_channels is not None
            self._stem = convolutions.Conv2DDownsample(
                num_layers=convolutions.exact_log(
                    config.spatial_downsample, 4, "spatial_downsample of prep 'conv'"
                ),
                num_channels=config.prep_channels,
                use_batch_norm=config.use_batch_norm,
                padding=config.stem_padding,
            )
        elif config.prep == "conv1x1":
            assert config.prep_channels is not None
            self._stem = hk.Conv2D(
                config.prep_channels,
                kernel_shape=1,
                stride=config.spatial_downsample,
                name="conv2_d",
            )

    def __call__(self, images: jax.Array, *, is_training: bool = False) -> Elements:
        """Preprocesses images [b, y, x, c] or videos [b, t, y, x, c].

        Other sizes than `config.shape` are accepted where the positions are Fourier features.

        Raises:
          ValueError: the rank or the channels do not fit the config.
        """
        config = self.config
        grid = dict.fromkeys(("t", "y", "x")[-len(config.shape) :])
        check_input(images, {"batch": None, **grid, "channels": config.channels}, "images")
        if isinstance(config.position, FourierConfig) or config.position is None:
            pass
        elif images.shape[1:-1] != config.shape:
            raise ValueError(
                f"learned positions know images of size {config.shape} only; got "
                f"{images.shape[1:-1]}. Resize the images, or use Fourier positions."
            )
        x = images
        if config.neighbourhood > 1:
            x = patches.neighbourhoods(x, config.neighbourhood)
        space, time = config.spatial_downsample, config.temporal_downsample
        if config.prep == "pixels":
            x = x[:, ::time, ::space, ::space] if x.ndim == 5 else x[:, ::space, ::space]
        elif config.prep == "patches":
            x = patches.space_to_depth(x, temporal_block=time, spatial_block=space)
            if x.ndim == 5 and x.shape[1] == 1:
                x = x[:, 0]  # All frames are in one patch: positions have no time axis.
            if config.prep_channels is not None:
                x = Linear(config.prep_channels, name="patches_linear")(x)
        elif config.prep == "conv":
            x = _per_frame(lambda frames: self._stem(frames, is_training=is_training), x)
        else:
            x = _per_frame(self._stem, x)
        return self._build_network_inputs(x)


@dataclasses.dataclass(frozen=True)
class AudioConfig:
    """Sound [b, samples, 1] as input elements: patches of raw samples, or one value each."""

    num_samples: int  # Natural length.
    samples_per_patch: int  # Samples of one element.
    position: PositionConfig | None = None  # The position encoding, along time.
    project_position_to: int | None = None  # Width the encoding is projected to.
    extra_position_mlp_layers: int = 0  # Residual layers on the encoding.
    position_joined_by: Literal["concat", "add"] = "concat"  # How positions meet the content.
    permutation_seed: int | None = None  # Shuffles the elements, the same way for every example.

    def __post_init__(self) -> None:
        if self.num_samples % self.samples_per_patch:
            raise ValueError(
                f"num_samples={self.num_samples} is not a multiple of "
                f"samples_per_patch={self.samples_per_patch}."
            )

    @property
    def index_dims(self) -> tuple[int, ...]:
        """Number of patches."""
        return (self.num_samples // self.samples_per_patch,)


@dataclasses.dataclass
class AudioPreprocessor(PositionedPreprocessor):
    """Raw sound (Perceiver, Sec. 4.2; Perceiver IO, App. I)."""

    config: AudioConfig

    def __call__(self, audio: jax.Array, *, is_training: bool = False) -> Elements:
        """Preprocesses sound [b, samples, 1].

        Raises:
          ValueError: not mono sound, or its length is not a multiple of the patch.
        """
        del is_training
        config = self.config
        check_input(audio, {"batch": None, "samples": None, "channels": 1}, "audio")
        if audio.shape[1] % config.samples_per_patch:
            raise ValueError(
                f"{audio.shape[1]} samples are not a multiple of "
                f"samples_per_patch={config.samples_per_patch}; cut or pad the sound."
            )
        return self._build_network_inputs(
            audio.reshape(audio.shape[0], -1, config.samples_per_patch)
        )


@dataclasses.dataclass(frozen=True)
class PointsConfig:
    """Point clouds [b, points, axes]: every point one element, its coordinates the only content."""

    num_points: int  # Natural number of points; any number is accepted.
    position: FourierConfig  # Features of the coordinates.
    num_axes: int = 3  # Coordinates of a point.


@dataclasses.dataclass
class PointsPreprocessor(hk.Module):
    """Point clouds (Perceiver, Sec. 4.3)."""

    config: PointsConfig
    name: str | None = None

    def __call__(self, points: jax.Array, *, is_training: bool = False) -> Elements:
        """Preprocesses coordinates [b, points, axes] in [-1, 1]."""
        del is_training
        config = self.config
        check_input(points, {"batch": None, "points": None, "axes": config.num_axes}, "points")
        if config.position.max_resolution is None:
            raise ValueError("points have no grid: the Fourier config needs a max_resolution.")
        features = PositionEncoder(config.position, ()).at(points)
        return Elements(ByteArray.of(features.astype(points.dtype)), points)


@dataclasses.dataclass(frozen=True)
class LabelConfig:
    """One-hot labels [b, classes]: one input element."""

    num_classes: int


@dataclasses.dataclass
class OneHotPreprocessor(hk.Module):
    """Labels as an input, to be predicted when masked (Perceiver IO, App. I)."""

    config: LabelConfig
    name: str | None = None

    def __call__(self, labels: jax.Array, *, is_training: bool = False) -> Elements:
        """Preprocesses labels [b, classes]."""
        del is_training
        check_input(labels, {"batch": None, "classes": self.config.num_classes}, "labels")
        return Elements(ByteArray.of(labels[:, None, :]), labels[:, None, :])


@dataclasses.dataclass(frozen=True)
class TokensConfig:
    """Token ids [b, length], embedded, with learned positions added."""

    length: int  # Length of the padded sequence.
    vocab_size: int = 262  # 256 bytes and 6 special tokens (tokenizer.py).
    channels: int = 768  # Width of the embedding.
    position_init_scale: float = 0.02  # Standard deviation of the initial positions.


class TokensPreprocessor:
    """Embeds tokens (Perceiver IO, App. F).

    Not a Haiku module, so that `embed` and `trainable_position_encoding` stand at the top of the
    tree as in the released checkpoint.
    """

    def __init__(self, config: TokensConfig):
        self.config = config
        self.embed = hk.Embed(config.vocab_size, config.channels, name="embed")
        self._positions = TrainablePositionEncoding(
            config.length,
            config.channels,
            config.position_init_scale,
            name="trainable_position_encoding",
        )

    def __call__(self, ids: jax.Array, *, is_training: bool = False) -> Elements:
        """Preprocesses ids [b, m], of the model's length or shorter.

        Raises:
          ValueError: the ids are no integers or more than the model's length.
        """
        del is_training
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"token ids must be integers; got {ids.dtype}.")
        if ids.ndim != 2 or ids.shape[1] > self.config.length:
            raise ValueError(
                f"token ids must have shape [batch, up to {self.config.length}]; got "
                f"{list(ids.shape)}. Cut the text, or run it in parts."
            )
        embedded = self.embed(ids)
        positioned = embedded + self._positions()[: ids.shape[1]]
        return Elements(ByteArray.of(positioned), embedded)


def _per_frame(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function of images to images, or to every frame of a video."""
    return function(x) if x.ndim == 4 else hk.BatchApply(function)(x)
