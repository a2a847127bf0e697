"""The models of Perceiver (Jaegle et al., ICML 2021), none of which was released.

The encoder reads the inputs again and again; the mean of the latents gives the logits. "Open"
marks what the paper does not say, and what was chosen.
"""

import dataclasses

from perceiver_jax.model.decoders import ProjectionDecoderConfig
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.multimodal import MultimodalConfig
from perceiver_jax.model.perceiver import PerceiverConfig, PreprocessorConfig
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.preprocessors import AudioConfig, ImageConfig, PointsConfig

AUDIOSET_CLASSES = 527


def imagenet_encoder(num_cross_attends: int = 8, num_blocks: int = 8) -> EncoderConfig:
    """Sec. 4.1 and App. C: 8 blocks of 6 self-attends, 512 latents of 1024 channels.

    All cross-attends but the first share weights, and so do all towers. Open: heads of the
    self-attends; 8 as in the ablations of App. B and in the released ImageNet models.
    """
    return EncoderConfig(
        num_latents=512,
        latent_channels=1024,
        num_blocks=num_blocks,
        self_attends_per_block=6,
        num_cross_attends=num_cross_attends,
        cross_attend_sharing="all_but_first",
        share_towers=True,
        cross_attend_heads=1,
        self_attend_heads=8,
        width_rule="min",  # App. C: queries, keys and values have the smaller of both widths.
    )


def imagenet_pixels() -> ImageConfig:
    """Sec. 3.2 and 4.1: 50,176 pixels, each with 258 channels of Fourier features."""
    return ImageConfig(
        shape=(224, 224), position=FourierConfig(num_bands=64, max_resolution=(224, 224))
    )


def _classifier(
    preprocessor: PreprocessorConfig, encoder: EncoderConfig, num_classes: int
) -> PerceiverConfig:
    return PerceiverConfig(preprocessor, encoder, ProjectionDecoderConfig(num_classes))


def imagenet() -> PerceiverConfig:
    """ImageNet: 78.0 % (Table 1), 44.9M parameters and 707.2B FLOPs (Tables 6 and 7)."""
    return _classifier(imagenet_pixels(), imagenet_encoder(), 1000)


def imagenet_unshared() -> PerceiverConfig:
    """ImageNet without weight sharing: 72.9 %, 326.2M parameters (Table 7)."""
    encoder = dataclasses.replace(
        imagenet_encoder(), cross_attend_sharing="none", share_towers=False
    )
    return _classifier(imagenet_pixels(), encoder, 1000)


def imagenet_learned() -> PerceiverConfig:
    """ImageNet with learned positions and one cross-attend: 70.9 % (Table 2, App. B)."""
    pixels = ImageConfig(
        shape=(224, 224),
        # App. B: an initial scale of 1.0 was best for input positions.
        position=LearnedConfig(channels=128, init_scale=1.0),
    )
    return _classifier(pixels, imagenet_encoder(num_cross_attends=1), 1000)


def table5(num_cross_attends: int) -> PerceiverConfig:
    """Cross-attends only, unshared, no latent tower (Table 5): 4, 8 or 12 of them."""
    encoder = dataclasses.replace(
        imagenet_encoder(num_cross_attends, num_blocks=0), cross_attend_sharing="none"
    )
    return _classifier(imagenet_pixels(), encoder, 1000)


def table6(num_cross_attends: int, *, at_start: bool) -> PerceiverConfig:
    """1, 2, 4 or 8 cross-attends, at the start or interleaved with the 8 towers (Table 6).

    Open: where 2 or 4 interleaved cross-attends stand; they are spread evenly.
    """
    encoder = dataclasses.replace(
        imagenet_encoder(num_cross_attends),
        cross_attend_placement="at_start" if at_start else "interleaved",
    )
    return _classifier(imagenet_pixels(), encoder, 1000)


def figure5_base() -> PerceiverConfig:
    """The base model of the ablations of App. B, Fig. 5: 512 x 512 latents, nothing shared."""
    encoder = EncoderConfig(
        num_latents=512,
        latent_channels=512,
        num_blocks=2,
        self_attends_per_block=4,
        num_cross_attends=2,
        cross_attend_sharing="none",
        share_towers=False,
        self_attend_heads=8,
        width_rule="min",
    )
    return _classifier(imagenet_pixels(), encoder, 1000)


