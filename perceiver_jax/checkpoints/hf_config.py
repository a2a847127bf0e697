"""Our configs from Hugging Face's config.json.

Much of a model is fixed in Hugging Face's classes and stands in no config.json: the bands and
resolutions of Fourier features, the decoder's heads, its residual. Those values, found by making
models of the classes and looking at them, are written here once. The way back is `hf_fields.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_jax import zoo
from perceiver_jax.checkpoints.hf_names import Family
from perceiver_jax.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]  # By Hugging Face's name of a tensor.

# What transformers takes for values that a config.json leaves out (transformers 5.23.0).
DEFAULTS: Mapping[str, Any] = {
    "num_latents": 256,
    "d_latents": 1280,
    "d_model": 768,
    "num_blocks": 1,
    "num_self_attends_per_block": 26,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 8,
    "qk_channels": None,
    "v_channels": None,
    "cross_attention_shape_for_attention": "kv",
    "self_attention_widening_factor": 1,
    "cross_attention_widening_factor": 1,
    "hidden_act": "gelu",
    "use_query_residual": True,
    "vocab_size": 262,
    "max_position_embeddings": 2048,
    "image_size": 56,
    "train_size": [368, 496],
    "num_frames": 16,
    "audio_samples_per_frame": 1920,
    "samples_per_patch": 16,
    "output_shape": [1, 16, 224, 224],
    "output_num_channels": 512,
    "_label_trainable_num_channels": 1024,
}
# Blocks share weights, so no tensor bounds their number, which models are traced with.
_MAX_BLOCKS = 1000
_EXACT_GELU = ("gelu", "gelu_python")
_TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate")
_MULTIMODAL = "PerceiverForMultimodalAutoencoding"
_LEARNED = "PerceiverForImageClassificationLearned"
_CONV = "PerceiverForImageClassificationConvProcessing"


def is_exact_gelu(fields: Mapping[str, Any]) -> bool:
    """Says whether `hidden_act` is GELU's exact form, or its tanh form.

    Raises:
      CheckpointError: it is another activation, which these models do not have.
    """
    kind = fields.get("hidden_act", DEFAULTS["hidden_act"])
    if kind in _EXACT_GELU:
        return True
    if kind in _TANH_GELU:
        return False
    raise CheckpointError(
        f"config.json has hidden_act={kind!r}; these models have GELU, which is one of "
        f"{', '.join(_EXACT_GELU + _TANH_GELU)}."
    )


def class_names(fields: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names in `id2label`; None if there are none but "LABEL_0", "LABEL_1" and so on."""
    names = fields.get("id2label")
    if not isinstance(names, Mapping) or not names:
        return None
    if set(names) != {str(i) for i in range(len(names))}:
        return None
    ordered = tuple(str(names[str(i)]) for i in range(len(names)))
    unnamed = all(name == f"LABEL_{i}" for i, name in enumerate(ordered))
    return None if unnamed else ordered


def sizes(family: Family, shapes: Shapes) -> dict[str, Any]:
    """The values of config.json, and `num_labels`, that the tensors' shapes tell."""

    def size(name: str, axis: int = 0) -> int | None:
        shape = shapes.get(name, ())
        return shape[axis] if axis < len(shape) else None

    found = {
        "num_latents": size("perceiver.embeddings.latents"),
        "d_latents": size("perceiver.embeddings.latents", 1),
        "vocab_size": size("perceiver.input_preprocessor.embeddings.weight"),
        "max_position_embeddings": size("perceiver.input_preprocessor.position_embeddings.weight"),
        "d_model": size("perceiver.encoder.cross_attention.attention.self.layernorm2.weight"),
    }
    if family.architecture == _LEARNED:
        positions = size("perceiver.input_preprocessor.position_embeddings.position_embeddings")
        found["image_size"] = math.isqrt(positions or 0)
    if family.architecture == _MULTIMODAL:
        heads = "perceiver.output_postprocessor.modalities"
        label_query = "perceiver.decoder.modalities.label.decoder.output_position_encodings"
        found["samples_per_patch"] = size(f"{heads}.audio.classifier.weight")
        found["num_labels"] = size(f"{heads}.label.classifier.weight")
        found["output_num_channels"] = size("perceiver.decoder.decoder.final_layer.weight")
        found["_label_trainable_num_channels"] = size(f"{label_query}.position_embeddings", 1)
    elif family.architecture not in ("PerceiverForMaskedLM", "PerceiverForOpticalFlow"):
        found["num_labels"] = size("perceiver.decoder.decoder.final_layer.weight")
    return {name: value for name, value in found.items() if value is not None}


