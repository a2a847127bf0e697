"""A model as pure functions: the only door between Haiku and the rest of the package."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.model import baselines, perceiver
from perceiver_jax.model.baselines import BaselineConfig, TransformerConfig
from perceiver_jax.model.capture import capturing
from perceiver_jax.model.decoders import DecoderConfig
from perceiver_jax.model.execution import Execution, running
from perceiver_jax.model.frozen_state import frozen_state as freezing
from perceiver_jax.model.multimodal import ModalityConfig, MultimodalConfig
from perceiver_jax.model.perceiver import Encoded
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    ImageConfig,
    PointsConfig,
    TokensConfig,
)
from perceiver_jax.typing import Captured, Inputs, Outputs, Params, State

ModelConfig = perceiver.PerceiverConfig | BaselineConfig


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of a config. Holds no arrays; everything is a function of its arguments.

    Inputs, by kind of model:
      images [b, y, x, c]; frames [b, 2, y, x, 3]; points [b, m, 3]; sound [b, samples, 1];
      token ids [b, m], m up to the model's length, then optionally their mask [b, m]; for several
      modalities one dict by name.
    """

    config: ModelConfig
    name: str = ""  # Its name in the zoo, if it is from there.

    def init(self, rng: jax.Array, *inputs: Inputs) -> tuple[Params, State]:
        """Initialises parameters and state.

        Args:
          rng: a random key.
          *inputs: example inputs; only shapes and dtypes matter. Without any, those of
            `example_inputs()`.

        Returns:
          Parameters and state, each `{module name: {name: array}}` with the released names.
        """
        examples = jax.tree.map(
            lambda x: jnp.zeros(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)),
            inputs or self.example_inputs(),
        )
        transformed = self._transformed(is_training=True)
        # Under jit the compiler drops the forward pass, whose result nobody needs.
        return jax.jit(transformed.init)(rng, *examples)

    def apply(
        self,
        params: Params,
        state: State,
        rng: jax.Array | None,
        *inputs: Inputs,
        is_training: bool = False,
        input_mask: jax.Array | None = None,
        query_mask: jax.Array | Mapping[str, jax.Array] | None = None,
        subsampled_output_points: jax.Array | Mapping[str, jax.Array | None] | None = None,
        capture: bool | str | tuple[str, ...] = False,
        execution: Execution = Execution(),
        frozen_state: tuple[str, ...] = (),
    ) -> tuple[Outputs, State] | tuple[Outputs, State, Captured]:
        """Runs the model.

        Args:
          params: parameters.
          state: state, `{}` for models without batch norm.
          rng: a random key; needed only in training, and only by models with dropout or random
            masking.
          *inputs: see the class.
          is_training: whether dropout, random masking and batch statistics are on.
          input_mask: [b, m], which input elements may be read; 1 or True = read. Of text, the mask
            given as second input stands for it.
          query_mask: [b, o], which outputs read the latents; the others read zeros. Of text, the
            mask given as second input stands for it too, as in the released procedure. By
            modality for models with several.
          subsampled_output_points: [p], flat indices of the outputs to compute; None computes all.
            By modality for models with several.
          capture: which intermediates to return: glob patterns of module names, True for all.
            `*cross_attention*/attention` are the attention maps of cross-attends.
          execution: precision, recomputation and placement, which change results by rounding only.
          frozen_state: names of modules of `state` that training leaves as they are: their batch
            norms use these averages in training too.

        Returns:
          Outputs and new state; with `capture` also `{"<module name>#<call index>": value}`, where
          attention weights are [b, h, q, k] in float32.

        Raises:
          ValueError: an input or a mask does not fit the model.
        """
        if not isinstance(params, Mapping) or not isinstance(state, Mapping):
            raise ValueError(
                "params and state must be the two mappings that init returns; "
                f"got {type(params).__name__} and {type(state).__name__}."
            )
        patterns = (
            ("*",) if capture is True else (capture,) if isinstance(capture, str) else capture
        )
        transformed = self._transformed(is_training, patterns or ())
        with running(execution), freezing(frozen_state):
            (outputs, captured), new_state = transformed.apply(
                params,
                state,
                rng,
                *jax.tree.map(jnp.asarray, inputs),
                input_mask=None if input_mask is None else jnp.asarray(input_mask),
                query_mask=jax.tree.map(jnp.asarray, query_mask),
                subsampled_output_points=jax.tree.map(jnp.asarray, subsampled_output_points),
            )
        if patterns and not captured and isinstance(self.config, perceiver.PerceiverConfig):
            raise ValueError(
                f"capture={capture!r} matches no module of this model; True captures all, and the "
                "keys of what comes back are the names."
            )
        return (outputs, new_state, captured) if patterns else (outputs, new_state)

    def plain(self) -> "Model":
        """The same model computed by the definitions: what counts of operations refer to."""
        if isinstance(self.config, perceiver.PerceiverConfig | TransformerConfig):
            config = dataclasses.replace(self.config, attention="plain")
            return dataclasses.replace(self, config=config)
        return self

    def example_inputs(self, batch_size: int = 1) -> tuple:
        """Inputs of the model's natural size, as `jax.ShapeDtypeStruct`s: shapes without data."""
        return _example_inputs(self.config, batch_size)

    def abstract_params(self) -> tuple[Params, State]:
        """Parameters and state as shapes and dtypes, without allocating any."""
        transformed = self._transformed(is_training=True)
        return jax.eval_shape(transformed.init, jax.random.key(0), *self.example_inputs())

    def num_params(self) -> int:
        """Number of trainable values."""
        return count(self.abstract_params()[0])

    def num_state(self) -> int:
        """Number of values that are not trained: batch-norm averages and counters."""
        return count(self.abstract_params()[1])

    def encode(
        self,
        params: Params,
        state: State,
        *inputs: Inputs,
        input_mask: jax.Array | None = None,
    ) -> Encoded:
        """Runs the model up to its latents, in evaluation: for many outputs, decoded in parts.

        Args:
          params: parameters.
          state: state.
          *inputs: see the class.
          input_mask: see `apply`.

        Returns:
          What `decode` takes: `decode(params, state, encode(params, state, x))` equals `apply`.

        Raises:
          ValueError: an input or a mask does not fit the model, or it is no Perceiver.
        """

        def forward(inputs: tuple, input_mask: Any) -> Encoded:
            whole, input_mask, output_mask = self._split_masks(inputs, input_mask)
            encoded = perceiver.Perceiver(self._perceiver_config()).encode(
                whole, input_mask=input_mask
            )
            return encoded._replace(output_mask=output_mask)

        return hk.transform_with_state(forward).apply(
            params,
            state,
            None,
            jax.tree.map(jnp.asarray, inputs),
            None if input_mask is None else jnp.asarray(input_mask),
        )[0]

    def decode(
        self,
        params: Params,
        state: State,
        encoded: Encoded,
        *,
        query_mask: jax.Array | Mapping[str, jax.Array] | None = None,
        subsampled_output_points: jax.Array | Mapping[str, jax.Array | None] | None = None,
    ) -> Outputs:
        """Computes all outputs, or some, of what `encode` returned.

        Args:
          params: parameters.
          state: state.
          encoded: from `encode`, of the same parameters.
          query_mask: see `apply`; None: the one that the inputs of `encode` stand for.
          subsampled_output_points: see `apply`.
        """

        def forward(encoded: Encoded, query_mask: Any, points: Any) -> Outputs:
            query_mask = _chosen_mask(query_mask, encoded.output_mask, points)
            return perceiver.Perceiver(self._perceiver_config()).decode(
                encoded, query_mask=query_mask, subsampled_output_points=points
            )

        return hk.transform_with_state(forward).apply(
            params,
            state,
            None,
            encoded,
            jax.tree.map(jnp.asarray, query_mask),
            jax.tree.map(jnp.asarray, subsampled_output_points),
        )[0]

    def _perceiver_config(self) -> perceiver.PerceiverConfig:
        if not isinstance(self.config, perceiver.PerceiverConfig):
            raise ValueError(f"a {self.config.what} has no latents to encode to or decode from.")
        return self.config

    def _split_masks(
        self, inputs: tuple, input_mask: Any
    ) -> tuple[Any, Any, Any]:  # the model's input, the inputs' mask, the outputs' mask
        """Lets the second input of text stand for its masks."""
        config = self.config
        takes_mask = isinstance(config, perceiver.PerceiverConfig) and isinstance(
            config.preprocessor, TokensConfig
        )
        if len(inputs) == 1:
            return inputs[0], input_mask, None
        if not takes_mask or len(inputs) != 2:
            raise ValueError(
                f"this model takes one input{', or token ids and their mask' * takes_mask}; "
                f"got {len(inputs)}."
            )
        assert isinstance(config, perceiver.PerceiverConfig)
        tokens, mask = inputs
        output_mask = _output_mask(config, mask) if config.mask_outputs else None
        return tokens, mask if input_mask is None else input_mask, output_mask

    def _transformed(
        self, is_training: bool, patterns: tuple[str, ...] = ()
    ) -> hk.TransformedWithState:
        def forward(
            *inputs: Any,
            input_mask: Any = None,
            query_mask: Any = None,
            subsampled_output_points: Any = None,
        ) -> tuple[Outputs, Captured]:
            whole, input_mask, output_mask = self._split_masks(inputs, input_mask)
            query_mask = _chosen_mask(query_mask, output_mask, subsampled_output_points)
            if isinstance(self.config, BaselineConfig):
                for argument in (input_mask, query_mask, subsampled_output_points):
                    if argument is not None:
                        raise ValueError(f"a {self.config.what} takes no masks and no points.")
                with capturing(patterns) as captured:
                    logits = baselines.make(self.config)(whole, is_training=is_training)
                return logits, captured
            with capturing(patterns) as captured:
                outputs = perceiver.Perceiver(self.config)(
                    whole,
                    is_training=is_training,
                    input_mask=input_mask,
                    query_mask=query_mask,
                    subsampled_output_points=subsampled_output_points,
                )
            return outputs, captured

        return hk.transform_with_state(forward)


