"""A checkpoint and its model, ready to compute."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.typing import Captured, Outputs, Params, State


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model with its parameters. Every method is compiled once per shape of its arguments.

    Inputs may be NumPy arrays. Parameters are arguments of the compiled programs, never constants
    in them.
    """

    model: zoo.Model
    params: Params
    state: State
    class_names: tuple[str, ...] | None = None  # In the order of the outputs, if known.
    data: Any = None  # Config of the data that it was trained on, where the checkpoint is a run.

    @property
    def config(self) -> zoo.ModelConfig:
        """The model's config."""
        return self.model.config

    def apply(
        self,
        *inputs: Any,
        input_mask: Any = None,  # [b, m]
        query_mask: Any = None,  # [b, o]
        subsampled_output_points: Any = None,  # [p]
    ) -> Outputs:
        """Runs the model in evaluation; see `zoo.Model.apply`.

        Raises:
          ModelError: an input or a mask does not fit the model.
        """
        return self._guarded(
            self._apply, *inputs, masks=(input_mask, query_mask, subsampled_output_points)
        )

    def capture(
        self, *inputs: Any, patterns: tuple[str, ...], input_mask: Any = None
    ) -> tuple[Outputs, Captured]:
        """Runs the model and returns intermediates too; see `capture` of `zoo.Model.apply`.

        Args:
          *inputs: see `zoo.Model`.
          patterns: glob patterns of module names.
          input_mask: [b, m].

        Raises:
          ModelError: an input or the mask does not fit the model, or no module fits a pattern.
        """
        return self._guarded(self._capture, *inputs, masks=(input_mask,), patterns=patterns)

    def encode(self, *inputs: Any, input_mask: Any = None) -> zoo.Encoded:
        """Returns the latents of inputs, and what decoder queries read of the inputs.

        Raises:
          ModelError: an input or the mask does not fit the model.
        """
        return self._guarded(self._encode, *inputs, masks=(input_mask,))

    def decode(
        self,
        encoded: zoo.Encoded,
        *,
        query_mask: Any = None,  # [b, o]
        subsampled_output_points: Any = None,  # [p]
    ) -> Outputs:
        """Answers queries about what was encoded; `decode(encode(x))` equals `apply(x)`.

        Raises:
          ModelError: a mask or the points do not fit the model.
        """
        return self._guarded(self._decode, encoded, masks=(query_mask, subsampled_output_points))

    def _guarded(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        # ValueError is what the model documents for inputs that do not fit it.
        try:
            return function(self.params, self.state, *arguments, **options)
        except ValueError as error:
            raise ModelError(f"this model cannot take the input: {error}") from error

    @functools.cached_property
    def _apply(self) -> Callable[..., Any]:
        def apply(params: Params, state: State, *inputs: Any, masks: tuple) -> Outputs:
            input_mask, query_mask, points = masks
            return self.model.apply(
                params,
                state,
                None,
                *inputs,
                input_mask=input_mask,
                query_mask=query_mask,
                subsampled_output_points=points,
            )[0]

        return jax.jit(apply)

    @functools.cached_property
    def _capture(self) -> Callable[..., Any]:
        def capture(
            params: Params, state: State, *inputs: Any, masks: tuple, patterns: tuple[str, ...]
        ) -> tuple[Outputs, Captured]:
            results = self.model.apply(
                params, state, None, *inputs, input_mask=masks[0], capture=patterns
            )
            assert len(results) == 3
            return results[0], results[2]

        return jax.jit(capture, static_argnames="patterns")

    @functools.cached_property
    def _encode(self) -> Callable[..., Any]:
        def encode(params: Params, state: State, *inputs: Any, masks: tuple) -> zoo.Encoded:
            return self.model.encode(params, state, *inputs, input_mask=masks[0])

        return jax.jit(encode)

    @functools.cached_property
    def _decode(self) -> Callable[..., Any]:
        def decode(params: Params, state: State, encoded: zoo.Encoded, *, masks: tuple) -> Outputs:
            return self.model.decode(
                params,
                state,
                encoded,
                query_mask=masks[0],
                subsampled_output_points=masks[1],
            )

        return jax.jit(decode)


def load(
    path: str | Path,
    *,
    config: zoo.ModelConfig | None = None,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    numerics: Literal["released", "huggingface"] = "released",
    kernel_layout: Literal["published", "torch"] | None = None,
) -> LoadedModel:
    """Loads a checkpoint of any format; see `perceiver_jax.load_checkpoint` for the arguments.

    Raises:
      CheckpointError: the file is missing or damaged.
      ModelError: its arrays fit no model, or it takes more to know which.
    """
    from perceiver_jax.checkpoints import load as loading

    params, state, found = loading.load_checkpoint(
        path,
        config=config,
        model=model,
        overrides=overrides,
        numerics=numerics,
        kernel_layout=kernel_layout,
    )
    names = loading.class_names(path)
    return LoadedModel(
        zoo.build(found),
        jax.device_put(params),
        jax.device_put(state),
        None if names is None else tuple(names),
        getattr(loading.run_config(path), "data", None),
    )


def kind_of(config: zoo.ModelConfig) -> str:
    """Says in words what a model does: "image classifier"."""
    if isinstance(config, zoo.BaselineConfig):
        return (
            f"{config.what} that classifies {'clouds of points' if config.of_points else 'images'}"
        )
    modalities = {
        zoo.TokensConfig: "text",
        zoo.AudioConfig: "audio",
        zoo.PointsConfig: "point cloud",
        zoo.MultimodalConfig: "multimodal",
    }
    if isinstance(config.preprocessor, zoo.ImageConfig):
        modality = "image" if len(config.preprocessor.shape) == 2 else "video"
    else:
        modality = modalities[type(config.preprocessor)]
    if isinstance(config.decoder, zoo.FlowDecoderConfig):
        return "optical flow model"
    if isinstance(config.postprocessor, zoo.TiedEmbeddingConfig):
        return "masked language model"
    if isinstance(config.decoder, zoo.ProjectionDecoderConfig | zoo.ClassificationDecoderConfig):
        return f"{modality} classifier"
    if isinstance(config.decoder, zoo.MultimodalDecoderConfig):
        return "multimodal autoencoder"
    return f"{modality} model with a {type(config.decoder).__name__}"


def tasks_of(config: zoo.ModelConfig) -> tuple[str, ...]:
    """The tasks of `perceiver_jax.predict` that a model can do."""
    if isinstance(config, zoo.BaselineConfig):
        return ("classify",)
    kind = kind_of(config)
    tasks = {
        "image classifier": ("classify", "attention"),
        "masked language model": ("fill_mask", "attention"),
        "text classifier": ("attention",),
        "audio classifier": ("tag", "attention"),
        "video classifier": ("tag",),
        "multimodal classifier": ("tag",),
        "point cloud classifier": ("classify", "attention"),
        "optical flow model": ("flow",),
        "multimodal autoencoder": ("autoencode",),
    }
    if isinstance(config.preprocessor, zoo.ImageConfig) and config.preprocessor.channels == 1:
        if kind == "image classifier":  # Its images may be spectrograms.
            return ("classify", "tag", "attention")
    return tasks.get(kind, ())


def check_task(config: zoo.ModelConfig, task: str) -> None:
    """Raises ModelError unless a model of `config` can do `task`."""
    tasks = tasks_of(config)
    if task not in tasks:
        kind = kind_of(config)
        article = "an" if kind[0] in "aeiou" else "a"
        can = f"it can do: {', '.join(tasks)}" if tasks else "predict has no task for it"
        raise ModelError(f"{article} {kind} cannot do --task={task}; {can}.")
