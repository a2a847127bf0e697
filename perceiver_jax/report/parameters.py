"""The table of a model's parameters, repeated blocks folded into one."""

import dataclasses
import math
import re
from collections.abc import Mapping

from perceiver_jax.report import tables

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
# How arrays are split over devices, by module and name: "fsdp, -"; "" for one that is whole.
Placements = Mapping[str, Mapping[str, str]]

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
    placement: str = ""  # How it is split over devices; "" if it is not.

    @property
    def count(self) -> int:
        """Values in all of them."""
        return self.times * math.prod(self.shape)


def parameter_rows(
    shapes: Shapes, *, fold: bool = True, placements: Placements | None = None
) -> list[Row]:
    """The rows of the table, in the order of the model's modules.

    Args:
      shapes: shapes by module and name.
      fold: whether blocks that repeat, equal in shapes and placements, stand in one row.
      placements: how the arrays are split over devices; None where that is of no interest.
    """
    placements = placements or {}
    rows = [
        Row(module, name, shape, 1, placements.get(module, {}).get(name, ""))
        for module, leaves in shapes.items()
        for name, shape in leaves.items()
    ]
    if not fold:
        return rows
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        block, rest = _split(row.module)
        blocks.setdefault(block, []).append(dataclasses.replace(row, module=rest))
    # Blocks that differ in anything but their number keep rows of their own.
    alike: dict[tuple[str, str], list[str]] = {}
    for block, content in blocks.items():
        alike.setdefault((_base(block), repr(content)), []).append(block)
    return [
        dataclasses.replace(
            row,
            module="/".join(part for part in (_folded(names), row.module) if part),
            times=len(names),
        )
        for names in alike.values()
        for row in blocks[names[0]]
    ]


def render_modules(shapes: Shapes, placements: Placements) -> str:
    """A shorter table: a row for each module, repeated blocks folded.

    Args:
      shapes: shapes of the parameters by module and name.
      placements: how they are split over devices.
    """
    modules: dict[str, list[Row]] = {}
    for row in parameter_rows(shapes, placements=placements):
        modules.setdefault(row.module, []).append(row)
    cells = []
    for module, rows in modules.items():
        cells.append(
            [
                module,
                ", ".join(f"{row.name} {_shape(row)}" for row in rows),
                f"{rows[0].times}",
                f"{sum(row.count for row in rows):,}",
                ", ".join(f"{row.name} ({row.placement})" for row in rows if row.placement),
            ]
        )
    header = ["module", "arrays", "blocks", "values", "split over"]
    if not any(row[-1] for row in cells):
        header, cells = header[:-1], [row[:-1] for row in cells]
    return tables.render(header, cells, right=("blocks", "values"))


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
    return [row.module, row.name, _shape(row), f"{row.times}", f"{row.count:,}", kind]


def _shape(row: Row) -> str:
    return " x ".join(map(str, row.shape)) or "scalar"


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
