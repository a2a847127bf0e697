"""Small baselines for tests; every width is another one."""

from perceiver_jax.model.baselines import ConvNetConfig, ResNetConfig, TransformerConfig
from perceiver_jax.model.position_encoding import FourierConfig

CONV_NET = ConvNetConfig(shape=(5, 7), num_classes=3, widths=(2, 3), hidden=11)
RESNET = ResNetConfig(
    (16, 24),
    num_classes=3,
    channels=2,
    position=FourierConfig(2),
    stem_channels=7,
    stem_kernel_shape=3,
    stem_stride=1,
    blocks_per_group=(1, 2, 1, 1),
    channels_per_group=(20, 28, 44, 52),
)
VIT = TransformerConfig(
    (6, 4),
    num_classes=3,
    channels=1,
    position=FourierConfig(2),
    patch_size=2,
    num_layers=3,
    token_channels=10,
    num_heads=2,
)
# A token a pixel, no learned positions: like the 64 x 64 Transformer.
SET = TransformerConfig(
    (6, 8),
    num_classes=3,
    channels=1,
    position=FourierConfig(2),
    resize_to=(3, 4),
    patch_size=1,
    num_layers=2,
    token_channels=10,
    num_heads=2,
    widening_factor=1,
    pooling="mean",
    learned_positions=False,
)
# Points in a grid of 4 x 6.
OF_POINTS = TransformerConfig(
    (4, 6),
    num_classes=3,
    position=FourierConfig(2, max_resolution=(5, 6, 7)),
    of_points=True,
    patch_size=2,
    num_layers=2,
    token_channels=10,
    num_heads=2,
)
ALL = {"conv_net": CONV_NET, "resnet": RESNET, "vit": VIT, "set": SET, "points": OF_POINTS}
