"""Which model arrays belong to: told from their names and shapes, whatever the file is called."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from perceiver_jax import config as config_lib
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.zoo.families import FAMILIES, Family, Guess, Shapes
from perceiver_jax.zoo.model import Model, ModelConfig


def shapes_of(*trees: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], tuple[int, ...]]:
    """The shapes of all arrays in params and state."""
    return {
        (module, name): tuple(array.shape)
        for tree in trees
        for module, entries in tree.items()
        for name, array in entries.items()
    }


@dataclasses.dataclass(frozen=True)
class Undetermined:
    """A config of which a file tells the family and most sizes, but not all that is needed."""

    family: str  # A name of the zoo, or 'text_classifier'.
    sizes: Mapping[str, Any]  # What is known, as overrides of the family's released config.
    needed: tuple[str, ...]  # Names of the fields that the arrays do not tell.
    source: str = ""  # The file, for messages.

    def __str__(self) -> str:
        return (self.source and f"{self.source}: ") + (
            f"these are the arrays of a model of the family {self.family!r}, not of the released "
            f"size, and arrays do not tell {', '.join(self.needed)}. Give the whole config "
            f"(config=), or the name of a model that agrees in these (model={self.family!r}; "
            f"--model={self.family} on the command line), and what differs as overrides "
            f"(--config.{self.needed[0]}=...)."
        )


def recognise(shapes: Shapes) -> Family | None:
    """The family that the modules belong to; None if it is none of them."""
    modules = {module for module, _ in shapes}
    for family in FAMILIES:
        if all(module in modules for module in family.told_by):
            return family
    return None


def config_for(
    shapes: Shapes, model: ModelConfig | None = None, overrides: Mapping[str, Any] | None = None
) -> ModelConfig | Undetermined:
    """The config that arrays of these shapes belong to.

    Args:
      shapes: from `shapes_of`.
      model: where values that shapes do not tell come from; None: from the released model, if
        the shapes are exactly its.
      overrides: changes of `model`, or of what the shapes tell, by dotted name.

    Returns:
      A config of which all shapes are as given, or what is known of it.

    Raises:
      ModelError: no model has these arrays; names the nearest one, and the first differences.
      ConfigError: an override names no field or has a wrong type.
    """
    family = recognise(shapes)
    if model is not None:
        candidates = [config_lib.override(model, overrides or {})]
        if family is not None and type(model) is PerceiverConfig:
            # Sizes by shape, where the model named has the family's fields.
            try:
                fitted = config_lib.override(model, family.sizes(shapes))
                candidates.append(config_lib.override(fitted, overrides or {}))
            except (ConfigError, KeyError, ValueError):
                pass
        for config in candidates:
            if not _differences(expected_shapes(config), shapes):
                return config
        message = _report("the model given", expected_shapes(candidates[-1]), shapes)
        if family is not None:
            message += f"\nTheir names are those of the family {family.name!r}."
        raise ModelError(message)
    if family is None:
        raise ModelError(_nearest_report(shapes))
    config = family.config()
    if not _differences(expected_shapes(config), shapes):
        config = config_lib.override(config, overrides or {})
        check(config, shapes, f"{family.name} with these changes")
        return config
    try:
        sizes = family.sizes(shapes)
    except (KeyError, ValueError):
        raise ModelError(_report(family.name, expected_shapes(config), shapes)) from None
    known = {key: value for key, value in sizes.items() if not isinstance(value, Guess)}
    needed = tuple(name for name in family.needed if name not in {**known, **(overrides or {})})
    # No shape depends on the heads; one head divides all widths.
    heads = {name: 1 for name in needed if name.endswith("heads")}
    try:
        fitted = config_lib.override(config, {**sizes, **heads, **(overrides or {})})
    except ConfigError:
        if overrides or not needed:
            raise
        return Undetermined(family.name, known, needed)  # At odds with what is needed.
    if _differences(expected_shapes(fitted), shapes):
        raise ModelError(_report(family.name, expected_shapes(fitted), shapes))
    return Undetermined(family.name, known, needed) if needed else fitted


def expected_shapes(config: ModelConfig) -> Shapes:
    """The shapes of the arrays of a model.

    Raises:
      ModelError: the parts of the config do not fit each other.
    """
    try:
        return _expected_shapes(config)
    except (ValueError, TypeError) as error:
        raise ModelError(f"this config makes no model that works: {error}") from error


def check(config: ModelConfig, shapes: Shapes, name: str = "the model given") -> None:
    """Raises ModelError, with the first differences, unless the shapes are those of `config`."""
    compare(expected_shapes(config), shapes, name)


def compare(expected: Shapes, found: Shapes, name: str = "it") -> None:
    """Raises ModelError, with the first differences, unless the shapes are those expected.

    Args:
      expected: what there should be.
      found: what there is.
      name: what expects it.
    """
    if _differences(expected, found):
        raise ModelError(_report(name, expected, found))


def differing_modules(expected: Shapes, found: Shapes) -> list[str]:
    """The modules that have other arrays, or arrays of other shapes, or are on one side only."""
    keys = expected.keys() | found.keys()
    return sorted({key[0] for key in keys if expected.get(key) != found.get(key)})


def _expected_shapes(config: ModelConfig) -> Shapes:
    # Tracing a released model takes a second and tens of megabytes; its shapes stand in a file.
    for name, shapes in _released_shapes().items():
        if _RELEASED[name]() == config:
            return shapes
    return shapes_of(*Model(config).abstract_params())


_RELEASED = {family.name: family.config for family in FAMILIES}


@functools.cache
def _released_shapes() -> dict[str, Shapes]:
    """Shapes of the released models by name, from released_shapes.json."""
    text = resources.files("perceiver_jax.zoo").joinpath("released_shapes.json").read_text()
    return {
        name: {
            (module, array): tuple(shape)
            for module, entries in modules.items()
            for array, shape in entries.items()
        }
        for name, modules in json.loads(text).items()
    }


def _differences(expected: Shapes, found: Shapes) -> dict[str, list[str]]:
    """What is missing, unexpected or of a wrong shape, in words; {} if nothing is."""

    def words(names: Iterable[tuple[str, str]], shapes: Shapes) -> list[str]:
        return [f"{module}/{name} {list(shapes[module, name])}" for module, name in sorted(names)]

    differences = {
        "missing": words(expected.keys() - found.keys(), expected),
        "unexpected": words(found.keys() - expected.keys(), found),
        "wrong shape": [
            f"{module}/{name} {list(found[module, name])}, expected {list(shape)}"
            for (module, name), shape in sorted(expected.items())
            if found.get((module, name), shape) != shape
        ],
    }
    return {kind: lines for kind, lines in differences.items() if lines}


def _report(name: str, expected: Shapes, shapes: Shapes, shown: int = 4) -> str:
    same = sum(shapes.get(key) == shape for key, shape in expected.items())
    lines = [f"the arrays do not fit {name}: {same} of its {len(expected)} arrays agree."]
    for kind, differences in _differences(expected, shapes).items():
        more = f" (the first {shown} of {len(differences)})" if len(differences) > shown else ""
        lines.append(f"  {kind}{more}:")
        lines += [f"    {line}" for line in differences[:shown]]
    return "\n".join(lines)


def _nearest_report(shapes: Shapes) -> str:
    if not shapes:
        return "there are no arrays, so they fit no model."

    def agreement(family: Family) -> tuple[int, int]:
        expected = expected_shapes(family.config())
        return (
            sum(shapes.get(key) == shape for key, shape in expected.items()),
            len(expected.keys() & shapes.keys()),
        )

    nearest = max(FAMILIES, key=agreement)
    if agreement(nearest) == (0, 0):
        some = ", ".join(
            f"{module}/{name} {list(shapes[module, name])}" for module, name in sorted(shapes)[:3]
        )
        return (
            f"no array has a name that an array of a released Perceiver has; there are: {some}, ..."
        )
    return f"the arrays fit no model that is known; the nearest is {nearest.name!r}. " + _report(
        "it", expected_shapes(nearest.config()), shapes
    )
