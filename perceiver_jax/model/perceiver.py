"""The whole model: preprocess, encode, decode, postprocess (Perceiver IO, Fig. 2)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.model import decoders, encoder, multimodal, postprocessors, preprocessors
from perceiver_jax.model.byte_array import ByteArray
from perceiver_jax.model.position_encoding import LearnedConfig
from perceiver_jax.model.preprocessors import Elements
from perceiver_jax.model.routes import Route, check_route, choosing
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
    mask_outputs: bool = True  # Whether the mask of text wipes the outputs of padding, too.
    encoder_name: str = "perceiver_encoder"  # The encoder's name in the parameter tree.
    attention: Route = "auto"  # How attentions are computed; changes results by rounding only.

    def __post_init__(self) -> None:
        check_route(self.attention)
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


class Encoded(NamedTuple):
    """What decoding needs: it can be decoded any number of times, a part of the outputs each."""

    latents: jax.Array  # [b, n, d]
    elements: Elements  # What the queries read of the inputs: flow's features, or no elements.
    output_mask: jax.Array | None = None  # [b, o], for text: which outputs read the latents.


class Perceiver:
    """The modules of a `PerceiverConfig`, inside a Haiku transform.

    Not a Haiku module, so that it puts no name before those of the released checkpoints.
    """

    def __init__(self, config: PerceiverConfig):
        self.config = config
        self._preprocess: Callable[..., Elements]
        embeddings: jax.Array | None = None
        if isinstance(config.preprocessor, preprocessors.TokensConfig):
            tokens = preprocessors.TokensPreprocessor(config.preprocessor)
            self._preprocess, embeddings = tokens, tokens.embed.embeddings
        elif isinstance(config.preprocessor, multimodal.MultimodalConfig):
            modalities = sorted(config.preprocessor.modalities.items())
            self._preprocess = multimodal.MultimodalPreprocessor(
                config.preprocessor,
                {name: multimodal.make_preprocessor(modality) for name, modality in modalities},
            )
        else:
            self._preprocess = multimodal.make_preprocessor(config.preprocessor)

        self._encode = encoder.PerceiverEncoder(
            config.encoder, config.exact_gelu, name=config.encoder_name
        )

        self._decoder: (
            decoders.ProjectionDecoder | decoders.QueryingDecoder | multimodal.MultimodalDecoder
        )
        if isinstance(config.decoder, decoders.ProjectionDecoderConfig):
            self._decoder = decoders.ProjectionDecoder(config.decoder)
        elif isinstance(config.decoder, multimodal.MultimodalDecoderConfig):
            queries = sorted(config.decoder.queries.items())
            self._decoder = multimodal.MultimodalDecoder(
                config.decoder,
                {name: multimodal.make_query_maker(query) for name, query in queries},
                config.exact_gelu,
            )
        else:
            self._decoder = decoders.make_decoder(config.decoder, config.exact_gelu)

        self._postprocess: Callable[[jax.Array], jax.Array] = lambda x: x
        self._postprocess_modality: dict[str, Callable[[jax.Array], jax.Array]] = {}
        if isinstance(config.postprocessor, postprocessors.MultimodalOutputConfig):
            self._postprocess_modality = {
                name: postprocessors.make_postprocessor(output)
                for name, output in sorted(config.postprocessor.outputs.items())
            }
        elif isinstance(config.postprocessor, postprocessors.TiedEmbeddingConfig):
            assert embeddings is not None
            self._postprocess = postprocessors.EmbeddingDecoder(embeddings)
        elif config.postprocessor is not None:
            self._postprocess = postprocessors.make_postprocessor(config.postprocessor)

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
        encoded = self.encode(inputs, is_training=is_training, input_mask=input_mask)
        return self.decode(
            encoded,
            is_training=is_training,
            query_mask=query_mask,
            subsampled_output_points=subsampled_output_points,
        )

    def encode(
        self,
        inputs: Inputs,
        *,
        is_training: bool = False,
        input_mask: jax.Array | None = None,  # [b, m]
    ) -> Encoded:
        """Everything up to the latents."""
        with choosing(self.config.attention):
            elements = self._preprocess(inputs, is_training=is_training)
            latents = self._encode(elements.inputs, input_mask, is_training=is_training)
        return Encoded(latents, _read_by_queries(self.config.decoder, elements))

    def decode(
        self,
        encoded: Encoded,
        *,
        is_training: bool = False,
        query_mask: jax.Array | Mapping[str, jax.Array] | None = None,  # [b, o]
        subsampled_output_points: jax.Array | Mapping[str, jax.Array | None] | None = None,  # [p]
    ) -> Outputs:
        """Everything from the latents on."""
        with choosing(self.config.attention):
            return self._decode(encoded, is_training, query_mask, subsampled_output_points)

    def _decode(
        self,
        encoded: Encoded,
        is_training: bool,
        query_mask: jax.Array | Mapping[str, jax.Array] | None,
        subsampled_output_points: jax.Array | Mapping[str, jax.Array | None] | None,
    ) -> Outputs:
        latents, elements = encoded.latents, encoded.elements
        if isinstance(self._decoder, decoders.ProjectionDecoder):
            _refuse("query_mask", query_mask, "its decoder has no queries")
            _refuse("subsampled_output_points", subsampled_output_points, "it has one output")
            return self._postprocess(self._decoder(latents))

        if isinstance(self._decoder, multimodal.MultimodalDecoder):
            names = list(self._postprocess_modality)
            queries = self._decoder.decoder_query(
                elements.by_modality or {"": elements},
                _by_modality(subsampled_output_points, names),
            )
            masks = _by_modality(query_mask, names) or None
            decoded = self._decoder(queries, latents, masks, is_training=is_training)
            return {name: self._postprocess_modality[name](x) for name, x in decoded.items()}

        query = self._decoder.decoder_query(elements, _array(subsampled_output_points))
        mask = _array(query_mask)
        return self._postprocess(self._decoder(query, latents, mask, is_training=is_training))


def _read_by_queries(config: DecoderConfig, elements: Elements) -> Elements:
    """What the decoder's queries read of the inputs; elsewhere no elements, so as to cost nothing.

    Queries that read nothing still take their batch size and dtype from here.
    """

    def kept(query: decoders.QueryConfig | None, elements: Elements) -> Elements:
        if query is None or query.concat_inputs:
            return elements
        return Elements(
            ByteArray.of(elements.without_position[:, :0]), elements.without_position[:, :0]
        )

    if isinstance(config, multimodal.MultimodalDecoderConfig):
        by_modality = {
            name: kept(config.queries.get(name, _READS_NOTHING), part)
            for name, part in elements.by_modality.items()
        }
        return kept(_READS_NOTHING, elements)._replace(by_modality=by_modality)
    if isinstance(config, decoders.DecoderConfig):
        return kept(config.query, elements)
    if isinstance(config, decoders.FlowDecoderConfig | decoders.VideoDecoderConfig):
        return kept(config.decoder.query, elements)
    return kept(_READS_NOTHING, elements)


_READS_NOTHING = decoders.QueryConfig(shape=(1,), position=LearnedConfig(1))


def _refuse(name: str, value: object, reason: str) -> None:
    if value is not None:
        raise ValueError(f"this model takes no {name}: {reason}.")


def _array(value: jax.Array | Mapping[str, jax.Array | None] | None) -> jax.Array | None:
    """Checks an argument of a model with one output."""
    if isinstance(value, Mapping):
        raise ValueError("this model has one output: pass an array, not a mapping by modality.")
    return value if value is None else jnp.asarray(value)


def _by_modality(
    value: jax.Array | Mapping[str, jax.Array | None] | None, names: list[str]
) -> dict[str, jax.Array]:
    """Checks an argument that is given by modality; None or a missing name stands for no value."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"pass a mapping by modality, of {names}; got an array.")
    unknown = set(value) - set(names)
    if unknown:
        raise ValueError(f"unknown modalities {sorted(unknown)}; the outputs are {names}.")
    return {name: jnp.asarray(array) for name, array in value.items() if array is not None}
