"""Convolutional stems and heads of the released pre- and postprocessors."""

import dataclasses
import math
from typing import Literal

import haiku as hk
import jax

from perceiver_jax.model.frozen_state import is_frozen

# How the stem pads its convolution and its pooling:
#   'same'   as released, by XLA's rule: more at the end, and sizes are halved, rounded up;
#   'torch'  as Hugging Face's port: 3 on each side, and no padding of the pooling.
StemPadding = Literal["same", "torch"]


def stem_output_size(size: int, num_layers: int, padding: StemPadding) -> int:
    """Height or width after `num_layers` of `Conv2DDownsample`."""
    for _ in range(num_layers):
        convolved = -(-size // 2)
        size = -(-convolved // 2) if padding == "same" else (convolved - 3) // 2 + 1
    return size


@dataclasses.dataclass
class Conv2DDownsample(hk.Module):
    """Convolution 7x7 and max-pooling, each of stride 2: four times smaller per layer.

    Perceiver IO, App. A ("conv+maxpool"): the stem of ResNet, without a bias.
    """

    num_layers: int = 1  # How often the size is quartered.
    num_channels: int = 64  # Width of the output.
    use_batch_norm: bool = True  # Whether batch norm stands between convolution and ReLU.
    padding: StemPadding = "same"  # See above.
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._convs = []
        self._norms = []
        for _ in range(self.num_layers):
            self._convs.append(
                hk.Conv2D(
                    self.num_channels,
                    kernel_shape=7,
                    stride=2,
                    padding="SAME" if self.padding == "same" else [(3, 3), (3, 3)],
                    with_bias=False,
                    name="conv",
                )
            )
            if self.use_batch_norm:
                self._norms.append(
                    hk.BatchNorm(
                        create_scale=True,
                        create_offset=True,
                        decay_rate=0.9,
                        eps=1e-5,
                        name="batchnorm",
                    )
                )

    def __call__(self, images: jax.Array, *, is_training: bool) -> jax.Array:
        """Maps [b, y, x, c] to [b, y', x', num_channels], sizes as in `stem_output_size`."""
        x = images
        for layer, conv in enumerate(self._convs):
            x = conv(x)
            if self.use_batch_norm:
                norm = self._norms[layer]
                # A frozen one is what it is in evaluation.
                x = norm(x, is_training=is_training and not is_frozen(norm.module_name))
            x = jax.nn.relu(x)
            pooled = "SAME" if self.padding == "same" else "VALID"
            x = hk.max_pool(x, window_shape=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding=pooled)
        return x


@dataclasses.dataclass
class Conv2DUpsample(hk.Module):
    """Two transposed convolutions 4x4 of stride 2: four times larger."""

    num_outputs: int  # Width of the output; the layer between has twice as many channels.
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._first = hk.Conv2DTranspose(
            2 * self.num_outputs, kernel_shape=4, stride=2, name="transp_conv_1"
        )
        self._second = hk.Conv2DTranspose(
            self.num_outputs, kernel_shape=4, stride=2, name="transp_conv_2"
        )

    def __call__(self, x: jax.Array) -> jax.Array:  # [b, y, x, c] -> [b, 4y, 4x, num_outputs]
        """Upsamples `x`."""
        return self._second(jax.nn.relu(self._first(x)))


@dataclasses.dataclass
class Conv3DUpsample(hk.Module):
    """Transposed convolutions 4x4x4 that double space, and in the last layers time, each."""

    num_outputs: int  # Width of the output; it halves from layer to layer down to this.
    num_temporal_upsamples: int = 2  # How often time is doubled.
    num_space_upsamples: int = 4  # How often height and width are doubled.
    name: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [b, t, y, x, c] to [b, t * 2^temporal, y * 2^space, x * 2^space, num_outputs]."""
        num_layers = max(self.num_temporal_upsamples, self.num_space_upsamples)
        for layer in range(num_layers):
            time = 2 if layer < self.num_temporal_upsamples else 1
            space = 2 if layer < self.num_space_upsamples else 1
            x = hk.Conv3DTranspose(
                self.num_outputs * 2 ** (num_layers - 1 - layer),
                kernel_shape=4,
                stride=(time, space, space),
                name=f"conv3d_transpose_{layer}",
            )(x)
            if layer < num_layers - 1:
                x = jax.nn.relu(x)
        return x


def exact_log(value: int, base: int, what: str) -> int:
    """log of `value` to `base`, as an integer.

    Raises:
      ValueError: `value` is no power of `base`.
    """
    exponent = round(math.log(value, base))
    if base**exponent != value:
        raise ValueError(f"{what}={value} must be a power of {base}.")
    return exponent
