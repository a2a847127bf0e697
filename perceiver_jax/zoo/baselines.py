"""The networks that Perceiver's Tables 1, 2 and 4 compare it with, on ImageNet and ModelNet40.

Rows on RGB alone are printed from the literature; those on RGB with Fourier features (FF) are the
paper's own runs, whose networks it does not describe further. "Open" marks what it does not say,
and what was chosen.

Those of ModelNet40 read points that are arranged randomly in a two-dimensional grid (Sec. 4.3).
Open: the grid, of which only the Transformer's name tells, 44 x 44. Others here have the nearest
that patches of 16 divide: 32 x 64, 2,048 points. What the points bring along, the same 387 channels
of Fourier features that the Perceiver reads, since the table marks the rows "(FF)".
"""

import dataclasses

from perceiver_jax.model.baselines import ResNetConfig, TransformerConfig
from perceiver_jax.model.position_encoding import FourierConfig

SIZE = (224, 224)
CLOUD = (32, 64)  # The grid of ModelNet40's points.


def features(size: tuple[int, int] = SIZE) -> FourierConfig:
    """The Perceiver's position features, up to the Nyquist frequency of `size`: 258 channels."""
    return FourierConfig(num_bands=64, max_resolution=size)


def resnet50(*, fourier: bool = False) -> ResNetConfig:
    """ResNet-50: 77.6 % on RGB, 73.5 % on RGB with Fourier features, 39.4 % permuted (Table 2).

    Open: how the features enter; as further channels of the first convolution here.
    """
    return ResNetConfig(SIZE, num_classes=1000, position=features() if fourier else None)


def vit_b16(*, fourier: bool = False) -> TransformerConfig:
    """ViT-B/16: 77.9 % on RGB, 76.7 % on RGB with Fourier features, 61.7 % permuted (Table 2).

    Open, with features: whether the learned encoding of the patches stays; it does here, so that
    nothing but the input is another. The features stand beside the colours of each pixel, as in
    the Perceiver, so a patch has 66,816 channels instead of 768, and the model 50.7M parameters
    more.
    """
    return TransformerConfig(SIZE, num_classes=1000, position=features() if fourier else None)


def transformer_64() -> TransformerConfig:
    """The Transformer on images made smaller to 64 x 64, a token a pixel: 57.0 % (Table 2).

    Its layers are those of the Perceiver's latent tower (Sec. 4.1). Open: all sizes, which were
    searched for and are printed nowhere; how images are made smaller; how logits are made. Here it
    is the Perceiver's tower once: 6 layers of 1,024 channels. Over 4,096 tokens they cost what the
    whole Perceiver does, 0.73T FLOPs beside 0.71T, for about its parameters, 39.1M beside 44.9M;
    its 48 layers would cost 5.8T. Pixels are means over areas, the features go up to the Nyquist
    frequency of 64 samples, and the mean of the tokens is projected, as the Perceiver's latents
    are. Without learned positions, so that permuted inputs give the same logits: 57.0 % in both
    columns.
    """
    small = (64, 64)
    return TransformerConfig(
        SIZE,
        num_classes=1000,
        position=features(small),
        resize_to=small,
        patch_size=1,
        num_layers=6,
        token_channels=1024,
        num_heads=8,
        widening_factor=1,
        pooling="mean",
        learned_positions=False,
    )


def coordinates() -> FourierConfig:
    """Features of the coordinates of points, those of `icml.modelnet40`: 387 channels."""
    return FourierConfig(num_bands=64, max_resolution=(2240, 2240, 2240))


def modelnet40_resnet50() -> ResNetConfig:
    """ResNet-50 on points in a grid: 66.3 % (Table 4).

    Open: whether its strides, which leave 1 x 2 of 32 x 64, were made smaller; not here.
    """
    return ResNetConfig(CLOUD, num_classes=40, position=coordinates(), of_points=True)


def modelnet40_vit_b(patch_size: int) -> TransformerConfig:
    """ViT-B on points in a grid: 78.9, 73.4, 65.3, 59.6 % with patches of 2, 4, 8, 16 (Table 4).

    A patch of 2 x 2 holds four points that have nothing to do with each other, so the smaller the
    patches, the less is mixed up: 512, 128, 32 and 8 tokens. Open: whether the learned encoding of
    the patches, which here says nothing of where anything is, stays; it does, as for ImageNet.
    """
    return TransformerConfig(
        CLOUD, num_classes=40, position=coordinates(), of_points=True, patch_size=patch_size
    )


def modelnet40_transformer_44() -> TransformerConfig:
    """The Transformer on 44 x 44 = 1,936 points, a token a point: 82.1 % (Table 4).

    Open: all sizes; those of `transformer_64`, one tower of the Perceiver. Without learned
    positions, so that the order of the points is of no account, as it is for the Perceiver.
    """
    return dataclasses.replace(
        transformer_64(),
        shape=(44, 44),
        resize_to=None,
        num_classes=40,
        position=coordinates(),
        of_points=True,
    )
