"""Config.json from our configs, for the models that a class of Hugging Face's can express.

What it cannot express is found by going there and back: where the config that comes back differs
in something that changes an output, the export is refused. Three differences, those of the released
models themselves, are let pass with a word about them: see `deviations`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from perceiver_jax import zoo
from perceiver_jax.checkpoints.hf_config import DEFAULTS, perceiver_config
from perceiver_jax.checkpoints.hf_names import BY_ARCHITECTURE, Family, Tensor
from perceiver_jax.config import diff
from perceiver_jax.errors import CheckpointError

ArrayShapes = Mapping[Tensor, tuple[int, ...]]

_OWN_FORMAT = "Our own format holds every model: --format=safetensors."


def family_of(config: zoo.ModelConfig) -> Family:
    """The class of Hugging Face's for a config.

    Raises:
      CheckpointError: there is none.
    """
    if isinstance(config, zoo.PerceiverConfig):
        architecture = _architecture(config)
        if architecture is not None:
            return BY_ARCHITECTURE[architecture]
        what = f"{type(config.preprocessor).__name__} and {type(config.decoder).__name__}"
    else:
        what = type(config).__name__
    raise CheckpointError(f"Hugging Face has no class for a model of {what}. {_OWN_FORMAT}")


def _architecture(config: zoo.PerceiverConfig) -> str | None:
    inputs, decoder = config.preprocessor, config.decoder
    if isinstance(inputs, zoo.TokensConfig):
        if isinstance(decoder, zoo.DecoderConfig) and decoder.query is not None:
            tied = isinstance(config.postprocessor, zoo.TiedEmbeddingConfig)
            return "PerceiverForMaskedLM" if tied else None
        if isinstance(decoder, zoo.ClassificationDecoderConfig):
            return "PerceiverForSequenceClassification"
    if isinstance(inputs, zoo.ImageConfig):
        if isinstance(decoder, zoo.ClassificationDecoderConfig) and len(inputs.shape) == 2:
            if inputs.prep == "conv1x1" and isinstance(inputs.position, zoo.LearnedConfig):
                return "PerceiverForImageClassificationLearned"
            if isinstance(inputs.position, zoo.FourierConfig):
                return {
                    "pixels": "PerceiverForImageClassificationFourier",
                    "conv": "PerceiverForImageClassificationConvProcessing",
                }.get(inputs.prep)
        if isinstance(decoder, zoo.FlowDecoderConfig):
            return "PerceiverForOpticalFlow"
    if _is_video_autoencoder(config):
        return "PerceiverForMultimodalAutoencoding"
    return None


def _is_video_autoencoder(config: zoo.PerceiverConfig) -> bool:
    """Says whether the modalities are of the kinds that the class has."""
    inputs, decoder, outputs = config.preprocessor, config.decoder, config.postprocessor
    if not (
        isinstance(inputs, zoo.MultimodalConfig)
        and isinstance(decoder, zoo.MultimodalDecoderConfig)
        and isinstance(outputs, zoo.MultimodalOutputConfig)
    ):
        return False
    kinds: dict[str, tuple[type, type, type]] = {
        "audio": (zoo.AudioConfig, zoo.FourierConfig, zoo.AudioOutputConfig),
        "image": (zoo.ImageConfig, zoo.FourierConfig, zoo.ProjectionOutputConfig),
        "label": (zoo.LabelConfig, zoo.LearnedConfig, zoo.ClassOutputConfig),
    }
    parts = (inputs.modalities, decoder.queries, outputs.outputs)
    return all(set(part) == set(kinds) for part in parts) and all(
        isinstance(inputs.modalities[name], of_input)
        and isinstance(decoder.queries[name].position, of_query)
        and isinstance(outputs.outputs[name], of_output)
        for name, (of_input, of_query, of_output) in kinds.items()
    )


def fields_of(config: zoo.PerceiverConfig, shapes: ArrayShapes) -> dict[str, Any]:
    """The values of config.json for a model, and `num_labels` where it has classes.

    Args:
      config: the model's.
      shapes: those of its parameters, from which its widths are read.

    Raises:
      CheckpointError: no class can express the config; names the fields, their values and what
        stands there instead.
    """
    family, encoder = family_of(config), config.encoder
    query, *widths = _decoder_widths(family, shapes)
    rule = _width_rule(config, query, widths[0], shapes)
    fields = {
        **DEFAULTS,
        "num_latents": encoder.num_latents,
        "d_latents": encoder.latent_channels,
        "d_model": _cross_attend(config, shapes, "layer_norm_1", "scale")[0],
        "num_blocks": encoder.num_blocks,
        "num_self_attends_per_block": encoder.self_attends_per_block,
        "num_self_attention_heads": encoder.self_attend_heads,
        "num_cross_attention_heads": encoder.cross_attend_heads,
        "qk_channels": encoder.qk_channels,
        "v_channels": encoder.v_channels,
        "cross_attention_shape_for_attention": rule,
        "self_attention_widening_factor": encoder.self_attend_widening_factor,
        "cross_attention_widening_factor": encoder.cross_attend_widening_factor,
        "use_query_residual": encoder.use_query_residual,
        "hidden_act": "gelu" if config.exact_gelu else "gelu_pytorch_tanh",
        # In training they drop attention weights, which none of our encoders does.
        "attention_probs_dropout_prob": 0.0,
        **_own_fields(config),
    }
    problems = list(_indivisible(encoder))
    if not problems:
        expressed = perceiver_config(family, fields, from_file="this model's config.json")
        theirs = [encoder.latent_channels] * 2 if rule == "kv" else [query] * 2
        if family.architecture == "PerceiverForMaskedLM":
            theirs = [256, query]
        problems = [
            f"{name} is {ours!r}; there it is {their_value!r}"
            for name, ours, their_value in diff(
                _canonical(config, rule, widths), _canonical(expressed, rule, theirs)
            )
        ]
    if problems:
        raise CheckpointError(
            f"{family.architecture} of transformers cannot express this model:\n  "
            + "\n  ".join(problems)
            + f"\n{_OWN_FORMAT}"
        )
    return fields


def deviations(config: zoo.PerceiverConfig) -> list[str]:
    """How outputs of transformers will differ, for the same weights, from those of `config`.

    `numerics="huggingface"` gives theirs here.
    """
    found = []
    inputs, decoder = config.preprocessor, config.decoder
    if isinstance(decoder, zoo.ClassificationDecoderConfig) and not decoder.use_query_residual:
        found.append("its decoder adds the query to what it reads")
    if isinstance(inputs, zoo.ImageConfig) and inputs.prep == "conv":
        if inputs.stem_padding == "same":
            found.append("its stem pads otherwise: 55 x 55 inputs for 224 x 224 pixels")
    if isinstance(decoder, zoo.DecoderConfig) and config.mask_outputs:
        found.append("its outputs at padding are not wiped")
    return found


def _decoder_widths(family: Family, shapes: ArrayShapes) -> tuple[int, int, int]:
    """Widths of the decoder's queries, and inside its attention of keys and values."""
    layer = f"{family.decoder}/cross_attention"
    return (
        shapes[Tensor("params", f"{layer}/layer_norm", "scale")][0],
        shapes[Tensor("params", f"{layer}/attention/linear", "b")][0],
        shapes[Tensor("params", f"{layer}/attention/linear_2", "b")][0],
    )


