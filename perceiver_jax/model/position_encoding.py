"""Position encodings: Fourier features and learned tables (Perceiver, Sec. 3.2 and App. D).

Encodings belong to an index, not to an example, so they are made without a batch axis wherever the
positions are a grid, and axis by axis where they can be (`byte_array.py`).
"""

import dataclasses
import math
from typing import Literal

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model.linear import Linear

# Whose `linspace` makes positions and bands. The two round differently, in the last place, and the
# sine of hundreds of radians shows it: outputs of Hugging Face's models need torch's.
Rounding = Literal["jax", "torch"]


@dataclasses.dataclass(frozen=True)
class FourierConfig:
    """Fourier features of positions in [-1, 1], `d * (2 * num_bands + 1)` channels for d axes."""

    num_bands: int  # Frequencies per axis, equally spaced from 1 to max_resolution / 2.
    max_resolution: tuple[int, ...] | None = None  # Samples per axis; None: the grid's own size.
    concat_position: bool = True  # Whether the position itself stands before its features.
    sine_only: bool = False  # Whether the cosines are left out.
    rounded_as: Rounding = "jax"  # Whose float32 positions and bands these are.

    def __post_init__(self) -> None:
        if self.num_bands < 1:
            raise ValueError(f"num_bands={self.num_bands} must be at least 1.")

    def num_channels(self, num_axes: int) -> int:
        """Width of the encoding of a position with `num_axes` axes."""
        per_band = 1 if self.sine_only else 2
        return num_axes * (self.num_bands * per_band + int(self.concat_position))


@dataclasses.dataclass(frozen=True)
class LearnedConfig:
    """A trainable table with one row per position."""

    channels: int  # Width of a row.
    init_scale: float = 0.02  # Standard deviation of the truncated normal it starts from.

    def num_channels(self, num_axes: int) -> int:
        """Width of the encoding, whatever the number of axes."""
        del num_axes
        return self.channels


PositionConfig = FourierConfig | LearnedConfig


def linear_positions(
    index_dims: tuple[int, ...], rounded_as: Rounding = "jax"
) -> jax.Array:  # [prod(index_dims), d]
    """Positions of a grid, each axis equally spaced over [-1, 1] with both ends included."""
    axes = [_linspace(-1.0, 1.0, size, rounded_as) for size in index_dims]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(index_dims))


