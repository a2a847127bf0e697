"""Several modalities in one Perceiver (Perceiver, Sec. 4.2; Perceiver IO, Sec. 4.3 and App. I).

The elements of all modalities are brought to one width by trainable padding, which also tells the
modalities apart, and stand one after another in alphabetical order of the modalities' names.
"""

import dataclasses
from collections.abc import Callable, Mapping

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import decoders
from perceiver_jax.model.byte_array import ByteArray, Grid
from perceiver_jax.model.position_encoding import LearnedConfig, TrainablePositionEncoding
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    AudioPreprocessor,
    Elements,
    ImageConfig,
    ImagePreprocessor,
    LabelConfig,
    OneHotPreprocessor,
    PointsConfig,
    PointsPreprocessor,
)

ModalityConfig = ImageConfig | AudioConfig | PointsConfig | LabelConfig


@dataclasses.dataclass(frozen=True)
class MaskProbability:
    """How often an element is replaced by its modality's trainable mask token."""

    train: float  # In training.
    evaluation: float  # Otherwise.

    def __post_init__(self) -> None:
        for value in (self.train, self.evaluation):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"a mask probability must be between 0 and 1; got {value}.")


@dataclasses.dataclass(frozen=True)
class MultimodalConfig:
    """The modalities and how they are joined."""

    modalities: Mapping[str, ModalityConfig]  # By name.
    min_padding_size: int = 2  # Channels of padding of the widest modality.
    mask_probabilities: Mapping[str, MaskProbability] | None = None  # By name; None: no masking.

    def __post_init__(self) -> None:
        masked = set(self.mask_probabilities or ())
        if masked and masked != set(self.modalities):
            raise ValueError(
                f"mask_probabilities names {sorted(masked)}, but the modalities are "
                f"{sorted(self.modalities)}; give one for each, 0 for those never masked."
            )


@dataclasses.dataclass(frozen=True)
class MultimodalDecoderConfig:
    """Output queries of several modalities, decoded by one cross-attention."""

    queries: Mapping[str, decoders.QueryConfig]  # By modality.
    decoder: decoders.DecoderConfig  # The cross-attention; its own `query` is not used.
    min_padding_size: int = 2  # Channels of padding of the widest query.

    def __post_init__(self) -> None:
        if self.decoder.query is not None:
            raise ValueError("decoder.query must be none: the queries are given by modality.")


def make_preprocessor(config: ModalityConfig) -> Callable[..., Elements]:
    """The preprocessor of one modality."""
    if isinstance(config, ImageConfig):
        return ImagePreprocessor(config)
    if isinstance(config, AudioConfig):
        return AudioPreprocessor(config)
    if isinstance(config, PointsConfig):
        return PointsPreprocessor(config)
    return OneHotPreprocessor(config)


@dataclasses.dataclass
class MultimodalPreprocessor(hk.Module):
    """Joins the elements of several modalities."""

    config: MultimodalConfig
    preprocessors: Mapping[str, Callable[..., Elements]]  # By modality, made by the caller.
    name: str | None = None

    def __call__(self, inputs: Mapping[str, jax.Array], *, is_training: bool = False) -> Elements:
        """Preprocesses and joins `inputs`.

        Args:
          inputs: an array for each modality of the config. Labels that are always masked
            outside training may be left out there.
          is_training: picks the mask probabilities.

        Returns:
          The joined elements [b, m, c], with those of each modality beside them for decoders.
          Masked elements are masked in the former only.

        Raises:
          ValueError: a modality is missing or unknown.
        """
        if not isinstance(inputs, Mapping):
            shape = getattr(inputs, "shape", None)
            got = type(inputs).__name__ if shape is None else f"single array of shape {shape}"
            raise ValueError(
                f"expected a mapping by modality, of {sorted(self.preprocessors)}; got a {got}."
            )
        inputs = self._with_hidden_labels(inputs, is_training)
        if set(inputs) != set(self.preprocessors):
            raise ValueError(
                f"expected inputs for the modalities {sorted(self.preprocessors)}; got "
                f"{sorted(inputs)}."
            )
        by_modality = {
            name: self.preprocessors[name](inputs[name], is_training=is_training)
            for name in sorted(inputs)
        }
        inputs_of = {name: elements.inputs for name, elements in by_modality.items()}
        width = max(x.num_channels for x in inputs_of.values()) + self.config.min_padding_size
        padded = {name: _pad(x, width, name) for name, x in inputs_of.items()}
        if self.config.mask_probabilities is not None:
            for name, probability in self.config.mask_probabilities.items():
                padded[name] = _mask(
                    padded[name], probability.train if is_training else probability.evaluation, name
                )
        joined = ByteArray(tuple(grid for name in sorted(padded) for grid in padded[name].grids))
        some = next(iter(by_modality.values())).without_position
        return Elements(joined, some[:, :0], by_modality)

    def _with_hidden_labels(
        self, inputs: Mapping[str, jax.Array], is_training: bool
    ) -> Mapping[str, jax.Array]:
        """Adds zeros for labels that nobody will see."""
        missing = {
            name: jnp.zeros((next(iter(inputs.values())).shape[0], modality.num_classes))
            for name, modality in self.config.modalities.items()
            if isinstance(modality, LabelConfig)
            and name not in inputs
            and inputs
            and not is_training
            and self.config.mask_probabilities is not None
            and self.config.mask_probabilities[name].evaluation == 1.0
        }
        return {**inputs, **missing}


