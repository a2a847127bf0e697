"""What the baselines have in common: images in, their positions, the permutation, logits out.

A cloud of points is an image here whose pixels are points: they fill the grid row by row in the
order in which they come, which is random for points of a surface (Perceiver, Sec. 4.3). A pixel
then has another place in every cloud, so its position is that of its point, and not the grid's.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.model.permutation import fixed_permutation
from perceiver_jax.model.position_encoding import FourierConfig, PositionEncoder
from perceiver_jax.model.preprocessors import check_input


@dataclasses.dataclass(frozen=True)
class BaselineConfig:
    """A network that is no Perceiver: it turns images [b, y, x, c] into logits [b, classes].

    With `of_points` it turns clouds [b, y * x, c] into logits.
    """

    what: ClassVar[str] = "baseline"  # What it is, in words, for messages.

    shape: tuple[int, int]  # Height and width of the images; of the grid that points fill.
    num_classes: int  # Width of the logits.
    channels: int = 3  # Channels of a pixel; coordinates of a point.
    # Position features concatenated to the pixels; of points, features of the coordinates, which
    # stand in their place.
    position: FourierConfig | None = None
    permutation_seed: int | None = None  # Shuffles the pixels, the same way for every image.
    of_points: bool = False  # Whether clouds of points are read, and arranged in a grid.

    def __post_init__(self) -> None:
        if not self.of_points or self.position is None:
            return
        resolution = self.position.max_resolution
        if resolution is None or len(resolution) != self.channels:
            raise ValueError(
                f"position.max_resolution={resolution} must have an entry for each of the "
                f"{self.channels} coordinates of a point: points have no grid of their own."
            )


class Pixels(NamedTuple):
    """Pixels and the features of their positions, if these are the same for all images."""

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
    """Returns the images; of clouds [b, y * x, c], the grids that their points fill.

    Raises:
      ValueError: their shape is not that of the config.
    """
    height, width = config.shape
    if config.of_points:
        cloud = {"batch": None, "points": height * width, "axes": config.channels}
        check_input(images, cloud, "points")
        return images.reshape(-1, height, width, config.channels)
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
    if config.position is not None and config.of_points:
        images = PositionEncoder(config.position, ()).at(images).astype(images.dtype)
    elif config.position is not None:
        encoding = PositionEncoder(config.position, tuple(grid))()
        positions = encoding.astype(images.dtype).reshape(*grid, -1)
    if config.permutation_seed is None:
        return Pixels(images, positions)
    order = fixed_permutation(config.permutation_seed, grid[0] * grid[1])
    content = images.reshape(batch, len(order), -1)[:, order].reshape(images.shape)
    if positions is not None:
        positions = positions.reshape(len(order), -1)[order].reshape(positions.shape)
    return Pixels(content, positions)
