"""The families of released models: the modules that tell them, and the sizes that shapes tell.

What shapes cannot tell is how the arrays are used: heads split a width into any number of equal
parts, shared towers may run any number of times, and Fourier features leave no trace of their
resolution. `recognise.py` puts names, shapes and what the user adds together.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.zoo import released

Shapes = Mapping[tuple[str, str], tuple[int, ...]]  # {(module, name): shape}, state included.
Sizes = dict[str, Any]  # Overrides of a config, by dotted name.


class Guess(tuple[int, ...]):
    """A size that only goes with the shapes: of an image whose number of pixels is known."""


@dataclasses.dataclass(frozen=True)
class Family:
    """Models of one structure, which differ in sizes."""

    name: str  # As in the zoo, if it is there.
    config: Callable[[], PerceiverConfig]  # Its released, or usual, member.
    told_by: tuple[str, ...]  # Modules that together no other family has.
    sizes: Callable[[Shapes], Sizes]  # What shapes tell, as overrides of `config`.
    needed: tuple[str, ...]  # Fields that they do not tell.


def _encoder(shapes: Shapes, name: str = "perceiver_encoder") -> Sizes:
    latents, width = shapes[f"{name}/~/trainable_position_encoding", "pos_embs"]
    cross, tower = f"{name}/~/cross_attention", f"{name}/~/self_attention"
    layer = re.compile(re.escape(tower) + r"(_\d+)?/attention/linear$")
    kv_width, qk, v = _attention(shapes, cross)
    _, self_qk, self_v = _attention(shapes, tower)
    default = qk == v == kv_width and self_qk == self_v == width
    return {
        "encoder.num_latents": latents,
        "encoder.latent_channels": width,
        "encoder.self_attends_per_block": sum(
            layer.match(module) is not None for module, array in shapes if array == "w"
        ),
        "encoder.qk_channels": None if default else self_qk,
        "encoder.v_channels": None if default else self_v,
        "encoder.cross_attend_widening_factor": _widening(shapes, cross),
        "encoder.self_attend_widening_factor": _widening(shapes, tower),
    }


def _attention(shapes: Shapes, block: str) -> tuple[int, int, int]:
    """Width of the keys' inputs, of queries and keys, and of values."""
    kv_width, v = shapes[f"{block}/attention/linear_2", "w"]
    return kv_width, shapes[f"{block}/attention/linear", "w"][1], v


def _widening(shapes: Shapes, block: str) -> int:
    width, hidden = shapes[f"{block}/mlp/linear", "w"]
    return hidden // width


def _kv_width(shapes: Shapes, encoder: str = "perceiver_encoder") -> int:
    return shapes[f"{encoder}/~/cross_attention/attention/linear_1", "w"][0]


def _decoder(shapes: Shapes, module: str, field: str) -> Sizes:
    kv_width, qk, v = _attention(shapes, f"{module}/cross_attention")
    return {
        f"{field}.qk_channels": None if qk == v == kv_width else qk,
        f"{field}.v_channels": None if qk == v == kv_width else v,
        f"{field}.widening_factor": _widening(shapes, f"{module}/cross_attention"),
    }


_CLASS_DECODER = "classification_decoder/~/basic_decoder"
_CLASS_QUERY = f"{_CLASS_DECODER}/~/trainable_position_encoding"


def _classifier(shapes: Shapes) -> Sizes:
    return {
        **_encoder(shapes),
        **_decoder(shapes, _CLASS_DECODER, "decoder"),
        "decoder.num_classes": shapes[f"{_CLASS_DECODER}/output", "w"][1],
        "decoder.query_channels": shapes[_CLASS_QUERY, "pos_embs"][1],
    }


def _bands(width: int, num_axes: int) -> int:
    """Bands of Fourier features, `num_axes` * (2 * bands + 1) wide."""
    bands, rest = divmod(width - num_axes, 2 * num_axes)
    if rest or bands < 1:
        raise ValueError(f"{width} channels are no Fourier features of {num_axes} axes.")
    return bands


def _imagenet_fourier(shapes: Shapes) -> Sizes:
    return {
        **_classifier(shapes),
        "preprocessor.position.num_bands": _bands(_kv_width(shapes) - 3, 2),
    }


_STEM = "image_preprocessor/~/conv2_d_downsample/~"


def _imagenet_conv(shapes: Shapes) -> Sizes:
    *_, channels, width = shapes[f"{_STEM}/conv", "w"]
    return {
        **_classifier(shapes),
        "preprocessor.channels": channels,
        "preprocessor.prep_channels": width,
        "preprocessor.position.num_bands": _bands(_kv_width(shapes) - width, 2),
    }


_INPUTS = "image_preprocessor/~_build_network_inputs"


def _imagenet_learned(shapes: Shapes) -> Sizes:
    *_, channels, width = shapes["image_preprocessor/~/conv2_d", "w"]
    rows, position_width = shapes[f"{_INPUTS}/trainable_position_encoding", "pos_embs"]
    projected = shapes[f"{_INPUTS}/position_encoding_projector/linear", "w"][1]
    side = round(rows**0.5)
    return {
        **_classifier(shapes),
        "preprocessor.channels": channels,
        "preprocessor.prep_channels": width,
        "preprocessor.position.channels": position_width,
        "preprocessor.project_position_to": projected,
        "preprocessor.shape": (side, side) if side**2 == rows else Guess((1, rows)),
    }


def _text(shapes: Shapes) -> Sizes:
    vocabulary, width = shapes["embed", "embeddings"]
    return {
        **_encoder(shapes),
        "preprocessor.vocab_size": vocabulary,
        "preprocessor.channels": width,
        "preprocessor.length": shapes["trainable_position_encoding", "pos_embs"][0],
    }


