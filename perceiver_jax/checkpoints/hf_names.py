"""Names of tensors: ours, which are the released ones, and Hugging Face's.

A few rules give the whole map of a model, from its kind and its number of self-attends; it is a
bijection, so it serves both ways. Found by comparing the parameters that both sides' code makes.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from perceiver_jax.checkpoints.hf_layouts import Layout


class Tensor(NamedTuple):
    """One of our arrays: `params[module][name]`, or of the state."""

    group: Literal["params", "state"]
    module: str
    name: str


class Place(NamedTuple):
    """Where an array stands on Hugging Face's side."""

    name: str
    layout: Layout


@dataclasses.dataclass(frozen=True)
class Family:
    """A kind of model that Hugging Face has a class for."""

    name: str  # What people call it.
    architecture: str  # The class.
    decoder: str  # Our name of the module with the decoder's cross-attention.
    hf_decoder: str  # Theirs.
    others: Mapping[tuple[str, str], Place]  # By our module and name: all but attention layers.
    state: Mapping[tuple[str, str], Place] = dataclasses.field(default_factory=dict)


def _linear(module: str, hf_name: str, layout: Layout = "matrix") -> dict[tuple[str, str], Place]:
    return {
        (module, "w"): Place(f"{hf_name}.weight", layout),
        (module, "b"): Place(f"{hf_name}.bias", "same"),
    }


def _table(module: str, hf_name: str) -> dict[tuple[str, str], Place]:
    return {(module, "pos_embs"): Place(hf_name, "same")}


_DECODER = "classification_decoder/~/basic_decoder"
_HF_DECODER = "perceiver.decoder.decoder"
_HF_INPUT = "perceiver.input_preprocessor"
_HF_OUTPUT = "perceiver.output_postprocessor.modalities"
_CLASSIFICATION = {
    **_linear(f"{_DECODER}/output", f"{_HF_DECODER}.final_layer"),
    **_table(
        f"{_DECODER}/~/trainable_position_encoding",
        f"{_HF_DECODER}.output_position_encodings.position_embeddings",
    ),
}
_TEXT = {
    ("embed", "embeddings"): Place(f"{_HF_INPUT}.embeddings.weight", "same"),
    **_table("trainable_position_encoding", f"{_HF_INPUT}.position_embeddings.weight"),
}
_NETWORK_INPUTS = "image_preprocessor/~_build_network_inputs"
_BATCH_NORM = "image_preprocessor/~/conv2_d_downsample/~/batchnorm"
_HF_BATCH_NORM = f"{_HF_INPUT}.convnet.batchnorm"
_MODALITIES = ("audio", "image", "label")

FAMILIES = (
    Family(
        "masked language model",
        "PerceiverForMaskedLM",
        "basic_decoder",
        "perceiver.decoder",
        {
            **_TEXT,
            **_table(
                "basic_decoder/~/trainable_position_encoding",
                "perceiver.decoder.output_position_encodings.position_embeddings",
            ),
            ("embedding_decoder", "bias"): Place("embedding_decoder.bias", "same"),
        },
    ),
    Family(
        "text classifier",
        "PerceiverForSequenceClassification",
        _DECODER,
        _HF_DECODER,
        {**_TEXT, **_CLASSIFICATION},
    ),
    Family(
        "image classifier with learned positions",
        "PerceiverForImageClassificationLearned",
        _DECODER,
        _HF_DECODER,
        {
            **_linear("image_preprocessor/~/conv2_d", f"{_HF_INPUT}.convnet_1x1", "kernel"),
            **_linear(
                f"{_NETWORK_INPUTS}/position_encoding_projector/linear",
                f"{_HF_INPUT}.positions_projection",
            ),
            **_table(
                f"{_NETWORK_INPUTS}/trainable_position_encoding",
                f"{_HF_INPUT}.position_embeddings.position_embeddings",
            ),
            **_CLASSIFICATION,
        },
    ),
    Family(
        "image classifier with Fourier positions",
        "PerceiverForImageClassificationFourier",
        _DECODER,
        _HF_DECODER,
        _CLASSIFICATION,
    ),
    Family(
        "image classifier with a convolutional stem",
        "PerceiverForImageClassificationConvProcessing",
        _DECODER,
        _HF_DECODER,
        {
            ("image_preprocessor/~/conv2_d_downsample/~/conv", "w"): Place(
                f"{_HF_INPUT}.convnet.conv.weight", "kernel"
            ),
            (_BATCH_NORM, "scale"): Place(f"{_HF_BATCH_NORM}.weight", "vector"),
            (_BATCH_NORM, "offset"): Place(f"{_HF_BATCH_NORM}.bias", "vector"),
            **_CLASSIFICATION,
        },
        {
            (f"{_BATCH_NORM}/~/mean_ema", "average"): Place(
                f"{_HF_BATCH_NORM}.running_mean", "vector"
            ),
            (f"{_BATCH_NORM}/~/var_ema", "average"): Place(
                f"{_HF_BATCH_NORM}.running_var", "vector"
            ),
            (f"{_BATCH_NORM}/~/mean_ema", "counter"): Place(
                f"{_HF_BATCH_NORM}.num_batches_tracked", "count"
            ),
        },
    ),
    Family(
        "optical flow",
        "PerceiverForOpticalFlow",
        "flow_decoder/~/basic_decoder",
        _HF_DECODER,
        {
            **_linear("image_preprocessor/patches_linear", f"{_HF_INPUT}.conv_after_patches"),
            **_linear("flow_decoder/~/basic_decoder/output", f"{_HF_DECODER}.final_layer"),
        },
    ),
    Family(
        "autoencoder of video with sound",
        "PerceiverForMultimodalAutoencoding",
        "multimodal_decoder/~/basic_decoder",
        _HF_DECODER,
        {
            **_linear("multimodal_decoder/~/basic_decoder/output", f"{_HF_DECODER}.final_layer"),
            **_table(
                f"{_DECODER}/~/trainable_position_encoding",
                "perceiver.decoder.modalities.label.decoder.output_position_encodings"
                ".position_embeddings",
            ),
            **{
                entry: place
                for modality in _MODALITIES
                for entry, place in {
                    **_table(
                        f"multimodal_preprocessor/{modality}_mask_token",
                        f"{_HF_INPUT}.mask.{modality}",
                    ),
                    **_table(
                        f"multimodal_preprocessor/{modality}_padding",
                        f"{_HF_INPUT}.padding.{modality}",
                    ),
                    **_table(
                        f"multimodal_decoder/~decoder_query/{modality}_padding",
                        f"perceiver.decoder.padding.{modality}",
                    ),
                }.items()
            },
            **_linear("audio_postprocessor/linear", f"{_HF_OUTPUT}.audio.classifier"),
            **_linear("projection_postprocessor/linear", f"{_HF_OUTPUT}.image.classifier"),
            **_linear("classification_postprocessor/linear", f"{_HF_OUTPUT}.label.classifier"),
        },
    ),
)
BY_ARCHITECTURE = {family.architecture: family for family in FAMILIES}