def perceiver_config(
    family: Family, fields: Mapping[str, Any], *, from_file: str = "config.json"
) -> zoo.PerceiverConfig:
    """The config, with the released structure, of a class with the values of a config.json.

    Args:
      family: the class.
      fields: the values, and `num_labels`; transformers' own stand for those left out.
      from_file: what the values are from, for errors.

    Raises:
      CheckpointError: a value has a wrong type, or they make no model.
    """
    read = _Reader({**DEFAULTS, **fields}, from_file)
    try:
        return _perceiver_config(family, read)
    except ValueError as error:
        raise CheckpointError(f"{from_file} makes no model: {error}") from error


def _perceiver_config(family: Family, read: "_Reader") -> zoo.PerceiverConfig:
    encoder = _encoder(read)
    rule = encoder.width_rule
    preprocessor: Any
    if family.architecture == "PerceiverForMaskedLM":
        channels, length = read.integer("d_model"), read.integer("max_position_embeddings")
        return zoo.PerceiverConfig(
            zoo.TokensConfig(length, read.integer("vocab_size"), channels),
            encoder,
            zoo.DecoderConfig(
                output_channels=None,
                query=zoo.QueryConfig((length,), zoo.LearnedConfig(channels)),
                num_heads=8,
                qk_channels=8 * 32,
                v_channels=channels,
                width_rule=rule,
            ),
            zoo.TiedEmbeddingConfig(),
        )
    if family.architecture == "PerceiverForOpticalFlow":
        height, width = read.integers("train_size", 2)
        return zoo.PerceiverConfig(
            zoo.ImageConfig(
                shape=(2, height, width),
                prep="patches",
                temporal_downsample=2,
                neighbourhood=3,
                prep_channels=64,
                position=zoo.FourierConfig(64, (height, width)),
            ),
            encoder,
            zoo.FlowDecoderConfig(
                (height, width),
                zoo.DecoderConfig(output_channels=2, width_rule=rule, output_init="zeros"),
            ),
        )
    if family.architecture == _MULTIMODAL:
        return _video_autoencoder(read, encoder)

    if family.architecture == "PerceiverForSequenceClassification":
        preprocessor = zoo.TokensConfig(
            read.integer("max_position_embeddings"),
            read.integer("vocab_size"),
            read.integer("d_model"),
        )
    elif family.architecture == _LEARNED:
        size = read.integer("image_size")
        preprocessor = zoo.ImageConfig(
            shape=(size, size),
            prep="conv1x1",
            prep_channels=256,
            position=zoo.LearnedConfig(256),
            project_position_to=256,
        )
    elif family.architecture == _CONV:
        preprocessor = zoo.ImageConfig(
            shape=(224, 224),
            prep="conv",
            prep_channels=64,
            spatial_downsample=4,
            position=zoo.FourierConfig(64, (56, 56)),
        )
    else:
        preprocessor = zoo.ImageConfig(shape=(224, 224), position=zoo.FourierConfig(64, (224, 224)))
    return zoo.PerceiverConfig(
        preprocessor,
        encoder,
        zoo.ClassificationDecoderConfig(
            num_classes=read.integer("num_labels"),
            query_channels=encoder.latent_channels,
            width_rule=rule,
            # The released model has none; Hugging Face's class has: numerics.py.
            use_query_residual=family.architecture != _LEARNED,
        ),
    )


