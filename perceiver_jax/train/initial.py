"""The state that a run starts from: random, or with weights of a checkpoint of any format."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints.load import WORDS, Checkpoint, format_of, load_checkpoint
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.train import patterns
from perceiver_jax.train.assemble import Parts
from perceiver_jax.train.misfit import mend
from perceiver_jax.train.optimizer import rate_factors
from perceiver_jax.train.origins import Array, Origin, Origins
from perceiver_jax.train.state import TrainState
from perceiver_jax.zoo import recognise

Key = tuple[str, str]  # module, name


def start_of_run(
    parts: Parts, *, report: Callable[[str], None] = print
) -> tuple[TrainState, Origins]:
    """The state at step 0 as the experiment's config wants it, and where its values came from.

    Raises:
      UserError: as `initial_state`; or a part is both frozen and random.
    """
    config = parts.config
    state, origins = _start(
        parts,
        config.checkpoint,
        fresh=config.fresh,
        skip=config.skip,
        interpolate_positions=config.interpolate_positions,
        for_training=True,
        report=report,
    )
    if config.checkpoint is not None:
        for array in origins.of("initialised"):
            if patterns.matches_any(config.frozen, array.module, array.name):
                raise ConfigError(
                    f"{array.module}/{array.name} is named by config.fresh and by config.frozen: "
                    "it would stay at its random values. Take it out of one of them."
                )
    return state, origins


def initial_state(
    parts: Parts,
    checkpoint: str | Path | None = None,
    fresh: Sequence[str] = (),
    *,
    skip: Sequence[str] = (),
    interpolate_positions: bool = False,
    for_training: bool = True,
    report: Callable[[str], None] = print,
) -> TrainState:
    """The state at step 0: random, or with weights that any program saved.

    Args:
      parts: from `assemble`.
      checkpoint: see `perceiver_jax.load_checkpoint`; None for random parameters.
      fresh: patterns (see `train/patterns.py`) of what starts at random all the same, such as
        `*basic_decoder/output` for other classes.
      skip: patterns of what the checkpoint has and the model has not.
      interpolate_positions: whether learned positions of an image model are stretched to the
        model's image size.
      for_training: whether an error should say how the rest can be trained.
      report: takes a line for the user where something had to be guessed.

    Raises:
      ModelError: the weights do not fit the model; names the first differences.
      ConfigError: a pattern names nothing.
    """
    return _start(
        parts,
        checkpoint,
        fresh=fresh,
        skip=skip,
        interpolate_positions=interpolate_positions,
        for_training=for_training,
        report=report,
    )[0]


def _start(
    parts: Parts,
    checkpoint: str | Path | None,
    *,
    fresh: Sequence[str],
    skip: Sequence[str],
    interpolate_positions: bool,
    for_training: bool,
    report: Callable[[str], None],
) -> tuple[TrainState, Origins]:
    state = parts.state.create()
    needed = recognise.shapes_of(state.params, state.model_state)
    if checkpoint is None:
        return state, _origins(parts, state, dict.fromkeys(needed, "initialised"))
    loaded = load_checkpoint(checkpoint, report=report)
    in_file = recognise.shapes_of(loaded.params, loaded.state)
    patterns.check(fresh, patterns.join(state.params, state.model_state), "fresh")
    patterns.check(skip, patterns.join(loaded.params, loaded.state), "skip", "the checkpoint")
    if interpolate_positions:
        loaded = _interpolated(loaded, parts.config.model, checkpoint)
    found = recognise.shapes_of(loaded.params, loaded.state)

    random = {key for key in needed if patterns.matches_any(fresh, *key)}
    modules = {module for module, _ in needed}
    unused = {
        key
        for key in found
        if patterns.matches_any(skip, *key)
        or (key[0] in modules and patterns.matches_any(fresh, *key))
    }
    wanted = {key: shape for key, shape in needed.items() if key not in random}
    given = {key: shape for key, shape in found.items() if key not in unused}
    try:
        recognise.compare(wanted, given)
    except ModelError as error:
        message = f"{checkpoint} does not fit the model of the experiment: {error}"
        how = mend(wanted, given, loaded.config, parts.config.model) if for_training else ""
        raise ModelError(f"{message}\n{how}" if how else message) from error

    params = _placed(state.params, loaded.params, given.keys())
    model_state = _placed(state.model_state, loaded.state, given.keys())
    # An average of the parameters begins with those that were loaded.
    ema = None if state.ema is None else _placed(state.ema, loaded.params, given.keys())
    state = dataclasses.replace(state, params=params, model_state=model_state, ema=ema)
    origins: dict[Key, Origin] = {
        key: "initialised"
        if key in random
        else "loaded"
        if in_file[key] == shape
        else "interpolated"
        for key, shape in needed.items()
    }
    return state, dataclasses.replace(
        _origins(parts, state, origins, {key: in_file[key] for key in in_file if key in unused}),
        checkpoint=str(checkpoint),
        format=WORDS[format_of(checkpoint)],
        differences=_differences(loaded.config, parts.config.model),
    )


def _placed(
    old: Mapping[str, Mapping[str, jax.Array]], new: Mapping[str, Mapping[str, Any]], keys: Any
) -> dict[str, dict[str, jax.Array]]:
    """Returns `old` with the arrays `keys` of `new`, as and where the old ones are."""
    return {
        module: {
            name: _copied(new[module][name], array) if (module, name) in keys else array
            for name, array in entries.items()
        }
        for module, entries in old.items()
    }


def _copied(value: Any, like: jax.Array) -> jax.Array:
    """Returns `value` in memory of its own, as the training step gives its state's memory away."""
    value = jnp.asarray(value, like.dtype)
    if like.is_fully_addressable:
        return jax.device_put(value, like.sharding, may_alias=False)
    # Over several processes, each of which has read all of it, and places its part.
    return jax.make_array_from_callback(
        like.shape, like.sharding, lambda index: np.array(value[index])
    )


