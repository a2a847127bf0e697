"""The table of a model's parameters, repeated blocks folded into one."""

import dataclasses
import math
import re
from collections.abc import Mapping

from perceiver_jax.report import tables

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]

# The blocks that a Perceiver repeats. Other numbered modules (`linear_1`: the keys) each have a
# role of their own.
_REPEATED = re.compile(r"(?:cross|self)_attention(?:_\d+)?$")


@dataclasses.dataclass(frozen=True)
class Row:
    """One array, or the same array of several blocks."""

    module: str  # Name of the module; of a repeated block with the numbers it has: `_{0..5}`.
    name: str  # Name of the array in it.
    shape: tuple[int, ...]
    times: int  # How many blocks have it.

    @property
    def count(self) -> int:
        """Values in all of them."""
        return self.times * math.prod(self.shape)


def parameter_rows(shapes: Shapes, *, fold: bool = True) -> list[Row]:
    """The rows of the table, in the order of the model's modules.

    Args:
      shapes: shapes by module and name.
      fold: whether blocks of equal shapes that repeat stand in one row.
    """
    if not fold:
        return [
            Row(module, name, shape, 1)
            for module, leaves in shapes.items()
            for name, shape in leaves.items()
        ]
    blocks: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {}
    for module, leaves in shapes.items():
        block, rest = _split(module)
        for name, shape in leaves.items():
            blocks.setdefault(block, {}).setdefault(rest, {})[name] = shape
    # Blocks that differ in anything but their number keep rows of their own.
    alike: dict[tuple[str, str], list[str]] = {}
    for block, content in blocks.items():
        alike.setdefault((_base(block), repr(content)), []).append(block)
    rows = []
    for names in alike.values():
        for rest, leaves in blocks[names[0]].items():
            module = "/".join(part for part in (_folded(names), rest) if part)
            rows += [Row(module, name, shape, len(names)) for name, shape in leaves.items()]
    return rows


def render_parameters(
    params: Shapes, state: Shapes, *, fold: bool = True, markdown: bool = False
) -> str:
    """The table as text: parameters, then state if there is any."""
    rows = []
    for row in parameter_rows(params, fold=fold):
        rows.append(_cells(row, ""))
    for row in parameter_rows(state, fold=fold):
        rows.append(_cells(row, "state"))
    return tables.render(
        ["module", "array", "shape", "blocks", "values", ""],
        rows,
        right=("blocks", "values"),
        markdown=markdown,
    )


def _cells(row: Row, kind: str) -> list[str]:
    shape = " x ".join(map(str, row.shape)) or "scalar"
    return [row.module, row.name, shape, f"{row.times}", f"{row.count:,}", kind]


def _split(module: str) -> tuple[str, str]:
    """("encoder/~/self_attention_3", "mlp/linear") of "encoder/~/self_attention_3/mlp/linear"."""
    parts = module.split("/")
    for i, part in enumerate(parts):
        if _REPEATED.match(part):
            return "/".join(parts[: i + 1]), "/".join(parts[i + 1 :])
    return module, ""


def _base(block: str) -> str:
    return re.sub(r"_\d+$", "", block) if _REPEATED.search(block) else block


def _folded(names: list[str]) -> str:
    """The common name of blocks: "self_attention", or with numbers "self_attention_{0..5}"."""
    if len(names) == 1:
        return names[0]
    base = _base(names[0])
    numbers = sorted(int(name.removeprefix(base).removeprefix("_") or 0) for name in names)
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{base}_{{{numbers[0]}..{numbers[-1]}}}"
    return f"{base}_{{{','.join(map(str, numbers))}}}"