def _cross_attend(
    config: zoo.PerceiverConfig, shapes: ArrayShapes, part: str, name: str
) -> tuple[int, ...]:
    """The shape of a parameter of the encoder's cross-attend."""
    return shapes[Tensor("params", f"{config.encoder_name}/~/cross_attention/{part}", name)]


def _width_rule(
    config: zoo.PerceiverConfig, query: int, decoder_width: int, shapes: ArrayShapes
) -> str:
    """The rule, of the two that they have, that gives encoder and decoder their widths."""
    encoder, rules = config.encoder, [config.encoder.width_rule, "kv", "q"]
    if encoder.qk_channels is None:
        inputs = _cross_attend(config, shapes, "layer_norm_1", "scale")
        same = _cross_attend(config, shapes, "attention/linear", "b") == inputs
        rules.insert(1, "kv" if same else "q")
    elif not isinstance(config.decoder, zoo.DecoderConfig):
        # The encoder's widths are given, so the rule is the decoder's alone. (Language models have
        # that one's widths given, too.)
        fits = {"kv": encoder.latent_channels == decoder_width, "q": query == decoder_width}
        rules = [rule for rule in rules if fits.get(rule)] + rules
    return next(rule for rule in rules if rule != "min")


def _indivisible(encoder: zoo.EncoderConfig) -> Iterator[str]:
    if encoder.num_blocks < 1:
        yield f"encoder.num_blocks is {encoder.num_blocks}; there it is at least 1"
    for name in ("self_attend_heads", "cross_attend_heads"):
        if encoder.latent_channels % getattr(encoder, name):
            yield (
                f"encoder.{name} is {getattr(encoder, name)}; there it must divide "
                f"latent_channels={encoder.latent_channels}"
            )


