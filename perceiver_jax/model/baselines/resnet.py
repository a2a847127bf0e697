"""ResNet, the convolutional baseline of Perceiver's Tables 1 and 2: Haiku's own.

Parameters and state have the names of `hk.nets.ResNet50` and its like, so that what was trained
with those loads here. Haiku's network knows nothing of our execution: precision, recomputation,
placement and frozen statistics reach its layers from outside, by intercepting their calls.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import execution
from perceiver_jax.model.baselines import pixels
from perceiver_jax.model.frozen_state import is_frozen

_Four = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class ResNetConfig(pixels.BaselineConfig):
    """A residual network (He et al. 2016), its strides in the 3x3 convolutions (v1.5).

    Images shrink by the stem's stride, by 2 in the pooling behind it, and by the strides of the
    groups: 32 times. For small images, `stem_kernel_shape=3, stem_stride=1` halve them less often.
    """

    what: ClassVar[str] = "ResNet"

    depth: int = 50  # 18, 34, 50, 101, 152 or 200.
    resnet_v2: bool = False  # Whether norms and activations come before the convolutions.
    stem_channels: int = 64  # Width of the first convolution.
    stem_kernel_shape: int = 7  # Side of its kernel.
    stem_stride: int = 2  # Its stride; pooling of stride 2 follows in any case.
    group_strides: _Four = (1, 2, 2, 2)  # Stride of the first block of each group.
    blocks_per_group: _Four | None = None  # Number of blocks; None: that of the depth.
    channels_per_group: _Four | None = None  # Width of the blocks; None: that of the depth.
    batch_norm_decay: float = 0.9  # Of the running statistics, a step.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth not in hk.nets.ResNet.CONFIGS:
            known = ", ".join(map(str, hk.nets.ResNet.CONFIGS))
            raise ValueError(f"depth={self.depth} must be one of {known}.")


class ResNet:
    """The network, inside a Haiku transform. No module, so that names stay those of Haiku's."""

    def __init__(self, config: ResNetConfig):
        self.config = config
        sizes: dict[str, Any] = {**hk.nets.ResNet.CONFIGS[config.depth]}
        if config.blocks_per_group is not None:
            sizes["blocks_per_group"] = config.blocks_per_group
        if config.channels_per_group is not None:
            sizes["channels_per_group"] = config.channels_per_group
        self._net = hk.nets.ResNet(
            num_classes=config.num_classes,
            resnet_v2=config.resnet_v2,
            bn_config={"decay_rate": config.batch_norm_decay},
            initial_conv_config={
                "output_channels": config.stem_channels,
                "kernel_shape": config.stem_kernel_shape,
                "stride": config.stem_stride,
            },
            strides=config.group_strides,
            name=f"res_net{config.depth}",
            **sizes,
        )

    def __call__(self, images: jax.Array, *, is_training: bool = False) -> jax.Array:
        """Maps images [b, y, x, c], or clouds [b, y * x, c], to logits [b, classes]."""
        config = self.config
        x = pixels.positioned(config, pixels.read(config, images)).dense()
        with hk.custom_getter(_kernels_as_inputs), hk.intercept_methods(_executed):
            return self._net(execution.current().enter(x), is_training)


def _kernels_as_inputs(
    next_getter: Callable[[jax.Array], jax.Array], value: jax.Array, context: hk.GetterContext
) -> jax.Array:
    """Rounds kernels of convolutions to the dtype of what they are applied to."""
    if isinstance(context.module, hk.Conv2D):
        value = value.astype(context.original_dtype)
    return next_getter(value)


def _executed(
    next_call: Callable[..., jax.Array],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: hk.MethodContext,
) -> jax.Array:
    """Computes a layer as `execution` says; its first argument is an activation."""
    module, how = context.module, execution.current()
    if context.method_name != "__call__":
        return next_call(*args, **kwargs)
    if isinstance(module, hk.BatchNorm):
        # Statistics in float32: they are sums over millions of values, and kept from step to step.
        x, is_training, *rest = args
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        # A frozen one is what it is in evaluation.
        is_training = is_training and not is_frozen(module.module_name)
        return next_call(wide, is_training, *rest, **kwargs).astype(x.dtype)
    if isinstance(module, hk.nets.ResNet.BlockV1 | hk.nets.ResNet.BlockV2):
        block = how.wrap(lambda x: next_call(x, *args[1:], **kwargs), is_cross_attend=False)
        return how.place(block(args[0]))
    if isinstance(module, hk.Linear):  # The logits.
        return next_call(how.leave(args[0]), *args[1:], **kwargs)
    return next_call(*args, **kwargs)