def modelnet40() -> PerceiverConfig:
    """ModelNet40 from coordinates: 85.7 % (Sec. 4.3, Table 4).

    Two cross-attends, each followed by 6 self-attends. 64 bands up to a frequency of 1,120, which
    is half of the resolution. Open: the exact number of points ("about 2000"), 2,048 here; and
    weight sharing, as for ImageNet here.
    """
    points = PointsConfig(
        num_points=2048, position=FourierConfig(num_bands=64, max_resolution=(2240, 2240, 2240))
    )
    return _classifier(points, imagenet_encoder(num_cross_attends=2, num_blocks=2), 40)


def audioset_encoder() -> EncoderConfig:
    """Sec. 4.2: two cross-attends, each followed by 8 self-attends, nothing shared.

    Open: the size of the latents; that of the ImageNet model here.
    """
    return dataclasses.replace(
        imagenet_encoder(num_cross_attends=2, num_blocks=2),
        self_attends_per_block=8,
        cross_attend_sharing="none",
        share_towers=False,
    )


def audioset_raw_sound() -> AudioConfig:
    """Sec. 4.2: 61,440 samples (1.28 s at 48 kHz) as 480 vectors of 128.

    Open: the number of bands; 64, what Perceiver IO, App. G, uses "in all settings".
    """
    return AudioConfig(
        num_samples=61_440,
        samples_per_patch=128,
        position=FourierConfig(num_bands=64, max_resolution=(480,)),
    )


def audioset_mel() -> ImageConfig:
    """Sec. 4.2: a mel spectrogram of 4,800 values, each an input.

    Open: its shape and bands. Here 60 frames (a hop of 1,024 samples) of 80 mel bins, with 64
    position bands along time and frequency.
    """
    return ImageConfig(
        shape=(60, 80),
        channels=1,
        position=FourierConfig(num_bands=64, max_resolution=(60, 80)),
    )


def audioset_video() -> ImageConfig:
    """Sec. 4.2: 32 frames of 224 x 224 in patches of 2 x 8 x 8: 12,544 inputs.

    Open: the number of bands. 16 follow from the 487 input channels of Perceiver IO's Table 6:
    384 of the patch, 99 of the position, 4 of the modality.
    """
    return ImageConfig(
        shape=(32, 224, 224),
        prep="patches",
        temporal_downsample=2,
        spatial_downsample=8,
        position=FourierConfig(num_bands=16, max_resolution=(16, 28, 28)),
    )


def audioset_sound_and_video(sound: AudioConfig | ImageConfig) -> MultimodalConfig:
    """Sec. 4.2: both modalities' inputs together, with learned modality encodings.

    The encoding of video has 4 channels, that of sound as many as it takes to be as wide.
    """
    return MultimodalConfig(
        modalities={"audio": sound, "video": audioset_video()}, min_padding_size=4
    )


def audioset_raw() -> PerceiverConfig:
    """AudioSet from raw sound: mAP 38.3 (Table 3)."""
    return _classifier(audioset_raw_sound(), audioset_encoder(), AUDIOSET_CLASSES)


def audioset_mel_only() -> PerceiverConfig:
    """AudioSet from a mel spectrogram: mAP 38.4 (Table 3)."""
    return _classifier(audioset_mel(), audioset_encoder(), AUDIOSET_CLASSES)


def audioset_video_only() -> PerceiverConfig:
    """AudioSet from video: mAP 25.8 (Table 3)."""
    return _classifier(audioset_video(), audioset_encoder(), AUDIOSET_CLASSES)


def audioset_audio_video_raw() -> PerceiverConfig:
    """AudioSet from raw sound and video: mAP 43.5 (Table 3)."""
    inputs = audioset_sound_and_video(audioset_raw_sound())
    return _classifier(inputs, audioset_encoder(), AUDIOSET_CLASSES)


def audioset_audio_video_mel() -> PerceiverConfig:
    """AudioSet from a mel spectrogram and video: mAP 43.2, tuned 44.2 (Table 3)."""
    inputs = audioset_sound_and_video(audioset_mel())
    return _classifier(inputs, audioset_encoder(), AUDIOSET_CLASSES)
