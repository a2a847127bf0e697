"""Where parameters lie: ordered rules from their paths to a `PartitionSpec`.

Paths are those of the training state: "params/perceiver_encoder/~/self_attention/mlp/linear/w". The
optimiser's moments and averaged weights end the same way, so one rule serves a parameter and all
that belongs to it. The first rule whose pattern is found in a path decides; see `ShardingRule`.
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import AXES, DEFAULT_RULES, MeshConfig, ShardingRule


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where one array lies, and why."""

    path: str
    shape: tuple[int, ...]
    spec: PartitionSpec
    rule: int | None  # Index of the rule that decided; None: no rule fits.
    note: str = ""  # What the rule would have liked and could not have.

    @property
    def text(self) -> str:
        """The spec in words: "fsdp, tensor", "whole"."""
        if not any(self.spec):
            return "whole"
        return ", ".join("-" if axes is None else _words(axes) for axes in self.spec)


def place(path: str, shape: tuple[int, ...], mesh: Mesh, config: MeshConfig) -> Placement:
    """Returns where the array at `path` lies.

    Raises:
      ConfigError: the rule names more axes than the array has, an axis that the mesh has not, one
        axis twice, or an axis that does not divide the array.
    """
    for index, rule in enumerate(config.rules):
        if re.search(rule.pattern, path):
            return _apply(index, rule, path, shape, mesh, config.min_split)
    return Placement(path, shape, PartitionSpec(), None)


def placements(abstract: Any, mesh: Mesh, config: MeshConfig) -> list[Placement]:
    """Returns `place` of each array of a tree, in the tree's order."""
    return [
        place(path_name(path), leaf.shape, mesh, config)
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract)
    ]


def shardings(abstract: Any, mesh: Mesh, config: MeshConfig = MeshConfig()) -> Any:
    """Returns a tree like `abstract` (of shapes) with the sharding of each array.

    Raises:
      ConfigError: see `place`; or a rule that is no default one decides about nothing.
    """
    found = placements(abstract, mesh, config)
    used = {each.rule for each in found}
    for index, rule in enumerate(config.rules):
        if index not in used and rule not in DEFAULT_RULES:
            raise ConfigError(
                f"The sharding rule {rule.pattern!r} of trainer.mesh.rules decides about nothing: "
                "no parameter's path has it, or earlier rules take all that do. Paths look like "
                f"{found[0].path if found else 'params/linear/w'!r}."
            )
    placed = [NamedSharding(mesh, each.spec) for each in found]
    return jax.tree.unflatten(jax.tree.structure(abstract), placed)


def gathered(sharding: NamedSharding) -> NamedSharding:
    """Returns where a parameter lies while it is used: whole, but for what `tensor` splits."""
    spec = []
    for entry in sharding.spec:
        axes = (entry,) if isinstance(entry, str) else entry or ()
        spec.append("tensor" if "tensor" in axes else None)
    return NamedSharding(sharding.mesh, PartitionSpec(*spec))


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a path of `jax.tree_util` as text: "params/linear/w"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _apply(
    index: int, rule: ShardingRule, path: str, shape: tuple[int, ...], mesh: Mesh, min_split: int
) -> Placement:
    named = f"The sharding rule {rule.pattern!r} -> ({', '.join(map(str, rule.spec))})"
    if len(rule.spec) > len(shape):
        raise ConfigError(
            f"{named} names {len(rule.spec)} axes, and {path} has the shape {shape}. Give at most "
            f"{len(shape)}, or an earlier rule to this parameter."
        )
    spec: list[tuple[str, ...]] = []
    for size, entry in zip(shape, rule.spec, strict=False):
        axes = tuple(entry.split("+")) if entry else ()
        unknown = [axis for axis in axes if axis not in AXES]
        if unknown:
            raise ConfigError(
                f"{named} names the axis {unknown[0]!r} for {path}; the axes of the mesh are "
                f"{', '.join(AXES)}."
            )
        parts = math.prod(mesh.shape[axis] for axis in axes)
        if size % parts:
            raise ConfigError(
                f"{named} splits {path} {shape} over {'+'.join(axes)}: {parts} parts, which do "
                f"not divide {size}. Choose another trainer.mesh.{axes[0]}, or put a rule for this "
                "parameter before that one in trainer.mesh.rules."
            )
        spec.append(axes)
    spec += [()] * (len(shape) - len(spec))
    used = [axis for axes in spec for axis in axes]
    twice = sorted({axis for axis in used if used.count(axis) > 1})
    if twice:
        raise ConfigError(
            f"{named} splits {path} {shape} twice over the axis {twice[0]!r}; an axis can split "
            "one dimension of an array only."
        )
    note = ""
    fsdp = mesh.shape["fsdp"]
    if rule.fsdp == "auto" and "fsdp" not in used and fsdp > 1 and math.prod(shape) >= min_split:
        # A whole dimension before one that is split already, then the largest, then the first.
        left = [
            (not axes, size // math.prod(mesh.shape[axis] for axis in axes), -dim)
            for dim, (size, axes) in enumerate(zip(shape, spec, strict=True))
        ]
        able = [each for each in left if each[1] % fsdp == 0]
        if able:
            dim = -max(able)[2]
            spec[dim] = (*spec[dim], "fsdp")
        else:
            note = f"fsdp={fsdp} divides no dimension"
    entries = [axes[0] if len(axes) == 1 else axes or None for axes in spec]
    while entries and entries[-1] is None:
        entries.pop()
    return Placement(path, shape, PartitionSpec(*entries), index, note)


def _words(axes: str | Sequence[str]) -> str:
    return axes if isinstance(axes, str) else "+".join(axes)
