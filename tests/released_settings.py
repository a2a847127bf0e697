"""The released constructors' settings, as the golden cases name them, as configs of this package.

Every function takes a mapping of settings and uses up all of them, so that a setting which a test
overlooks fails it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from perceiver_jax.model.decoders import (
    ClassificationDecoderConfig,
    DecoderConfig,
    QueryConfig,
)
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig, PositionConfig
from perceiver_jax.model.postprocessors import ImageOutputConfig
from perceiver_jax.model.preprocessors import ImageConfig


@contextlib.contextmanager
def using_up(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a copy to pop from; fails if something is left."""
    left = dict(settings)
    yield left
    assert not left, f"settings that no field stands for: {left}"


def renamed(settings: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """`settings` with keys renamed, all of which must be in `names`."""
    with using_up(settings) as left:
        return {names[key]: left.pop(key) for key in settings}


_ENCODER = {
    "z_index_dim": "num_latents",
    "num_z_channels": "latent_channels",
    "num_blocks": "num_blocks",
    "num_self_attends_per_block": "self_attends_per_block",
    "num_cross_attend_heads": "cross_attend_heads",
    "num_self_attend_heads": "self_attend_heads",
    "qk_channels": "qk_channels",
    "v_channels": "v_channels",
    "cross_attention_shape_for_attn": "width_rule",
    "use_query_residual": "use_query_residual",
    "cross_attend_widening_factor": "cross_attend_widening_factor",
    "self_attend_widening_factor": "self_attend_widening_factor",
    "dropout_prob": "dropout_prob",
    "z_pos_enc_init_scale": "latent_init_scale",
}


def encoder(settings: Mapping[str, Any]) -> EncoderConfig:
    """PerceiverEncoder's settings."""
    left = {key: value for key, value in settings.items() if key != "name"}
    return EncoderConfig(**renamed(left, _ENCODER))


def position(settings: dict[str, Any]) -> PositionConfig:
    """Takes the position encoding out of `settings`."""
    kind = settings.pop("position_encoding_type")
    with using_up(settings.pop(f"{kind}_position_encoding_kwargs")) as left:
        if kind == "trainable":
            return LearnedConfig(left.pop("num_channels"), left.pop("init_scale", 0.02))
        resolution = left.pop("max_resolution", None)
        return FourierConfig(
            num_bands=left.pop("num_bands"),
            max_resolution=tuple(resolution) if resolution else None,
            concat_position=left.pop("concat_pos", True),
            sine_only=left.pop("sine_only", False),
        )


def index_dims(value: int | list[int]) -> tuple[int, ...]:
    """A size, which the released code also takes as one number."""
    return (value,) if isinstance(value, int) else tuple(value)


def basic_decoder(settings: Mapping[str, Any]) -> DecoderConfig:
    """BasicDecoder's settings."""
    with using_up(settings) as left:
        left.pop("num_z_channels", None)  # The released code takes it and does not use it.
        final_project = left.pop("final_project", True)
        output_channels = left.pop("output_num_channels")
        return DecoderConfig(
            output_channels=output_channels if final_project else None,
            query=QueryConfig(
                shape=index_dims(left.pop("output_index_dims")),
                position=position(left),
                project_position_to=left.pop("project_pos_dim", None),
                concat_inputs=left.pop("concat_preprocessed_input", False),
            ),
            num_heads=left.pop("num_heads", 1),
            qk_channels=left.pop("qk_channels", None),
            v_channels=left.pop("v_channels", None),
            use_query_residual=left.pop("use_query_residual", False),
        )


def classification_decoder(settings: Mapping[str, Any]) -> ClassificationDecoderConfig:
    """ClassificationDecoder's settings."""
    with using_up(settings) as left:
        left.pop("num_z_channels", None)
        query = position(left)
        assert isinstance(query, LearnedConfig)
        return ClassificationDecoderConfig(
            num_classes=left.pop("num_classes"),
            query_channels=query.channels,
            query_init_scale=query.init_scale,
            use_query_residual=left.pop("use_query_residual"),
        )


def image(settings: Mapping[str, Any], shape: tuple[int, ...]) -> ImageConfig:
    """ImagePreprocessor's settings, for inputs of `shape`."""
    with using_up(settings) as left:
        prep = left.pop("prep_type")
        prep_channels = left.pop("num_channels", None)
        if prep == "patches" and not left.pop("conv_after_patching", False):
            prep_channels = None
        return ImageConfig(
            shape=shape,
            prep=prep,
            prep_channels=prep_channels,
            spatial_downsample=left.pop("spatial_downsample", 4),
            temporal_downsample=left.pop("temporal_downsample", 1),
            use_batch_norm=left.pop("conv2d_use_batchnorm", True),
            position=position(left),
            project_position_to=left.pop("project_pos_dim", None),
            extra_position_mlp_layers=left.pop("n_extra_pos_mlp", 0),
            position_joined_by=left.pop("concat_or_add_pos", "concat"),
        )


def image_output(settings: Mapping[str, Any]) -> ImageOutputConfig:
    """ImagePostprocessor's settings."""
    with using_up(settings) as left:
        kind, shape = left.pop("postproc_type"), left.pop("input_reshape_size", None)
        temporal, spatial = left.pop("temporal_upsample", 1), left.pop("spatial_upsample", 1)
        if kind == "conv" and temporal == 1:
            spatial = 4  # Whatever the released code is told.
        return ImageOutputConfig(
            kind=kind,
            channels=left.pop("n_outputs", None),
            spatial_upsample=spatial,
            temporal_upsample=temporal,
            shape=tuple(shape) if shape else None,
        )


def imagenet(settings: Mapping[str, Any]) -> PerceiverConfig:
    """The small ImageNet classifiers."""
    resolved = settings["resolved"]
    decoder = {**resolved["decoder"], "num_classes": settings["num_classes"]}
    return PerceiverConfig(
        preprocessor=image(resolved["input_preprocessor"], tuple(settings["image_size"])),
        encoder=encoder(resolved["encoder"]),
        decoder=classification_decoder(decoder),
    )
