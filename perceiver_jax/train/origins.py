"""Where the values came from that a run started with: loaded, initialised; and what was skipped."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

from perceiver_jax.report.parameters import Row, parameter_rows
from perceiver_jax.train import patterns

Origin = Literal["loaded", "interpolated", "initialised", "skipped"]

_MEANING: dict[Origin, str] = {
    "loaded": "as the checkpoint has them",
    "interpolated": "of the checkpoint, stretched to another image size",
    "initialised": "start at random",
    "skipped": "of the checkpoint, not used",
}
_MAX_SHOWN = 12  # Lines for each, on the screen; the file has all.


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of the model, or one of the checkpoint that the model does not take."""

    origin: Origin
    module: str
    name: str
    shape: tuple[int, ...]  # In the model; of what was skipped, in the checkpoint.
    trains: bool  # False for frozen ones, for running statistics, and for what was skipped.
    rate: float = 1.0  # What the learning rate is multiplied with.


@dataclasses.dataclass(frozen=True)
class Origins:
    """What a run started with, array by array."""

    checkpoint: str | None  # None: everything is random.
    format: str | None  # In words, such as "a DeepMind pickle".
    arrays: tuple[Array, ...]
    frozen: tuple[str, ...] = ()  # The patterns of the config.
    learning_rates: tuple[str, ...] = ()
    # Where the models' configs differ: name, value in the checkpoint, value here.
    differences: tuple[tuple[str, str, str], ...] = ()

    def of(self, *origins: Origin) -> list[Array]:
        """The arrays of these origins."""
        return [array for array in self.arrays if array.origin in origins]

    def to_json(self) -> dict[str, Any]:
        """All of it, for `initial_weights.json`."""
        return {
            "checkpoint": self.checkpoint,
            "format": self.format,
            "counts": {origin: _counts(self.of(origin)) for origin in _MEANING if self.of(origin)},
            "frozen": list(self.frozen),
            "learning_rates": list(self.learning_rates),
            "config_differences": [
                {"name": name, "checkpoint": there, "model": here}
                for name, there, here in self.differences
            ],
            "arrays": [dataclasses.asdict(array) for array in self.arrays],
        }

    def render(self) -> str:
        """What a user wants to know before training; "" where all is random and all trains."""
        lines = []
        if self.checkpoint is not None:
            lines.append(f"weights     {self.checkpoint} ({self.format})")
            for origin in _MEANING:
                lines += _lines(origin, self.of(origin))
            for name, there, here in self.differences[:_MAX_SHOWN]:
                lines.append(f"  differs      config.model.{name}: {there} there, {here} here")
        in_model = self.of("loaded", "interpolated", "initialised")
        frozen = [
            array
            for array in in_model
            if patterns.matches_any(self.frozen, array.module, array.name)
        ]
        if frozen:
            lines.append(f"frozen      {_summary(frozen)}, by {', '.join(self.frozen)}")
        if self.learning_rates:
            training = [array for array in in_model if array.trains]
            rates = sorted({array.rate for array in training})
            parts = [
                f"{rate:g} for {_plural(_count([a for a in training if a.rate == rate]), 'value')}"
                for rate in rates
            ]
            lines.append(f"rate times  {', '.join(parts)}")
        return "\n".join(lines)


def _lines(origin: Origin, arrays: Sequence[Array]) -> list[str]:
    if not arrays:
        return []
    lines = [f"  {origin:<12} {_summary(arrays)}: {_MEANING[origin]}"]
    if origin == "loaded":
        return lines
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for array in arrays:
        shapes.setdefault(array.module, {})[array.name] = array.shape
    modules: dict[str, list[Row]] = {}
    for row in parameter_rows(shapes):
        modules.setdefault(row.module, []).append(row)
    listed = [
        f"    {module}: " + ", ".join(f"{row.name} {list(row.shape)}" for row in rows)
        for module, rows in modules.items()
    ]
    if len(listed) > _MAX_SHOWN:
        more = f"    and {len(listed) - _MAX_SHOWN} more, in initial_weights.json"
        listed = [*listed[:_MAX_SHOWN], more]
    return lines + listed


def _summary(arrays: Sequence[Array]) -> str:
    modules = len({array.module for array in arrays})
    return f"{_plural(modules, 'module')}, {_plural(_count(arrays), 'value')}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _count(arrays: Sequence[Array]) -> int:
    return sum(math.prod(array.shape) for array in arrays)


def _counts(arrays: Sequence[Array]) -> dict[str, int]:
    return {
        "modules": len({array.module for array in arrays}),
        "arrays": len(arrays),
        "values": _count(arrays),
    }
