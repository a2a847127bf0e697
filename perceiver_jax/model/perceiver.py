"""The whole model: preprocess, encode, decode, postprocess (Perceiver IO, Fig. 2)."""

import dataclasses
from collections.abc import Mapping

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import decoders, encoder, multimodal, postprocessors, preprocessors
from perceiver_jax.typing import Inputs, Outputs

PreprocessorConfig = (
    preprocessors.ImageConfig
    | preprocessors.AudioConfig
    | preprocessors.PointsConfig
    | preprocessors.TokensConfig
    | multimodal.MultimodalConfig
)
DecoderConfig = (
    decoders.ProjectionDecoderConfig
    | decoders.DecoderConfig
    | decoders.ClassificationDecoderConfig
    | decoders.FlowDecoderConfig
    | decoders.VideoDecoderConfig
    | multimodal.MultimodalDecoderConfig
)
PostprocessorConfig = (
    postprocessors.OutputConfig
    | postprocessors.TiedEmbeddingConfig
    | postprocessors.MultimodalOutputConfig
)


@dataclasses.dataclass(frozen=True)
class PerceiverConfig:
    """A model: what it reads, how it thinks, what it answers."""

    preprocessor: PreprocessorConfig
    encoder: encoder.EncoderConfig
    decoder: DecoderConfig
    postprocessor: PostprocessorConfig | None = None  # What becomes of the decoded elements.
    exact_gelu: bool = False  # The erf form of GELU; the released models use the tanh form.
    encoder_name: str = "perceiver_encoder"  # The encoder's name in the parameter tree.

    def __post_init__(self) -> None:
        decoder, postprocessor = self.decoder, self.postprocessor
        is_multimodal = isinstance(decoder, multimodal.MultimodalDecoderConfig)
        if is_multimodal != isinstance(postprocessor, postprocessors.MultimodalOutputConfig):
            raise ValueError("a multimodal decoder and a multimodal postprocessor go together.")
        if (
            isinstance(decoder, multimodal.MultimodalDecoderConfig)
            and isinstance(postprocessor, postprocessors.MultimodalOutputConfig)
            and set(decoder.queries) != set(postprocessor.outputs)
        ):
            raise ValueError(
                f"the decoder's modalities are {sorted(decoder.queries)}, but the "
                f"postprocessor's are {sorted(postprocessor.outputs)}."
            )
        if isinstance(postprocessor, postprocessors.TiedEmbeddingConfig) and not isinstance(
            self.preprocessor, preprocessors.TokensConfig
        ):
            raise ValueError("a tied embedding needs a preprocessor that embeds tokens.")


class Perceiver:
    """The modules of a `PerceiverConfig`, inside a Haiku transform.

    Not a Haiku module, so that it puts no name before those of the released checkpoints.
    """

    def __init__(self, config: PerceiverConfig):
        self.config = config
        self._preprocessor: (
            preprocessors.TokensPreprocessor | multimodal.MultimodalPreprocessor | hk.Module
        )
        if isinstance(config.preprocessor, preprocessors.TokensConfig):
            self._preprocessor = preprocessors.TokensPreprocessor(config.preprocessor)
        elif isinstance(config.preprocessor, multimodal.MultimodalConfig):
            self._preprocessor = multimodal.MultimodalPreprocessor(
                config.preprocessor,
                {
                    name: multimodal.make_preprocessor(modality)
                    for name, modality in sorted(config.preprocessor.modalities.items())
                },
            )
        else:
            self._preprocessor = multimodal.make_preprocessor(config.preprocessor)

        self._encoder = encoder.PerceiverEncoder(
            config.encoder, config.exact_gelu, name=config.encoder_name
        )

        if isinstance(config.decoder, decoders.ProjectionDecoderConfig):
            self._decoder = decoders.ProjectionDecoder(config.decoder)
        elif isinstance(config.decoder, multimodal.MultimodalDecoderConfig):
            self._decoder = multimodal.MultimodalDecoder(
                config.decoder,
                {
                    name: multimodal.make_query_maker(query)
                    for name, query in sorted(config.decoder.queries.items())
                },
                config.exact_gelu,
            )
        else:
            self._decoder = decoders.make_decoder(config.decoder, config.exact_gelu)

        postprocessor = config.postprocessor
        self._postprocessors: dict[str, hk.Module] = {}
        self._postprocessor: hk.Module | None = None
        if isinstance(postprocessor, postprocessors.MultimodalOutputConfig):
            self._postprocessors = {
                name: postprocessors.make_postprocessor(output)
                for name, output in sorted(postprocessor.outputs.items())
            }
        elif isinstance(postprocessor, postprocessors.TiedEmbeddingConfig):
            self._postprocessor = postprocessors.EmbeddingDecoder(
                self._preprocessor.embed.embeddings
            )
        elif postprocessor is not None:
            self._postprocessor = postprocessors.make_postprocessor(postprocessor)

    def __call__(
        self,
        inputs: Inputs,
        *,
        is_training: bool = False,
        input_mask: jax.Array | None = None,  # [b, m]
        query_mask: jax.Array | Mapping[str, jax.Array] | None = None,  # [b, o]
        subsampled_output_points: jax.Array | Mapping[str, jax.Array | None] | None = None,  # [p]
    ) -> Outputs:
        """Answers `inputs`; see `zoo.Model.apply` for the arguments."""
        preprocessed = self._preprocessor(inputs, is_training=is_training)
        if isinstance(self._preprocessor, multimodal.MultimodalPreprocessor):
            elements, by_modality = preprocessed
        else:
            elements, by_modality = preprocessed, {}
        latents = self._encoder(elements.features, input_mask, is_training=is_training)

        if isinstance(self._decoder, decoders.ProjectionDecoder):
            _refuse("query_mask", query_mask, "its decoder has no queries")
            _refuse("subsampled_output_points", subsampled_output_points, "it has one output")
            outputs = self._decoder(latents)
        elif isinstance(self._decoder, multimodal.MultimodalDecoder):
            points = _by_modality(subsampled_output_points, self._postprocessors)
            queries = self._decoder.decoder_query(by_modality, points)
            decoded = self._decoder(
                queries,
                latents,
                None if query_mask is None else _by_modality(query_mask, self._postprocessors),
                is_training=is_training,
            )
            return {name: self._postprocessors[name](x) for name, x in decoded.items()}
        else:
            for argument in (query_mask, subsampled_output_points):
                if isinstance(argument, Mapping):
                    raise ValueError("this model has one output: pass an array, not a mapping.")
            query = self._decoder.decoder_query(elements, subsampled_output_points)
            outputs = self._decoder(query, latents, query_mask, is_training=is_training)
        return outputs if self._postprocessor is None else self._postprocessor(outputs)


def _refuse(name: str, value: object, reason: str) -> None:
    if value is not None:
        raise ValueError(f"this model takes no {name}: {reason}.")


def _by_modality(value: object, names: Mapping[str, object]) -> dict[str, jax.Array | None]:
    """Checks an argument that is given by modality; None or a missing name stands for no value."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"pass a mapping by modality, of {sorted(names)}; got an array.")
    unknown = set(value) - set(names)
    if unknown:
        raise ValueError(f"unknown modalities {sorted(unknown)}; the outputs are {sorted(names)}.")
    return {name: None if array is None else jnp.asarray(array) for name, array in value.items()}
