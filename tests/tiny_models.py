"""Small models of every kind, for tests of properties that need no golden arrays."""

from perceiver_jax.zoo import (
    AudioConfig,
    AudioOutputConfig,
    ClassificationDecoderConfig,
    ClassOutputConfig,
    DecoderConfig,
    EncoderConfig,
    FlowDecoderConfig,
    FourierConfig,
    ImageConfig,
    LabelConfig,
    LearnedConfig,
    MaskProbability,
    MultimodalConfig,
    MultimodalDecoderConfig,
    MultimodalOutputConfig,
    PerceiverConfig,
    ProjectionOutputConfig,
    QueryConfig,
    TiedEmbeddingConfig,
    TokensConfig,
)


def encoder() -> EncoderConfig:
    return EncoderConfig(
        num_latents=3,
        latent_channels=14,
        num_blocks=1,
        self_attends_per_block=1,
        self_attend_heads=2,
    )


def classifier() -> PerceiverConfig:
    """Images of 5 x 7 pixels, 35 inputs of 11 channels, 5 classes."""
    return PerceiverConfig(
        preprocessor=ImageConfig((5, 7), channels=1, position=FourierConfig(num_bands=2)),
        encoder=encoder(),
        decoder=ClassificationDecoderConfig(num_classes=5, query_channels=13),
    )


def language_model() -> PerceiverConfig:
    """Texts of 11 bytes."""
    return PerceiverConfig(
        preprocessor=TokensConfig(length=11, channels=10),
        encoder=encoder(),
        decoder=DecoderConfig(None, QueryConfig((11,), LearnedConfig(10)), num_heads=2),
        postprocessor=TiedEmbeddingConfig(),
    )


def optical_flow() -> PerceiverConfig:
    """Two frames of 3 x 5 pixels."""
    return PerceiverConfig(
        preprocessor=ImageConfig(
            (2, 3, 5),
            prep="patches",
            temporal_downsample=2,
            neighbourhood=3,
            prep_channels=7,
            position=FourierConfig(num_bands=2),
        ),
        encoder=encoder(),
        decoder=FlowDecoderConfig((3, 5)),
    )


def video_autoencoder() -> PerceiverConfig:
    """Two frames of 4 x 6 pixels, 10 samples of sound and 3 classes: 12 + 5 + 1 inputs."""
    sound, video = FourierConfig(num_bands=3), FourierConfig(num_bands=1)
    label = MaskProbability(train=0.5, evaluation=1.0)
    return PerceiverConfig(
        preprocessor=MultimodalConfig(
            modalities={
                "audio": AudioConfig(num_samples=10, samples_per_patch=2, position=sound),
                "image": ImageConfig(
                    (2, 4, 6), prep="patches", spatial_downsample=2, position=video
                ),
                "label": LabelConfig(num_classes=3),
            },
            mask_probabilities={
                "audio": MaskProbability(0.0, 0.0),
                "image": MaskProbability(0.0, 0.0),
                "label": label,
            },
        ),
        encoder=encoder(),
        decoder=MultimodalDecoderConfig(
            queries={
                "audio": QueryConfig((5,), sound),
                "image": QueryConfig((2, 4, 6), video),
                "label": QueryConfig((1,), LearnedConfig(channels=17)),
            },
            decoder=DecoderConfig(output_channels=11),
        ),
        postprocessor=MultimodalOutputConfig(
            {
                "audio": AudioOutputConfig(samples_per_patch=2),
                "image": ProjectionOutputConfig(channels=3),
                "label": ClassOutputConfig(num_classes=3),
            }
        ),
    )


ALL = {
    "classifier": classifier,
    "language_model": language_model,
    "optical_flow": optical_flow,
    "video_autoencoder": video_autoencoder,
}