def _language_model(shapes: Shapes) -> Sizes:
    length, width = shapes["basic_decoder/~/trainable_position_encoding", "pos_embs"]
    return {
        **_text(shapes),
        **_decoder(shapes, "basic_decoder", "decoder"),
        "decoder.query.shape": (length,),
        "decoder.query.position.channels": width,
    }


def _text_classifier(shapes: Shapes) -> Sizes:
    return {**_classifier(shapes), **_text(shapes)}


def _optical_flow(shapes: Shapes) -> Sizes:
    width = shapes["image_preprocessor/patches_linear", "w"][1]
    return {
        **_encoder(shapes),
        **_decoder(shapes, "flow_decoder/~/basic_decoder", "decoder.decoder"),
        "preprocessor.prep_channels": width,
        "preprocessor.position.num_bands": _bands(_kv_width(shapes) - width, 2),
    }


def _video_autoencoding(shapes: Shapes) -> Sizes:
    def padding(place: str, modality: str) -> int:
        return shapes[f"{place}/{modality}_padding", "pos_embs"][1]

    decoder, name = "multimodal_decoder/~/basic_decoder", "multimodal_preprocessor"
    width, query_width = _kv_width(shapes, "encoder"), shapes[f"{decoder}/output", "w"][0]
    classes = width - padding(name, "label")
    per_patch = shapes["audio_postprocessor/linear", "w"][1]
    query = "multimodal_decoder/~decoder_query"
    sound_bands = _bands(query_width - padding(query, "audio"), 1)
    video_bands = _bands(query_width - padding(query, "image"), 3)
    patch = width - padding(name, "image") - 3 * (2 * video_bands + 1)  # channels of a patch
    bands = "position.num_bands"
    return {
        **_encoder(shapes, "encoder"),
        **_decoder(shapes, decoder, "decoder.decoder"),
        "preprocessor.modalities.audio.samples_per_patch": per_patch,
        f"preprocessor.modalities.audio.{bands}": sound_bands,
        f"preprocessor.modalities.image.{bands}": video_bands,
        "preprocessor.modalities.image.spatial_downsample": round((patch / 3) ** 0.5),
        "preprocessor.modalities.label.num_classes": classes,
        "preprocessor.min_padding_size": min(padding(name, m) for m in ("audio", "image", "label")),
        "decoder.min_padding_size": min(padding(query, m) for m in ("audio", "image", "label")),
        f"decoder.queries.audio.{bands}": sound_bands,
        f"decoder.queries.image.{bands}": video_bands,
        "decoder.queries.label.position.channels": shapes[_CLASS_QUERY, "pos_embs"][1],
        "decoder.decoder.output_channels": shapes[f"{decoder}/output", "w"][1],
        "postprocessor.outputs.audio.samples_per_patch": per_patch,
        "postprocessor.outputs.image.channels": shapes["projection_postprocessor/linear", "w"][1],
        "postprocessor.outputs.label.num_classes": classes,
    }


_HEADS = ("encoder.num_blocks", "encoder.cross_attend_heads", "encoder.self_attend_heads")
_CLASSIFIER_HEADS = (*_HEADS, "decoder.num_heads", "decoder.use_query_residual")
_FOURIER = ("preprocessor.shape", "preprocessor.position.max_resolution")

# The first whose modules are all there is taken, so the more telling ones come first.
FAMILIES = (
    Family(
        "video_autoencoding",
        released.video_autoencoding,
        ("multimodal_preprocessor/audio_padding", "multimodal_decoder/~/basic_decoder/output"),
        _video_autoencoding,
        (
            *_HEADS,
            "decoder.decoder.num_heads",
            "preprocessor.modalities.audio.num_samples",
            "preprocessor.modalities.image.shape",
            "preprocessor.modalities.audio.position.max_resolution",
            "preprocessor.modalities.image.position.max_resolution",
            "decoder.queries.audio.shape",
            "decoder.queries.image.shape",
        ),
    ),
    Family(
        "optical_flow",
        released.optical_flow,
        ("flow_decoder/~/basic_decoder/output", "image_preprocessor/patches_linear"),
        _optical_flow,
        (*_HEADS, "decoder.decoder.num_heads", *_FOURIER, "decoder.shape"),
    ),
    Family(
        "mlm",
        released.mlm,
        ("embed", "embedding_decoder"),
        _language_model,
        (*_HEADS, "decoder.num_heads"),
    ),
    Family(
        "text_classifier",
        released.text_classifier,
        ("embed", f"{_CLASS_DECODER}/output"),
        _text_classifier,
        _CLASSIFIER_HEADS,
    ),
    Family(
        "imagenet_conv",
        released.imagenet_conv,
        (f"{_STEM}/conv", f"{_CLASS_DECODER}/output"),
        _imagenet_conv,
        (*_CLASSIFIER_HEADS, *_FOURIER),
    ),
    Family(
        "imagenet_learned",
        released.imagenet_learned,
        (f"{_INPUTS}/trainable_position_encoding", f"{_CLASS_DECODER}/output"),
        _imagenet_learned,
        (*_CLASSIFIER_HEADS, "preprocessor.shape"),
    ),
    Family(
        "imagenet_fourier",
        released.imagenet_fourier,
        (f"{_CLASS_DECODER}/output", "perceiver_encoder/~/cross_attention/attention/linear"),
        _imagenet_fourier,
        (*_CLASSIFIER_HEADS, *_FOURIER),
    ),
)