def _encoder(read: "_Reader") -> zoo.EncoderConfig:
    rule = read.fields["cross_attention_shape_for_attention"]
    if rule not in ("kv", "q"):
        raise ValueError(f"cross_attention_shape_for_attention={rule!r} must be 'kv' or 'q'.")
    if read.integer("num_blocks") > _MAX_BLOCKS:
        raise ValueError(f"num_blocks={read.integer('num_blocks')} is more than {_MAX_BLOCKS}.")
    return zoo.EncoderConfig(
        num_latents=read.integer("num_latents"),
        latent_channels=read.integer("d_latents"),
        num_blocks=read.integer("num_blocks"),
        self_attends_per_block=read.integer("num_self_attends_per_block"),
        cross_attend_heads=read.integer("num_cross_attention_heads"),
        self_attend_heads=read.integer("num_self_attention_heads"),
        qk_channels=read.integer_or_none("qk_channels"),
        v_channels=read.integer_or_none("v_channels"),
        width_rule=rule,
        use_query_residual=bool(read.fields["use_query_residual"]),
        cross_attend_widening_factor=read.integer("cross_attention_widening_factor"),
        self_attend_widening_factor=read.integer("self_attention_widening_factor"),
    )


def _video_autoencoder(read: "_Reader", encoder: zoo.EncoderConfig) -> zoo.PerceiverConfig:
    frames, size = read.integer("num_frames"), read.integer("image_size")
    num_samples = frames * read.integer("audio_samples_per_frame")
    samples_per_patch, num_classes = read.integer("samples_per_patch"), read.integer("num_labels")
    shape = read.integers("output_shape", 4)[1:]
    sound = zoo.FourierConfig(192, (num_samples,))
    video = zoo.FourierConfig(32, (frames, size, size))
    return zoo.PerceiverConfig(
        zoo.MultimodalConfig(
            modalities={
                "audio": zoo.AudioConfig(num_samples, samples_per_patch, position=sound),
                "image": zoo.ImageConfig(
                    shape, prep="patches", spatial_downsample=4, position=video
                ),
                "label": zoo.LabelConfig(num_classes),
            },
            min_padding_size=4,
            mask_probabilities={
                "audio": zoo.MaskProbability(0.0, 0.0),
                "image": zoo.MaskProbability(0.0, 0.0),
                # In training half of the labels were masked, where Hugging Face masks all.
                "label": zoo.MaskProbability(train=0.5, evaluation=1.0),
            },
        ),
        encoder,
        zoo.MultimodalDecoderConfig(
            queries={
                "audio": zoo.QueryConfig((num_samples // samples_per_patch,), sound),
                "image": zoo.QueryConfig(shape, video),
                "label": zoo.QueryConfig(
                    (1,), zoo.LearnedConfig(read.integer("_label_trainable_num_channels"))
                ),
            },
            decoder=zoo.DecoderConfig(
                read.integer("output_num_channels"), width_rule=encoder.width_rule
            ),
        ),
        zoo.MultimodalOutputConfig(
            {
                "audio": zoo.AudioOutputConfig(samples_per_patch),
                "image": zoo.ProjectionOutputConfig(channels=3),
                "label": zoo.ClassOutputConfig(num_classes),
            }
        ),
        encoder_name="encoder",
    )


class _Reader:
    """Values of a config.json, checked for their types."""

    def __init__(self, fields: Mapping[str, Any], from_file: str):
        self.fields = fields
        self._file = from_file

    def integer(self, name: str) -> int:
        value = self.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CheckpointError(
                f"{self._file} has {name}={value!r:.60}; expected a whole number of at least 1."
            )
        return value

    def integer_or_none(self, name: str) -> int | None:
        return None if self.fields.get(name) is None else self.integer(name)

    def integers(self, name: str, count: int) -> tuple[int, ...]:
        value = self.fields.get(name)
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
            raise CheckpointError(
                f"{self._file} has {name}={value!r:.60}; expected {count} whole numbers."
            )
        return tuple(
            _Reader({f"{name}.{i}": x}, self._file).integer(f"{name}.{i}")
            for i, x in enumerate(value)
        )