@dataclasses.dataclass
class MultimodalDecoder(hk.Module):
    """Outputs of several modalities [b, o, output_channels], one after another."""

    config: MultimodalDecoderConfig
    query_makers: Mapping[str, decoders.QueryingDecoder]  # Make the queries; by modality.
    exact_gelu: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__(name=self.name)
        self._decoder = decoders.BasicDecoder(self.config.decoder, self.exact_gelu)

    def decoder_query(
        self,
        inputs: Mapping[str, Elements],
        points: Mapping[str, jax.Array],
    ) -> dict[str, ByteArray]:  # by modality: [b, o, c]
        """The queries of each modality, of all its outputs or of those with indices `points`."""
        # Queries that do not depend on inputs need no more than their batch size and dtype.
        some_inputs = next(iter(inputs.values()))
        queries = {
            name: maker.decoder_query(inputs.get(name, some_inputs), points.get(name))
            for name, maker in sorted(self.query_makers.items())
        }
        width = max(query.num_channels for query in queries.values()) + self.config.min_padding_size
        return {name: _pad(query, width, name) for name, query in queries.items()}

    def __call__(
        self,
        queries: Mapping[str, ByteArray],  # by modality: [b, o, c]
        latents: jax.Array,  # [b, n, d]
        query_mask: Mapping[str, jax.Array] | None = None,  # by modality: [b, o]
        *,
        is_training: bool = False,
    ) -> dict[str, jax.Array]:  # by modality: [b, o, output_channels]
        """Decodes `latents` at `queries`."""
        names = sorted(queries)
        mask = None
        if query_mask is not None:
            unknown = set(query_mask) - set(names)
            if unknown:
                raise ValueError(f"query_mask names {sorted(unknown)}; the outputs are {names}.")
            mask = jnp.concatenate(
                [
                    jnp.asarray(query_mask[name]).astype(bool)
                    if name in query_mask
                    else jnp.ones(queries[name].shape[:2], bool)
                    for name in names
                ],
                axis=1,
            )
        joined = ByteArray(tuple(grid for name in names for grid in queries[name].grids))
        decoded = self._decoder(joined, latents, mask, is_training=is_training)
        return split_modalities(decoded, {name: queries[name].shape[1] for name in names})


def make_query_maker(query: decoders.QueryConfig) -> decoders.QueryingDecoder:
    """The decoder that makes the queries of one modality, without decoding them.

    A single learned query is the class query of a classification decoder, and named so.
    """
    if query.shape == (1,) and isinstance(query.position, LearnedConfig):
        return decoders.ClassificationDecoder(
            decoders.ClassificationDecoderConfig(
                num_classes=1,
                query_channels=query.position.channels,
                query_init_scale=query.position.init_scale,
            )
        )
    return decoders.BasicDecoder(decoders.DecoderConfig(output_channels=None, query=query))


def split_modalities(
    x: jax.Array, sizes: Mapping[str, int]
) -> dict[str, jax.Array]:  # [b, sum(sizes), c] -> by modality [b, size, c]
    """Cuts joined elements into modalities, which stand in alphabetical order."""
    parts, start = {}, 0
    for name in sorted(sizes):
        parts[name] = x[:, start : start + sizes[name]]
        start += sizes[name]
    if start != x.shape[1]:
        raise ValueError(f"{x.shape[1]} elements cannot be split into {dict(sizes)}.")
    return parts


# Functions, not methods: Haiku would put a method's name into those of the parameters.
def _pad(x: ByteArray, width: int, modality: str) -> ByteArray:  # [b, m, c] -> [b, m, width]
    missing = width - x.num_channels
    if not missing:
        return x
    padding = TrainablePositionEncoding(1, missing, name=f"{modality}_padding")()
    return x.map_grids(lambda grid: grid.with_constant(padding[0]))


def _mask(x: ByteArray, probability: float, modality: str) -> ByteArray:  # [b, m, c]
    token = TrainablePositionEncoding(1, x.num_channels, name=f"{modality}_mask_token")()
    if probability == 0.0:
        return x
    token = token[0].astype(x.dtype)
    if probability == 1.0:
        nothing = jnp.zeros((*x.shape[:2], 0), x.dtype)
        return ByteArray((Grid.of(nothing, constant=token),))
    chosen = jax.random.bernoulli(hk.next_rng_key(), probability, x.shape[:2])
    return ByteArray.of(jnp.where(chosen[..., None], token, x.dense()))
