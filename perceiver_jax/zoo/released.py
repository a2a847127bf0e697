"""The six released models of Perceiver IO, with the configurations of their notebooks.

Every number is that of the released notebooks and reproduces the checkpoints' parameter trees.
Where the paper's text differs, the released value stands here and the paper's in the comment.
"""

from perceiver_jax.model.decoders import (
    ClassificationDecoderConfig,
    DecoderConfig,
    FlowDecoderConfig,
    QueryConfig,
)
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.multimodal import (
    MaskProbability,
    MultimodalConfig,
    MultimodalDecoderConfig,
)
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.postprocessors import (
    AudioOutputConfig,
    ClassOutputConfig,
    MultimodalOutputConfig,
    ProjectionOutputConfig,
    TiedEmbeddingConfig,
)
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    ImageConfig,
    LabelConfig,
    TokensConfig,
)


def imagenet_encoder() -> EncoderConfig:
    """Config A of Perceiver IO, App. A: one cross-attend, 8 x 6 shared self-attends."""
    return EncoderConfig(
        num_latents=512,
        latent_channels=1024,
        num_blocks=8,
        self_attends_per_block=6,
        cross_attend_heads=1,
        self_attend_heads=8,
    )


def imagenet_fourier() -> PerceiverConfig:
    """ImageNet from pixels with 2D Fourier features: 79.0 % (Perceiver IO, Tables 7 and 8)."""
    return PerceiverConfig(
        preprocessor=ImageConfig(
            shape=(224, 224), position=FourierConfig(num_bands=64, max_resolution=(224, 224))
        ),
        encoder=imagenet_encoder(),
        decoder=ClassificationDecoderConfig(num_classes=1000),
    )


def imagenet_learned() -> PerceiverConfig:
    """ImageNet from pixels with learned positions, no 2D structure: 72.7 % (Table 7)."""
    return PerceiverConfig(
        preprocessor=ImageConfig(
            shape=(224, 224),
            prep="conv1x1",
            prep_channels=256,
            position=LearnedConfig(channels=256),
            project_position_to=256,
        ),
        encoder=imagenet_encoder(),
        # The one released classifier whose decoder has no query residual.
        decoder=ClassificationDecoderConfig(num_classes=1000, use_query_residual=False),
    )


def imagenet_conv() -> PerceiverConfig:
    """ImageNet after convolution and max-pooling: 82.1 % (Table 7)."""
    return PerceiverConfig(
        preprocessor=ImageConfig(
            shape=(224, 224),
            prep="conv",
            prep_channels=64,
            spatial_downsample=4,
            position=FourierConfig(num_bands=64, max_resolution=(56, 56)),
        ),
        encoder=imagenet_encoder(),
        decoder=ClassificationDecoderConfig(num_classes=1000),
    )


def language_model(
    *,
    length: int = 2048,
    vocab_size: int = 262,
    channels: int = 768,
    num_latents: int = 256,
    latent_channels: int = 1280,
    num_layers: int = 26,
    qk_channels: int = 256,
) -> PerceiverConfig:
    """Masked language model (Perceiver IO, Tables 1 and 11): `num_layers` unshared self-attends."""
    return PerceiverConfig(
        preprocessor=TokensConfig(length=length, vocab_size=vocab_size, channels=channels),
        encoder=EncoderConfig(
            num_latents=num_latents,
            latent_channels=latent_channels,
            num_blocks=1,
            self_attends_per_block=num_layers,
            cross_attend_heads=8,
            self_attend_heads=8,
            qk_channels=qk_channels,
            v_channels=latent_channels,
        ),
        decoder=DecoderConfig(
            output_channels=None,
            query=QueryConfig(shape=(length,), position=LearnedConfig(channels=channels)),
            num_heads=8,
            qk_channels=qk_channels,
            v_channels=channels,
        ),
        postprocessor=TiedEmbeddingConfig(),
    )


def mlm() -> PerceiverConfig:
    """Masked language model of 2,048 UTF-8 bytes, 201M parameters: GLUE 81.0 (Table 1)."""
    return language_model()


