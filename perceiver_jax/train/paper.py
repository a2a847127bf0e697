"""The result of a paper that an experiment is after, and the recipe it was reached with.

Nothing here changes what is learned: the run report shows the two side by side.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from perceiver_jax.errors import ConfigError

NOT_THERE = "(no such field)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperResult:
    """A row of a paper's table, and what the paper says about how it came about."""

    row: str  # The row's name as printed, such as "Perceiver (FF)".
    source: str  # Paper and table, such as "Perceiver, Table 1".
    metric: str  # The metric's name among the task's, such as "top_1".
    # In the unit of that metric: 0.78, where the table says 78.0 %. None: the row has no number.
    value: float | None
    # What the paper says of model, data and training: values by dotted config path, such as
    # {"trainer.batch_size": 1024, "optimizer": "Lamb"}. A class is named for a whole config.
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("row", "source", "metric"):
            if not getattr(self, name):
                raise ConfigError(f"paper.{name} is empty; a result of a paper names all three.")


class Difference(NamedTuple):
    """A field that is not as in the paper."""

    path: str
    paper: Any
    here: Any  # NOT_THERE where the config has no such field, as after a change of class.


def differences(config: Any, recipe: Mapping[str, Any]) -> list[Difference]:
    """Returns where a config is not as a recipe says, in the order of the recipe.

    Args:
      config: an experiment.
      recipe: values by dotted path; for a whole config the name of its class, or None.
    """
    found = []
    for path, wanted in recipe.items():
        here = look_up(config, path)
        if _is_config(here):
            here = type(here).__name__
        if here != wanted:
            found.append(Difference(path, wanted, here))
    return found


def look_up(config: Any, path: str) -> Any:
    """Returns the value under a dotted path, or NOT_THERE."""
    value = config
    for part in path.split("."):
        if _is_config(value) and any(field.name == part for field in dataclasses.fields(value)):
            value = getattr(value, part)
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return NOT_THERE
    return value


class Leaf(NamedTuple):
    """A value of a config that has no parts."""

    path: str
    value: Any
    is_default: bool  # Whether it is what its class says where nothing is given.


def leaves(config: Any, path: str = "") -> Iterator[Leaf]:
    """Yields the values of a config, in the order of its fields.

    The class of a config stands before its fields, under the config's own path.
    """
    yield from _leaves(config, path, is_default=False)


def _leaves(value: Any, path: str, *, is_default: bool) -> Iterator[Leaf]:
    if _is_config(value):
        if path:
            yield Leaf(path, type(value).__name__, is_default)
        for field in dataclasses.fields(value):
            each = getattr(value, field.name)
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            below = f"{path}.{field.name}" if path else field.name
            yield from _leaves(each, below, is_default=default == each)
    elif isinstance(value, Mapping) and any(map(_is_config, value.values())):
        for key, each in value.items():
            yield from _leaves(each, f"{path}.{key}", is_default=is_default)
    elif isinstance(value, tuple) and any(map(_is_config, value)):
        for index, each in enumerate(value):
            yield from _leaves(each, f"{path}.{index}", is_default=is_default)
    else:
        yield Leaf(path, value, is_default)


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