def _linspace(
    start: float, stop: float, num: int, rounded_as: Rounding
) -> jax.Array:  # [num] float32
    if rounded_as == "jax" or num == 1:
        return jnp.linspace(start, stop, num=num, dtype=jnp.float32)
    # On a CPU, torch counts from both ends in steps of a float32, and rounds once.
    step = np.float64(np.float32(stop - start) / np.float32(num - 1))
    index = np.arange(num)
    counted = np.where(index < num // 2, start + step * index, stop - step * (num - 1 - index))
    return jnp.asarray(counted.astype(np.float32))


def subsampled_positions(
    points: jax.Array,  # [p] flat indices into the grid
    index_dims: tuple[int, ...],
    rounded_as: Rounding = "jax",
) -> jax.Array:  # [p, d]
    """Positions of some points of a grid, as the released decoders place them.

    NOTE(fidelity): position i of an axis of size s is -1 + 2i/s here, which never reaches +1,
    unlike `linear_positions`. The released video model was trained and must be decoded this way.
    """
    indices = jnp.unravel_index(points, index_dims)
    if rounded_as == "torch":
        # Looked up, because XLA divides by a constant with less care than torch.
        tables = [
            np.float32(-1) + np.arange(0, 2 * size, 2, dtype=np.float32) / np.float32(size)
            for size in index_dims
        ]
        positions = [jnp.asarray(table)[i] for table, i in zip(tables, indices, strict=True)]
        return jnp.stack(positions, axis=-1)
    return -1.0 + 2.0 * jnp.stack(indices, axis=-1) / jnp.asarray(index_dims, jnp.float32)


def fourier_features(
    positions: jax.Array,  # [..., d]
    config: FourierConfig,
    max_resolution: tuple[int, ...],
) -> jax.Array:  # [..., config.num_channels(d)]
    """Fourier features of `positions`, channels ordered as in the released models.

    The order is `[positions | sines of axis 1, of axis 2, ... | cosines of axis 1, ...]`.

    Args:
      positions: coordinates, nominally in [-1, 1].
      config: number of bands and which parts are kept.
      max_resolution: samples per axis; half of it, the Nyquist rate, is the highest frequency.

    Raises:
      ValueError: `max_resolution` has not one entry per axis.
    """
    parts = fourier_parts(positions, config, max_resolution)
    return jnp.concatenate(parts, axis=-1)


def fourier_parts(
    positions: jax.Array,  # [..., d]
    config: FourierConfig,
    max_resolution: tuple[int, ...],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three parts of `fourier_features`: positions, sines and cosines, [..., c] each.

    Parts that the config leaves out have no channels.
    """
    num_axes = positions.shape[-1]
    if len(max_resolution) != num_axes:
        raise ValueError(
            f"max_resolution={max_resolution} needs one entry for each of the {num_axes} axes of "
            f"positions of shape {positions.shape}."
        )
    bands = jnp.stack(
        [_linspace(1.0, size / 2, config.num_bands, config.rounded_as) for size in max_resolution]
    )  # [d, bands]
    phases = jnp.pi * (positions[..., None] * bands)  # [..., d, bands]
    phases = phases.reshape(*positions.shape[:-1], num_axes * config.num_bands)
    none = jnp.zeros((*positions.shape[:-1], 0), positions.dtype)
    return (
        positions if config.concat_position else none,
        jnp.sin(phases),
        none if config.sine_only else jnp.cos(phases),
    )


@dataclasses.dataclass
class TrainablePositionEncoding(hk.Module):
    """A trainable table [num_positions, num_channels]: positions, latents, padding, mask tokens."""

    num_positions: int  # Rows.
    num_channels: int  # Width of a row.
    init_scale: float = 0.02  # Standard deviation, truncated at two of them (Perceiver, App. C).
    name: str | None = None

    def __call__(self) -> jax.Array:  # [num_positions, num_channels]
        """Returns the table."""
        return hk.get_parameter(
            "pos_embs",
            [self.num_positions, self.num_channels],
            init=hk.initializers.TruncatedNormal(stddev=self.init_scale),
        )


@dataclasses.dataclass
class PositionEncodingProjector(hk.Module):
    """Projects an encoding linearly to another width (Perceiver IO, App. A)."""

    output_size: int  # The width to project to.
    name: str | None = None

    def __call__(self, encoding: jax.Array) -> jax.Array:  # [..., c] -> [..., output_size]
        """Projects `encoding`."""
        return Linear(self.output_size)(encoding)


class PositionEncoder:
    """The encoding of a grid of positions, optionally projected.

    Not a Haiku module itself, so that the table and the projector are named after the module that
    makes it, as in the released checkpoints.
    """

    def __init__(
        self,
        config: PositionConfig,
        index_dims: tuple[int, ...],
        project_to: int | None = None,
    ):
        self.config = config
        self.index_dims = index_dims
        self._table = (
            TrainablePositionEncoding(math.prod(index_dims), config.channels, config.init_scale)
            if isinstance(config, LearnedConfig)
            else None
        )
        self._projector = PositionEncodingProjector(project_to) if project_to else None

    def __call__(self, points: jax.Array | None = None) -> jax.Array:
        """Encodes the whole grid, or the positions with flat indices `points` [p].

        Returns:
          [p or prod(index_dims), c], without a batch axis.
        """
        if self._table is not None:
            encoding = self._table()
            encoding = encoding if points is None else encoding[points]
        elif points is None:
            assert isinstance(self.config, FourierConfig)
            encoding = self._fourier(linear_positions(self.index_dims, self.config.rounded_as))
        else:
            assert isinstance(self.config, FourierConfig)
            rounded_as = self.config.rounded_as
            encoding = self._fourier(subsampled_positions(points, self.index_dims, rounded_as))
        return self._project(encoding)

    def by_axis(self) -> list[tuple[jax.Array, jax.Array, jax.Array]] | None:
        """The encoding of each axis alone, three parts [size, c] each: see `fourier_parts`.

        None where the encoding of a position is no concatenation of those of its coordinates:
        learned tables, and projected encodings.
        """
        if not isinstance(self.config, FourierConfig) or self._projector is not None:
            return None
        resolution = self.config.max_resolution or self.index_dims
        if len(resolution) != len(self.index_dims):
            return None  # `__call__` says what is wrong.
        rounded_as = self.config.rounded_as
        return [
            fourier_parts(linear_positions((size,), rounded_as), self.config, (most,))
            for size, most in zip(self.index_dims, resolution, strict=True)
        ]

    def at(self, positions: jax.Array) -> jax.Array:  # [..., d] -> [..., c]
        """Encodes given `positions`, for example the coordinates of points.

        Raises:
          ValueError: the encoding is a learned table, which knows indices only.
        """
        if self._table is not None:
            raise ValueError("a learned position table cannot encode coordinates; use Fourier.")
        return self._project(self._fourier(positions))

    def _fourier(self, positions: jax.Array) -> jax.Array:
        assert isinstance(self.config, FourierConfig)
        return fourier_features(
            positions, self.config, self.config.max_resolution or self.index_dims
        )

    def _project(self, encoding: jax.Array) -> jax.Array:
        return encoding if self._projector is None else self._projector(encoding)
