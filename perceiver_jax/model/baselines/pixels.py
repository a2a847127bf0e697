"""What the baselines have in common: images in, their positions, the permutation, logits out."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.model.permutation import fixed_permutation
from perceiver_jax.model.position_encoding import FourierConfig, PositionEncoder
from perceiver_jax.model.preprocessors import check_input


@dataclasses.dataclass(frozen=True)
class BaselineConfig:
    """A network that is no Perceiver: it turns images [b, y, x, c] into logits [b, classes]."""

    what: ClassVar[str] = "baseline"  # What it is, in words, for messages.

    shape: tuple[int, int]  # Height and width of the images.
    num_classes: int  # Width of the logits.
    channels: int = 3  # Channels of a pixel.
    position: FourierConfig | None = None  # Position features concatenated to the pixels.
    permutation_seed: int | None = None  # Shuffles the pixels, the same way for every image.


class Pixels(NamedTuple):
    """Pixels and the features of their positions, which are the same for all images."""

    content: jax.Array  # [b, y, x, c]
    positions: jax.Array | None  # [y, x, c_pos]

    def dense(self) -> jax.Array:  # [b, y, x, c + c_pos]
        """The pixels with their positions behind their own channels."""
        if self.positions is None:
            return self.content
        positions = jnp.broadcast_to(
            self.positions, (*self.content.shape[:-1], self.positions.shape[-1])
        )
        return jnp.concatenate([self.content, positions], axis=-1)


def read(config: BaselineConfig, images: jax.Array) -> jax.Array:  # [b, y, x, c]
    """Returns the images.

    Raises:
      ValueError: their shape is not that of the config.
    """
    height, width = config.shape
    expected = {"batch": None, "y": height, "x": width, "channels": config.channels}
    check_input(images, expected, "images")
    return images


def positioned(config: BaselineConfig, images: jax.Array) -> Pixels:  # [b, y, x, c]
    """Attaches positions to the pixels of images of any size, and then shuffles both.

    The order is that of a Perceiver's inputs with the same seed (Perceiver, Sec. 4.1: one fixed
    permutation, after position features are attached): `ImageConfig.permutation_seed`.
    """
    batch, *grid, _ = images.shape
    positions = None
    if config.position is not None:
        encoding = PositionEncoder(config.position, tuple(grid))()
        positions = encoding.astype(images.dtype).reshape(*grid, -1)
    if config.permutation_seed is None:
        return Pixels(images, positions)
    order = fixed_permutation(config.permutation_seed, grid[0] * grid[1])
    content = images.reshape(batch, len(order), -1)[:, order].reshape(images.shape)
    if positions is not None:
        positions = positions.reshape(len(order), -1)[order].reshape(positions.shape)
    return Pixels(content, positions)