def text_classifier(num_classes: int = 2) -> PerceiverConfig:
    """The language model's encoder with a class query: Hugging Face's sequence classification.

    Not a model of the papers, and no weights were released; users fine-tune their own.
    """
    language = mlm()
    return PerceiverConfig(
        preprocessor=language.preprocessor,
        encoder=language.encoder,
        decoder=ClassificationDecoderConfig(num_classes=num_classes, query_channels=1280),
    )


def flow_model(
    *, num_latents: int = 2048, num_layers: int = 24, neighbourhood: int = 3, concat: bool = True
) -> PerceiverConfig:
    """Optical flow without RAFT's upsampling (Perceiver IO, App. H, Table 16).

    Args:
      num_latents: rows of the latent array.
      num_layers: unshared self-attends.
      neighbourhood: side of the patch around each pixel, 3 or 1.
      concat: whether both frames of a pixel form one element, or each its own.
    """
    height, width = 368, 496
    fourier = (
        FourierConfig(num_bands=64, max_resolution=(height, width))
        if concat
        else FourierConfig(num_bands=64, max_resolution=(2, height, width))
    )
    return PerceiverConfig(
        preprocessor=ImageConfig(
            shape=(2, height, width),
            prep="patches",
            temporal_downsample=2 if concat else 1,
            neighbourhood=neighbourhood,
            prep_channels=64,
            position=fourier,
        ),
        encoder=EncoderConfig(
            num_latents=num_latents,
            latent_channels=512,
            num_blocks=1,
            self_attends_per_block=num_layers,
            cross_attend_heads=1,
            self_attend_heads=16,
        ),
        decoder=FlowDecoderConfig(shape=(height, width)),
    )


def optical_flow() -> PerceiverConfig:
    """Optical flow of 368 x 496 pixels: Sintel clean 1.81, final 2.42 (Perceiver IO, Table 3).

    The outputs are the network's; the flow in pixels is 20 times as large.
    """
    return flow_model()


def video_autoencoder(num_latents: int = 784) -> PerceiverConfig:
    """Autoencoding of video, sound and label (Perceiver IO, Sec. 4.3, App. I, Tables 4 and 17).

    NOTE(fidelity): 32 bands for video as released; the paper's text has 64 (387 channels). The
    sound's resolution of 30,720 for 1,920 positions aliases, and the checkpoint is used to it.
    """
    frames, samples = 16, 16 * 1920  # 25 frames and 48,000 samples a second.
    grid = (frames, 224, 224)
    video_bands = FourierConfig(num_bands=32, max_resolution=(frames, 56, 56))
    sound_bands = FourierConfig(num_bands=192, max_resolution=(samples,))
    return PerceiverConfig(
        preprocessor=MultimodalConfig(
            modalities={
                "audio": AudioConfig(
                    num_samples=samples, samples_per_patch=16, position=sound_bands
                ),
                "image": ImageConfig(
                    shape=grid, prep="patches", spatial_downsample=4, position=video_bands
                ),
                "label": LabelConfig(num_classes=700),
            },
            min_padding_size=4,
            mask_probabilities={
                "audio": MaskProbability(train=0.0, evaluation=0.0),
                "image": MaskProbability(train=0.0, evaluation=0.0),
                # "Masked 50 % in training", always otherwise: the label is to be predicted.
                "label": MaskProbability(train=0.5, evaluation=1.0),
            },
        ),
        encoder=EncoderConfig(
            num_latents=num_latents,
            latent_channels=512,
            num_blocks=1,
            self_attends_per_block=8,
            cross_attend_heads=1,
            self_attend_heads=8,
        ),
        decoder=MultimodalDecoderConfig(
            queries={
                "audio": QueryConfig(shape=(samples // 16,), position=sound_bands),
                "image": QueryConfig(shape=grid, position=video_bands),
                "label": QueryConfig(shape=(1,), position=LearnedConfig(channels=1024)),
            },
            decoder=DecoderConfig(output_channels=512),
        ),
        postprocessor=MultimodalOutputConfig(
            outputs={
                "audio": AudioOutputConfig(samples_per_patch=16),
                "image": ProjectionOutputConfig(channels=3),
                "label": ClassOutputConfig(num_classes=700),
            }
        ),
        encoder_name="encoder",
    )


def video_autoencoding() -> PerceiverConfig:
    """Kinetics-700-2020 at 88x compression: audio PSNR 26.97, video 24.37 (Table 4)."""
    return video_autoencoder()
