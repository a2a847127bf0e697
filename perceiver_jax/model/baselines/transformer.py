"""Transformers on images, without latents: ViT, and the 64 x 64 Transformer of Perceiver.

Made of the Perceiver's own self-attention layers. A Vision Transformer (Dosovitskiy et al. 2021)
takes patches; the Transformer of Perceiver's Tables 1 and 2 takes the pixels of an image that was
made small enough for that (Sec. 4.1).
"""

import dataclasses
from typing import ClassVar, Literal

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model import blocks, execution, patches, routes, traced_once
from perceiver_jax.model.baselines import pixels
from perceiver_jax.model.linear import Linear, matmul
from perceiver_jax.model.position_encoding import TrainablePositionEncoding
from perceiver_jax.model.routes import Route, check_route, choosing


@dataclasses.dataclass(frozen=True)
class TransformerConfig(pixels.BaselineConfig):
    """A transformer on the patches of an image. The defaults are ViT-B/16."""

    what: ClassVar[str] = "transformer without latents"

    resize_to: tuple[int, int] | None = None  # Size that images are averaged down to; None: none.
    patch_size: int = 16  # Side of a patch, which is one token.
    num_layers: int = 12  # Self-attention layers.
    token_channels: int = 768  # Width of a token.
    num_heads: int = 12  # Attention heads of a layer.
    widening_factor: int = 4  # Hidden width of the MLPs, as a multiple of the tokens'.
    # What the logits are made of: a token of its own, or the mean over all.
    pooling: Literal["class_token", "mean"] = "class_token"
    learned_positions: bool = True  # Whether a learned encoding is added to each token.
    attention: Route = "auto"  # How attentions are computed; changes results by rounding only.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_route(self.attention)
        for name in ("patch_size", "num_layers", "num_heads", "widening_factor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.token_channels % self.num_heads:
            raise ValueError(
                f"token_channels={self.token_channels} is not divisible by "
                f"num_heads={self.num_heads}."
            )
        if self.of_points and self.resize_to is not None:
            raise ValueError(
                f"resize_to={self.resize_to} has no meaning with of_points: neighbours in the "
                "grid are so by chance, and their mean is no point of the cloud."
            )
        if any(new > old for new, old in zip(self.grid, self.shape, strict=True)):
            raise ValueError(
                f"resize_to={self.resize_to} is larger than shape={self.shape}: images are "
                "averaged down, not up."
            )
        if any(size % self.patch_size for size in self.grid):
            raise ValueError(
                f"images of {self.grid} pixels cannot be cut into patches of {self.patch_size}."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the images that are cut into patches."""
        return self.resize_to or self.shape

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.grid[0] // self.patch_size) * (self.grid[1] // self.patch_size)


@dataclasses.dataclass
class Transformer(hk.Module):
    """Patches to tokens, self-attention layers, a layer norm, one linear layer to the logits."""

    config: TransformerConfig
    name: str | None = None

    def __call__(self, images: jax.Array, *, is_training: bool = False) -> jax.Array:
        """Maps images [b, y, x, c], or clouds [b, y * x, c], to logits [b, classes]."""
        del is_training  # There is no dropout.
        with choosing(self.config.attention):
            return self._logits(images)

    @hk.experimental.name_like("__call__")
    def _logits(self, images: jax.Array) -> jax.Array:  # [b, y, x, c] -> [b, classes]
        config, how = self.config, execution.current()
        x = pixels.read(config, images)
        if config.resize_to is not None:
            x = average_down(x, config.resize_to)
        x = _embed(config, pixels.positioned(config, x))
        if config.pooling == "class_token":
            # As learned arrays are made here, by the initialiser of positions and latents.
            token = TrainablePositionEncoding(1, config.token_channels, name="class_token")()
            x = jnp.concatenate([jnp.broadcast_to(token, (len(x), *token.shape)), x], axis=1)
        if config.learned_positions:
            x = x + TrainablePositionEncoding(x.shape[1], config.token_channels)()
        x = how.enter(x)

        def make_layer(name: str | None = None) -> blocks.SelfAttention:
            return blocks.SelfAttention(
                num_heads=config.num_heads, widening_factor=config.widening_factor, name=name
            )

        def as_layer(self_attend: blocks.SelfAttention) -> blocks.Layer:
            layer = how.wrap(self_attend, is_cross_attend=False)
            return lambda x: how.place(layer(x))

        call = traced_once.calls(make_layer, as_layer)
        for _ in range(config.num_layers):
            x = call(make_layer(), x)
        x = how.leave(blocks.layer_norm(x))
        pooled = x[:, 0] if config.pooling == "class_token" else jnp.mean(x, axis=1)
        # Logits start at zero, as the Perceiver's do.
        return Linear(config.num_classes, w_init=jnp.zeros, name="output")(pooled)


def _embed(config: TransformerConfig, image: pixels.Pixels) -> jax.Array:  # [b, patches, c]
    """One linear layer on all channels of a patch's pixels, those of their positions included.

    What it makes of the positions is the same for all images, and computed once.
    """
    linear = Linear(config.token_channels, name="patches_linear")
    side = config.patch_size
    if image.positions is None or routes.chosen() == "plain" or hk.running_init():
        return _tokens(linear(patches.space_to_depth(image.dense(), spatial_block=side)))
    content = patches.space_to_depth(image.content, spatial_block=side)
    positions = patches.space_to_depth(image.positions[None], spatial_block=side)
    w, b = linear.parameters(content.shape[-1] + positions.shape[-1], content.dtype)
    assert b is not None
    # The channels of a patch are those of its pixels, one pixel after another.
    by_pixel = w.reshape(side**2, -1, w.shape[-1])
    split = image.content.shape[-1]
    of_content = matmul(content, by_pixel[:, :split].reshape(-1, w.shape[-1]))
    of_positions = matmul(positions, by_pixel[:, split:].reshape(-1, w.shape[-1]))
    return _tokens(of_content + (of_positions + b))


def _tokens(x: jax.Array) -> jax.Array:  # [b, y, x, c] -> [b, y * x, c]
    return x.reshape(x.shape[0], -1, x.shape[-1])


def average_down(
    images: jax.Array,  # [b, y, x, c]
    size: tuple[int, int],
) -> jax.Array:  # [b, size[0], size[1], c]
    """Makes images smaller: every new pixel is the mean over the area that it covers."""
    rows, columns = (
        jnp.asarray(_area_weights(old, new), images.dtype)
        for old, new in zip(images.shape[1:3], size, strict=True)
    )
    # Few operations, and pixels deserve more than the 8 bits that accelerators may round to.
    return jnp.einsum("byxc,iy,jx->bijc", images, rows, columns, precision="highest")


def _area_weights(old: int, new: int) -> np.ndarray:  # [new, old]
    """The share of each old pixel in each new one, along one axis."""
    edges = np.arange(new + 1) * old / new
    pixel = np.arange(old)
    covered = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.maximum(covered, 0.0) * new / old
