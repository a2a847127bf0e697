"""A small convolutional network, for images of a few pixels."""

import dataclasses
from typing import ClassVar

import haiku as hk
import jax

from perceiver_jax.model.baselines import pixels


@dataclasses.dataclass(frozen=True)
class ConvNetConfig(pixels.BaselineConfig):
    """A small convolutional network for small images, optionally on permuted pixels."""

    what: ClassVar[str] = "convolutional network"

    channels: int = 1  # Channels of a pixel.
    widths: tuple[int, ...] = (32, 64)  # Width of each pair of convolutions; pooled in between.
    hidden: int = 128  # Width of the layer before the logits.


@dataclasses.dataclass
class ConvNet(hk.Module):
    """Pairs of 3x3 convolutions, each followed by 2x2 max-pooling, then a hidden layer."""

    config: ConvNetConfig
    name: str | None = None

    def __call__(self, images: jax.Array, *, is_training: bool = False) -> jax.Array:
        """Maps images [b, y, x, c], or clouds [b, y * x, c], to logits [b, classes]."""
        del is_training
        config = self.config
        x = pixels.positioned(config, pixels.read(config, images)).dense()
        for channels in config.widths:
            for _ in range(2):
                x = jax.nn.relu(hk.Conv2D(channels, kernel_shape=3)(x))
            x = hk.max_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), padding="SAME")
        x = jax.nn.relu(hk.Linear(config.hidden)(x.reshape(x.shape[0], -1)))
        return hk.Linear(config.num_classes)(x)
