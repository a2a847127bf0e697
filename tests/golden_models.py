"""The models of the golden cases, and what they are called with."""

from collections.abc import Callable
from typing import Any

import numpy as np

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax.zoo import (
    AudioConfig,
    AudioOutputConfig,
    ClassOutputConfig,
    DecoderConfig,
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
    ProjectionDecoderConfig,
    ProjectionOutputConfig,
    QueryConfig,
    TiedEmbeddingConfig,
    TokensConfig,
)
from tests import golden_cases, released_settings


def projection_classifier() -> PerceiverConfig:
    """The case perceiver_projection_decoder, whose settings are written as sentences."""
    settings = golden_cases.manifest()["perceiver_projection_decoder"]["config"]
    assert settings["pre"] == "pixels fourier num_bands=4 max_resolution=(7,6)"
    assert settings["decoder"] == "ProjectionDecoder(6)"
    return PerceiverConfig(
        preprocessor=ImageConfig((7, 6), position=FourierConfig(4, max_resolution=(7, 6))),
        encoder=released_settings.encoder(settings["encoder"]),
        decoder=ProjectionDecoderConfig(num_classes=6),
    )


def language_model() -> PerceiverConfig:
    settings = golden_cases.manifest()["mlm"]["config"]
    length, channels = settings["max_seq_len"], settings["d_model"]
    return PerceiverConfig(
        preprocessor=TokensConfig(length, settings["vocab_size"], channels),
        encoder=released_settings.encoder(settings["resolved"]["encoder"]),
        decoder=released_settings.basic_decoder(settings["resolved"]["decoder"]),
        postprocessor=TiedEmbeddingConfig(),
    )


def optical_flow() -> PerceiverConfig:
    settings = golden_cases.manifest()["optical_flow"]["config"]
    height, width = settings["train_size"]
    preprocessor = released_settings.image(
        settings["resolved"]["input_preprocessor"], (2, height, width)
    )
    decoder = settings["resolved"]["decoder"]
    return PerceiverConfig(
        # The released pipeline cuts the 3 x 3 surroundings out before the model.
        preprocessor=config_lib.override(preprocessor, {"neighbourhood": 3}),
        encoder=released_settings.encoder(settings["resolved"]["encoder"]),
        decoder=FlowDecoderConfig(
            shape=(height, width),
            decoder=DecoderConfig(
                output_channels=decoder["output_num_channels"],
                use_query_residual=decoder["use_query_residual"],
                output_init=decoder["output_w_init"],
            ),
            rescale_factor=decoder["rescale_factor"],
        ),
    )


def video_autoencoder() -> PerceiverConfig:
    settings = golden_cases.manifest()["video_autoencoding"]["config"]
    frames, samples = settings["num_frames"], settings["samples_per_patch"]
    num_samples = frames * settings["audio_samples_per_frame"]
    shape = (frames, *settings["image_hw"])
    video = FourierConfig(
        settings["image_num_bands"], (frames, settings["img_sz"], settings["img_sz"])
    )
    sound = FourierConfig(settings["audio_num_bands"], (num_samples,))
    encoder = {
        key: settings[key]
        for key in (
            "num_self_attends_per_block",
            "num_blocks",
            "z_index_dim",
            "num_z_channels",
            "num_cross_attend_heads",
            "num_self_attend_heads",
        )
    }
    return PerceiverConfig(
        preprocessor=MultimodalConfig(
            modalities={
                "audio": AudioConfig(num_samples, samples, position=sound),
                "image": ImageConfig(
                    shape,
                    prep="patches",
                    spatial_downsample=settings["spatial_downsample"],
                    position=video,
                ),
                "label": LabelConfig(settings["num_classes"]),
            },
            min_padding_size=settings["min_padding_size"],
            mask_probabilities={
                name: MaskProbability(p, p) for name, p in settings["mask_probs"].items()
            },
        ),
        encoder=released_settings.encoder(encoder),
        decoder=MultimodalDecoderConfig(
            queries={
                "audio": QueryConfig((num_samples // samples,), sound),
                "image": QueryConfig(shape, video),
                "label": QueryConfig((1,), LearnedConfig(settings["label_query_channels"])),
            },
            decoder=DecoderConfig(settings["output_num_channels"]),
        ),
        postprocessor=MultimodalOutputConfig(
            {
                "audio": AudioOutputConfig(samples),
                "image": ProjectionOutputConfig(3),
                "label": ClassOutputConfig(settings["num_classes"]),
            }
        ),
        encoder_name="encoder",
    )


def video_inputs(case: golden_cases.Case) -> dict[str, np.ndarray]:
    """Images and sound of `case`, and a label that is not known."""
    label = np.zeros((len(case.inputs["audio"]), 5), np.float32)
    return {"image": case.inputs["images"], "audio": case.inputs["audio"], "label": label}


def build(name: str) -> perceiver_jax.Model:
    """The model of a golden case."""
    if name.startswith("imagenet_"):
        return perceiver_jax.build(
            released_settings.imagenet(golden_cases.manifest()[name]["config"])
        )
    makers: dict[str, Callable[[], PerceiverConfig]] = {
        "perceiver_projection_decoder": projection_classifier,
        "mlm": language_model,
        "optical_flow": optical_flow,
        "video_autoencoding": video_autoencoder,
    }
    return perceiver_jax.build(makers[name]())


def call_args(case: golden_cases.Case) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model of `case` is called with, after parameters, state and key."""
    if case.name == "mlm":
        return (case.inputs["inputs"], case.inputs["input_mask"]), {}
    if case.name == "video_autoencoding":
        points = {name: case.inputs[f"subsampling/{name}"] for name in ("image", "audio")}
        return (video_inputs(case),), {"subsampled_output_points": {**points, "label": None}}
    is_training = case.config.get("is_training", case.name.endswith("_train"))
    return (case.inputs["images"],), {"is_training": is_training}