def _own_fields(config: zoo.PerceiverConfig) -> dict[str, Any]:
    """The values that only one class reads."""
    inputs, decoder = config.preprocessor, config.decoder
    fields: dict[str, Any] = {}
    if isinstance(decoder, zoo.ClassificationDecoderConfig):
        fields["num_labels"] = decoder.num_classes
    if isinstance(inputs, zoo.TokensConfig):
        fields["vocab_size"] = inputs.vocab_size
        fields["max_position_embeddings"] = inputs.length
    elif isinstance(decoder, zoo.FlowDecoderConfig):
        fields["train_size"] = list(decoder.shape)
    elif isinstance(inputs, zoo.ImageConfig) and inputs.prep == "conv1x1":
        fields["image_size"] = inputs.shape[0]
    elif isinstance(inputs, zoo.MultimodalConfig):
        assert isinstance(decoder, zoo.MultimodalDecoderConfig)
        image, audio = inputs.modalities["image"], inputs.modalities["audio"]
        label, label_query = inputs.modalities["label"], decoder.queries["label"].position
        assert isinstance(image, zoo.ImageConfig) and isinstance(audio, zoo.AudioConfig)
        assert isinstance(label, zoo.LabelConfig) and isinstance(label_query, zoo.LearnedConfig)
        frames, *size = _resolution(decoder.queries["image"])
        fields |= {
            "num_frames": frames,
            "image_size": size[0],
            "audio_samples_per_frame": max(audio.num_samples // frames, 1),
            "samples_per_patch": audio.samples_per_patch,
            "output_shape": [1, *decoder.queries["image"].shape],
            "output_num_channels": decoder.decoder.output_channels,
            "_label_trainable_num_channels": label_query.channels,
            "num_labels": label.num_classes,
        }
    return fields


def _resolution(query: zoo.QueryConfig) -> tuple[int, ...]:
    assert isinstance(query.position, zoo.FourierConfig)
    return query.position.max_resolution or query.shape


def _canonical(config: zoo.PerceiverConfig, rule: str, widths: list[int]) -> zoo.PerceiverConfig:
    """The config without what changes no output, and without the differences let pass.

    Args:
      config: ours, or the one that theirs comes back as.
      rule: the width rule that is as good as the config's.
      widths: those inside the decoder's attention, of keys and values.
    """
    encoder = dataclasses.replace(
        config.encoder,
        width_rule=rule,  # type: ignore[arg-type]
        share_towers=config.encoder.share_towers or config.encoder.num_blocks == 1,
        dropout_prob=0.0,
        latent_init_scale=0.02,
    )
    if encoder.num_cross_attends == 1:
        encoder = dataclasses.replace(
            encoder, cross_attend_placement="interleaved", cross_attend_sharing="all_but_first"
        )
    changes: dict[str, Any] = {
        "qk_channels": widths[0],
        "v_channels": widths[1],
        "width_rule": rule,
    }
    inputs = config.preprocessor
    if isinstance(inputs, zoo.ImageConfig) and inputs.prep == "conv1x1":
        changes["use_query_residual"] = True  # See `deviations`.
    return dataclasses.replace(
        config,
        attention="auto",
        preprocessor=_canonical_inputs(inputs),
        encoder=encoder,
        decoder=_canonical_decoder(config.decoder, changes),
        exact_gelu=False,
        mask_outputs=True,
        encoder_name="",
    )


def _canonical_inputs(inputs: Any) -> Any:
    if isinstance(inputs, zoo.TokensConfig):
        return dataclasses.replace(inputs, position_init_scale=0.02)
    if isinstance(inputs, zoo.MultimodalConfig):
        masks = inputs.mask_probabilities or {}
        return dataclasses.replace(
            inputs,
            modalities={
                name: _canonical_inputs(part) for name, part in sorted(inputs.modalities.items())
            },
            mask_probabilities={
                name: zoo.MaskProbability(each.evaluation, each.evaluation)
                for name, each in sorted(masks.items())
            },
        )
    if not isinstance(inputs, zoo.ImageConfig | zoo.AudioConfig):
        return inputs
    inputs = dataclasses.replace(inputs, position=_canonical_position(inputs, inputs.index_dims))
    if not isinstance(inputs, zoo.ImageConfig):
        return inputs
    return dataclasses.replace(
        inputs,
        shape=(224, 224) if _takes_any_size(inputs) else inputs.shape,
        use_batch_norm=inputs.use_batch_norm or inputs.prep != "conv",
        stem_padding="same",
    )


def _takes_any_size(inputs: zoo.ImageConfig) -> bool:
    """Their classifiers with Fourier positions take images of any size, and name none."""
    return isinstance(inputs.position, zoo.FourierConfig) and len(inputs.shape) == 2


def _canonical_position(holder: Any, grid: tuple[int, ...]) -> Any:
    position = holder.position
    if isinstance(position, zoo.LearnedConfig):
        return dataclasses.replace(position, init_scale=0.02)
    if isinstance(position, zoo.FourierConfig):
        resolution = position.max_resolution or grid
        return dataclasses.replace(position, max_resolution=resolution, rounded_as="jax")
    return position


def _canonical_decoder(decoder: Any, changes: Mapping[str, Any]) -> Any:
    if isinstance(decoder, zoo.FlowDecoderConfig):
        return dataclasses.replace(decoder, decoder=_canonical_decoder(decoder.decoder, changes))
    if isinstance(decoder, zoo.MultimodalDecoderConfig):
        return dataclasses.replace(
            decoder,
            decoder=_canonical_decoder(decoder.decoder, changes),
            queries={
                name: dataclasses.replace(query, position=_canonical_position(query, query.shape))
                for name, query in sorted(decoder.queries.items())
            },
        )
    decoder = dataclasses.replace(decoder, output_init="default", **changes)
    if isinstance(decoder, zoo.ClassificationDecoderConfig):
        return dataclasses.replace(decoder, query_init_scale=0.02)
    if decoder.query is not None:
        position = _canonical_position(decoder.query, decoder.query.shape)
        query = dataclasses.replace(decoder.query, position=position)
        return dataclasses.replace(decoder, query=query)
    return decoder
