"""The networks that the Perceiver is compared with (Perceiver, Tables 1, 2 and 4).

  conv_net.py     a small convolutional network, for images of a few pixels
  resnet.py       ResNet-50 and its like, Haiku's own
  transformer.py  ViT-B/16 and the 64 x 64 Transformer, of the Perceiver's layers
  pixels.py       what they have in common: positions, the permutation, points as pixels

All are called as `make(config)(images, is_training=...)`, inside a Haiku transform.
"""

from collections.abc import Callable

import jax

from perceiver_jax.model.baselines.conv_net import ConvNet, ConvNetConfig
from perceiver_jax.model.baselines.pixels import BaselineConfig
from perceiver_jax.model.baselines.resnet import ResNet, ResNetConfig
from perceiver_jax.model.baselines.transformer import Transformer, TransformerConfig

__all__ = ["BaselineConfig", "ConvNetConfig", "ResNetConfig", "TransformerConfig", "make"]


def make(config: BaselineConfig) -> Callable[..., jax.Array]:
    """Makes the modules of a baseline, inside a Haiku transform.

    Returns:
      (images [b, y, x, c], or clouds [b, y * x, c], *, is_training) -> logits [b, classes].

    Raises:
      TypeError: no baseline has such a config.
    """
    if isinstance(config, ConvNetConfig):
        return ConvNet(config)
    if isinstance(config, ResNetConfig):
        return ResNet(config)
    if isinstance(config, TransformerConfig):
        return Transformer(config)
    raise TypeError(f"{type(config).__name__} is the config of no baseline.")
