"""Convolutional baselines that the Perceiver is compared with (Perceiver, Tables 1 and 2)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model.position_encoding import FourierConfig, PositionEncoder
from perceiver_jax.model.preprocessors import check_input


@dataclasses.dataclass(frozen=True)
class ConvNetConfig:
    """A small convolutional network for small images, optionally on permuted pixels."""

    shape: tuple[int, int]  # Height and width of the images.
    num_classes: int
    channels: int = 1  # Channels of a pixel.
    widths: tuple[int, ...] = (32, 64)  # Width of each pair of convolutions; pooled in between.
    hidden: int = 128  # Width of the layer before the logits.
    position: FourierConfig | None = None  # Position features concatenated to the pixels.
    permutation_seed: int | None = None  # Shuffles the pixels, the same way for every image.


@dataclasses.dataclass
class ConvNet(hk.Module):
    """Pairs of 3x3 convolutions, each followed by 2x2 max-pooling, then a hidden layer."""

    config: ConvNetConfig
    name: str | None = None

    def __call__(self, images: jax.Array, *, is_training: bool = False) -> jax.Array:
        """Maps images [b, y, x, c] to logits [b, classes]."""
        del is_training
        config = self.config
        height, width = config.shape
        expected = {"batch": None, "y": height, "x": width, "channels": config.channels}
        check_input(images, expected, "images")
        batch = images.shape[0]
        x = images.reshape(batch, height * width, -1)
        if config.position is not None:
            encoding = PositionEncoder(config.position, config.shape)()
            encoding = jnp.broadcast_to(encoding, (batch, *encoding.shape))
            x = jnp.concatenate([x, encoding], axis=-1)
        if config.permutation_seed is not None:
            order = np.random.RandomState(config.permutation_seed).permutation(x.shape[1])
            x = x[:, order]
        x = x.reshape(batch, height, width, -1)
        for channels in config.widths:
            for _ in range(2):
                x = jax.nn.relu(hk.Conv2D(channels, kernel_shape=3)(x))
            x = hk.max_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), padding="SAME")
        x = jax.nn.relu(hk.Linear(config.hidden)(x.reshape(batch, -1)))
        return hk.Linear(config.num_classes)(x)
