"""The state that a run starts from: random, or with weights of a checkpoint of any format."""

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from perceiver_jax.checkpoints.load import load_checkpoint
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.train.assemble import Parts
from perceiver_jax.train.state import TrainState
from perceiver_jax.zoo import recognise


def initial_state(
    parts: Parts,
    checkpoint: str | Path | None = None,
    fresh: Sequence[str] = (),
    *,
    for_training: bool = True,
    report: Callable[[str], None] = print,
) -> TrainState:
    """The state at step 0: random, or with weights that any program saved.

    Args:
      parts: from `assemble`.
      checkpoint: see `perceiver_jax.load_checkpoint`; None for random parameters.
      fresh: glob patterns of the modules that start at random all the same, such as
        `*basic_decoder/output` for other classes.
      for_training: whether an error should say how other outputs can be trained.
      report: takes a line for the user where something had to be guessed.

    Raises:
      ModelError: the weights do not fit the model; names the first differences.
      ConfigError: a pattern of `fresh` matches no module.
    """
    state = parts.state.create()
    if checkpoint is None:
        return state
    loaded = load_checkpoint(checkpoint, report=report)
    for pattern in fresh:
        if not fnmatch.filter(state.params, pattern):
            raise ConfigError(
                f"config.fresh: {pattern!r} matches no module of the model. Its modules are listed "
                "by `python -m perceiver_jax.inspect`."
            )

    def kept(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        return {
            module: entries
            for module, entries in tree.items()
            if not any(fnmatch.fnmatchcase(module, pattern) for pattern in fresh)
        }

    given = {"params": kept(loaded.params), "state": kept(loaded.state)}
    needed = {"params": kept(state.params), "state": kept(state.model_state)}
    expected, found = (recognise.shapes_of(*each.values()) for each in (needed, given))
    try:
        recognise.compare(expected, found)
    except ModelError as error:
        message = f"{checkpoint} does not fit the model of the experiment: {error}"
        others = recognise.differing_modules(expected, found)
        if for_training and len(others) <= 2:
            message += (
                "\nAs with other classes, only the outputs may be others: "
                f"--config.fresh={','.join(others)} lets these modules start at random."
            )
        raise ModelError(message) from error

    def placed(old: Any, new: Any) -> Any:
        return {
            **old,
            **{
                module: {
                    name: jax.device_put(array, old[module][name].sharding)
                    for name, array in entries.items()
                }
                for module, entries in new.items()
            },
        }

    return dataclasses.replace(
        state,
        params=placed(state.params, given["params"]),
        ema=None if state.ema is None else placed(state.ema, given["params"]),
        model_state=placed(state.model_state, given["state"]),
    )