# The parts of an attention layer; a cross-attend has one layer norm more, of what it reads.
_LINEARS = {
    "attention/linear": "attention.self.query",
    "attention/linear_1": "attention.self.key",
    "attention/linear_2": "attention.self.value",
    "attention/linear_3": "attention.output.dense",
    "mlp/linear": "mlp.dense1",
    "mlp/linear_1": "mlp.dense2",
}
_CROSS_NORMS = {
    "layer_norm": "attention.self.layernorm1",
    "layer_norm_1": "attention.self.layernorm2",
    "layer_norm_2": "layernorm",
}
_SELF_NORMS = {"layer_norm": "attention.self.layernorm1", "layer_norm_1": "layernorm"}
_SELF_ATTENDS = "perceiver.encoder.self_attends."

# Tensors of other versions that hold nothing trained: indices that are counted up anew.
_IGNORED_ENDINGS = ("position_ids",)


def name_map(
    family: Family, num_self_attends: int, encoder_name: str = "perceiver_encoder"
) -> dict[Tensor, Place]:
    """The place of every array of a model.

    Args:
      family: the kind of model.
      num_self_attends: self-attends with weights of their own, those of one tower.
      encoder_name: our name of the encoder's module.
    """
    encoder = f"{encoder_name}/~"
    layers = [
        (f"{encoder}/cross_attention", "perceiver.encoder.cross_attention", _CROSS_NORMS),
        (
            f"{family.decoder}/cross_attention",
            f"{family.hf_decoder}.decoding_cross_attention",
            _CROSS_NORMS,
        ),
    ]
    for i in range(num_self_attends):
        ours = f"{encoder}/self_attention" + (f"_{i}" if i else "")
        layers.append((ours, f"{_SELF_ATTENDS}{i}", _SELF_NORMS))
    entries: dict[tuple[str, str], Place] = {
        **_table(f"{encoder}/trainable_position_encoding", "perceiver.embeddings.latents"),
        **family.others,
    }
    for module, hf_module, norms in layers:
        for part, hf_part in _LINEARS.items():
            entries |= _linear(f"{module}/{part}", f"{hf_module}.{hf_part}")
        for part, hf_part in norms.items():
            hf_name = f"{hf_module}.{hf_part}"
            entries[f"{module}/{part}", "scale"] = Place(f"{hf_name}.weight", "same")
            entries[f"{module}/{part}", "offset"] = Place(f"{hf_name}.bias", "same")
    places = {Tensor("params", *entry): place for entry, place in entries.items()}
    return places | {Tensor("state", *entry): place for entry, place in family.state.items()}


def count_self_attends(hf_names: Iterable[str]) -> int:
    """How many self-attends Hugging Face's names are of."""
    indices = {
        name.removeprefix(_SELF_ATTENDS).partition(".")[0]
        for name in hf_names
        if name.startswith(_SELF_ATTENDS)
    }
    return len(indices)


def recognise(hf_names: Iterable[str]) -> Family | None:
    """The family that Hugging Face's names are of, by names that only it has; None: no model."""
    names = set(hf_names)
    if "perceiver.embeddings.latents" not in names:
        return None
    for family in FAMILIES:
        if family is not BY_ARCHITECTURE["PerceiverForImageClassificationFourier"] and (
            _own_names(family) & names
        ):
            return family
    # It has no name of its own, since its preprocessor has no parameters.
    has_preprocessor = any(name.startswith(f"{_HF_INPUT}.") for name in names)
    is_classifier = f"{_HF_DECODER}.final_layer.weight" in names
    if is_classifier and not has_preprocessor:
        return BY_ARCHITECTURE["PerceiverForImageClassificationFourier"]
    # Both kinds of text model embed tokens; this one has no names but those it shares.
    if is_classifier and f"{_HF_INPUT}.embeddings.weight" in names:
        return BY_ARCHITECTURE["PerceiverForSequenceClassification"]
    return None


def _own_names(family: Family) -> set[str]:
    """Names that no other family has."""
    others = {
        place.name
        for other in FAMILIES
        if other is not family
        for place in (*other.others.values(), *other.state.values())
    }
    return {place.name for place in (*family.others.values(), *family.state.values())} - others


def is_ignored(hf_name: str) -> bool:
    """Says whether a tensor of Hugging Face's holds nothing that a model needs."""
    return hf_name.endswith(_IGNORED_ENDINGS)