def _chosen_mask(query_mask: Any, output_mask: jax.Array | None, points: Any) -> Any:
    """The caller's mask of the outputs that are computed, or else the one that text stands for."""
    if query_mask is not None or output_mask is None or points is None:
        return output_mask if query_mask is None else query_mask
    return output_mask[:, points]


def _output_mask(
    config: perceiver.PerceiverConfig, mask: jax.Array
) -> jax.Array | None:  # [b, m] -> [b, o]
    """The mask of outputs that the mask of text stands for, if there is an output a token."""
    assert isinstance(config.preprocessor, TokensConfig)
    length = config.preprocessor.length
    query = config.decoder.query if isinstance(config.decoder, DecoderConfig) else None
    if query is None or query.shape != (length,):
        return None
    # Outputs beyond shorter text are those of padding.
    return jnp.pad(mask, [(0, 0), (0, length - mask.shape[1])])


def count(tree: Params | State) -> int:
    """Number of values in a tree of arrays or of their shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _example_inputs(config: ModelConfig, batch_size: int) -> tuple:
    if isinstance(config, BaselineConfig):
        size = (math.prod(config.shape),) if config.of_points else config.shape
        return (_struct(batch_size, *size, config.channels),)
    preprocessor = config.preprocessor
    if isinstance(preprocessor, TokensConfig):
        shape = (batch_size, preprocessor.length)
        return jax.ShapeDtypeStruct(shape, jnp.int32), jax.ShapeDtypeStruct(shape, jnp.int32)
    if isinstance(preprocessor, MultimodalConfig):
        modalities = sorted(preprocessor.modalities.items())
        return ({name: _example_input(modality, batch_size) for name, modality in modalities},)
    return (_example_input(preprocessor, batch_size),)


def _example_input(config: ModalityConfig, batch_size: int) -> jax.ShapeDtypeStruct:
    if isinstance(config, ImageConfig):
        return _struct(batch_size, *config.shape, config.channels)
    if isinstance(config, AudioConfig):
        return _struct(batch_size, config.num_samples, 1)
    if isinstance(config, PointsConfig):
        return _struct(batch_size, config.num_points, config.num_axes)
    return _struct(batch_size, config.num_classes)


def _struct(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)
