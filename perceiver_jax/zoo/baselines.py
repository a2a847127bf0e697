"""The networks that Perceiver's Tables 1 and 2 compare it with, on ImageNet.

Rows on RGB alone are printed from the literature; those on RGB with Fourier features (FF) are the
paper's own runs, whose networks it does not describe further. "Open" marks what it does not say,
and what was chosen.
"""

from perceiver_jax.model.baselines import ResNetConfig, TransformerConfig
from perceiver_jax.model.position_encoding import FourierConfig

SIZE = (224, 224)


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