def _interpolated(loaded: Checkpoint, model: object, checkpoint: str | Path) -> Checkpoint:
    """Stretches the positions of a checkpoint to the image size of `model`."""
    # Imported late: the rest of inference is not needed.
    from perceiver_jax.infer.classify import interpolate_positions

    image = getattr(model, "preprocessor", None)
    learned = getattr(getattr(loaded.config, "preprocessor", None), "position", None)
    if not isinstance(image, zoo.ImageConfig) or not isinstance(learned, zoo.LearnedConfig):
        why = (
            str(loaded.config)
            if isinstance(loaded.config, recognise.Undetermined)
            else "interpolation is for models of images with learned positions."
        )
        raise ModelError(
            f"config.interpolate_positions: {checkpoint} has no positions to stretch: {why}"
        )
    assert isinstance(loaded.config, zoo.PerceiverConfig)
    height, width = image.shape
    params, _ = interpolate_positions(loaded.params, loaded.config, (height, width))
    return loaded._replace(params={module: dict(entries) for module, entries in params.items()})


def _origins(
    parts: Parts,
    state: TrainState,
    origins: Mapping[Key, Origin],
    skipped: Mapping[Key, tuple[int, ...]] | None = None,
) -> Origins:
    config = parts.config
    trained, _ = patterns.split(state.params, config.frozen)
    factors = rate_factors(trained, config.learning_rates)
    shapes = recognise.shapes_of(state.params, state.model_state)
    arrays = [
        Array(
            origin,
            *key,
            shapes[key],
            trains=key[1] in trained.get(key[0], {}),
            rate=factors.get(key[0], {}).get(key[1], 1.0),
        )
        for key, origin in origins.items()
    ]
    arrays += [Array("skipped", *key, shape, False) for key, shape in (skipped or {}).items()]
    return Origins(None, None, tuple(arrays), config.frozen, config.learning_rates)


def _differences(there: object, here: object) -> tuple[tuple[str, str, str], ...]:
    """Where the config of the checkpoint's model differs: not every difference shows in a shape."""
    if type(there) is not type(here):
        return ()

    def short(value: object) -> str:
        return type(value).__name__ if dataclasses.is_dataclass(value) else f"{value!r:.40}"

    return tuple(
        (name, short(left), short(right)) for name, left, right in config_lib.diff(there, here)
    )
