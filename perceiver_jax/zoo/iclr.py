"""The models of Perceiver IO (Jaegle et al., ICLR 2022) beside the six released ones.

"Open" marks what the paper does not say, and what was chosen.
"""

import dataclasses

from perceiver_jax.model.decoders import ClassificationDecoderConfig, ProjectionDecoderConfig
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.preprocessors import ImageConfig
from perceiver_jax.zoo import icml, released


def table1_sentencepiece() -> PerceiverConfig:
    """Perceiver IO Base on 512 SentencePiece tokens, 223M parameters: GLUE 81.2 (Tables 1, 11)."""
    return released.language_model(length=512, vocab_size=32_000)


def table1_plus_plus() -> PerceiverConfig:
    """Perceiver IO++ on bytes, 425M parameters: GLUE 81.8 (Tables 1 and 11).

    Open: the width of queries and keys; 256 as in the released model gives the printed count.
    """
    return released.language_model(latent_channels=1536, num_layers=40)


def table15(num_latents: int, latent_channels: int) -> PerceiverConfig:
    """Number of latents against their width at about equal FLOPs, on bytes (Table 15)."""
    return released.language_model(num_latents=num_latents, latent_channels=latent_channels)


def table8_perceiver(kind: str) -> PerceiverConfig:
    """ImageNet with Perceiver IO's encoder, its output averaged (Tables 7 and 8).

    Args:
      kind: "fourier" (78.6 %), "learned" (67.6 %) or "conv" (77.4 %).
    """
    config = {
        "fourier": released.imagenet_fourier,
        "learned": released.imagenet_learned,
        "conv": released.imagenet_conv,
    }[kind]()
    return dataclasses.replace(config, decoder=ProjectionDecoderConfig(num_classes=1000))


def config_b(kind: str) -> PerceiverConfig:
    """Config B of App. A.2, pretrained on JFT and fine-tuned on ImageNet (Tables 7 and 8).

    16 unshared self-attends with MLPs four times as wide; the Fourier model projects its pixels to
    256 channels first. Open: the number of latents; 512 as in config A, which costs more FLOPs
    than the paper prints.

    Args:
      kind: "fourier" (84.5 %) or "conv" (86.4 %).
    """
    config = released.imagenet_fourier() if kind == "fourier" else released.imagenet_conv()
    preprocessor = config.preprocessor
    if kind == "fourier":
        assert isinstance(preprocessor, ImageConfig)
        preprocessor = dataclasses.replace(preprocessor, prep="conv1x1", prep_channels=256)
    encoder = EncoderConfig(
        num_latents=512,
        latent_channels=1024,
        num_blocks=1,
        self_attends_per_block=16,
        cross_attend_heads=1,
        self_attend_heads=8,
        self_attend_widening_factor=4,
    )
    return dataclasses.replace(config, preprocessor=preprocessor, encoder=encoder)


def table10(sound: str, *, latent_channels: int, query: bool) -> PerceiverConfig:
    """AudioSet from sound and video, 12 unshared self-attends, one cross-attend (Table 10).

    Open: the heads, as for ImageNet; the width of queries and keys, that of the inputs.

    Args:
      sound: "raw" or "mel".
      latent_channels: 512 or 1024.
      query: whether a class query decodes (Perceiver IO) or the latents are averaged (Perceiver).
    """
    inputs = icml.audioset_sound_and_video(
        icml.audioset_raw_sound() if sound == "raw" else icml.audioset_mel()
    )
    encoder = EncoderConfig(
        num_latents=512,
        latent_channels=latent_channels,
        num_blocks=1,
        self_attends_per_block=12,
        cross_attend_heads=1,
        self_attend_heads=8,
    )
    decoder = (
        ClassificationDecoderConfig(num_classes=icml.AUDIOSET_CLASSES, query_channels=1024)
        if query
        else ProjectionDecoderConfig(num_classes=icml.AUDIOSET_CLASSES)
    )
    return PerceiverConfig(inputs, encoder, decoder)
