"""One model, or all of them, in words and numbers: what `perceiver_jax.inspect` prints."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from perceiver_jax.report import tables
from perceiver_jax.report.anatomy import Anatomy, Shape, dissect
from perceiver_jax.report.flops import FLOPS_PER_SCORE, Flops
from perceiver_jax.report.paper_tables import Anatomies
from perceiver_jax.report.parameters import render_parameters
from perceiver_jax.zoo import build, list_models

__all__ = ["all_models", "as_json", "dissect", "list_lines", "render"]


def render(anatomy: Anatomy, *, fold: bool = True, markdown: bool = False) -> str:
    """A model's parameters, costs and sizes as text.

    Args:
      anatomy: the model's.
      fold: whether repeated blocks of the parameter table stand in one row.
      markdown: Markdown tables instead of spaces.
    """
    head = "## " if markdown else ""
    state = f", and {anatomy.num_state:,} values of state" if anatomy.num_state else ""
    return "\n\n".join(
        [
            f"{head}Parameters of {anatomy.name or 'the model'}",
            render_parameters(anatomy.params, anatomy.state, fold=fold, markdown=markdown),
            f"{anatomy.num_params:,} parameters{state}",
            f"{head}Forward FLOPs of one example (2 for each multiply-add of matrix products and "
            f"convolutions, {FLOPS_PER_SCORE} for each attention score)",
            _flops_table(anatomy, markdown),
            f"{head}Sizes",
            _sizes_table(anatomy, markdown),
        ]
    )


def list_lines(anatomies: Iterable[Anatomy], *, markdown: bool = False) -> Iterator[str]:
    """A line for each model, as soon as it has been measured, below a header."""
    header = ["model", "parameters", "FLOPs", "inputs M x C", "latents N x D", "queries O x E"]
    name_width = max(len(name) for name in list_models())
    widths = [name_width, 11, 8, 15, 13, 15]

    def line(cells: list[str]) -> str:
        if markdown:
            return "| " + " | ".join(cells) + " |"
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "  ".join(padded).rstrip()

    yield line(header)
    yield line(["---"] + ["---:"] * 5 if markdown else ["-" * width for width in widths])
    for each in anatomies:
        yield line(
            [
                f"`{each.name}`" if markdown else each.name,
                f"{each.num_params:,}",
                tables.engineering(each.total_flops.total),
                _size(each.elements),
                _size(each.latents),
                _size(each.queries),
            ]
        )


def all_models(anatomies: Anatomies | None = None) -> Iterator[Anatomy]:
    """The anatomies of all models of the zoo, one after another."""
    anatomies = anatomies or Anatomies()
    for name in list_models():
        yield dataclasses.replace(anatomies.get(build(name)), name=name)


def as_json(anatomy: Anatomy) -> dict[str, Any]:
    """An anatomy as plain values. Shapes are lists, without the batch axis; FLOPs by part."""
    flops = {**anatomy.flops, "total": anatomy.total_flops}
    return {
        **{
            field.name: getattr(anatomy, field.name)
            for field in dataclasses.fields(anatomy)
            if field.name not in ("flops", "attentions")
        },
        "flops": {
            part: {"matmul": each.matmul, "scores": each.scores, "total": each.total}
            for part, each in flops.items()
        },
        "attentions": {
            kind: dataclasses.asdict(attention) for kind, attention in anatomy.attentions.items()
        },
    }


def _flops_table(anatomy: Anatomy, markdown: bool) -> str:
    def row(part: str, flops: Flops) -> list[str]:
        share = flops.total / max(anatomy.total_flops.total, 1)
        return [
            part,
            f"{flops.matmul:,}",
            f"{flops.scores:,}",
            f"{flops.total:,}",
            tables.engineering(flops.total),
            f"{share:.1%}".replace("%", " %"),
        ]

    header = ["part", "products", "scores", "total", "", "share"]
    rows = [row(part, flops) for part, flops in anatomy.flops.items()]
    return tables.render(
        header,
        [*rows, row("total", anatomy.total_flops)],
        right=tuple(header[1:]),
        markdown=markdown,
    )


def _sizes_table(anatomy: Anatomy, markdown: bool) -> str:
    rows = [[f"input {name}", _size(shape), ""] for name, shape in anatomy.inputs.items()]
    for what, shape, letters in (
        ("input elements", anatomy.elements, "M x C"),
        ("latents", anatomy.latents, "N x D"),
        ("output queries", anatomy.queries, "O x E"),
    ):
        if shape is not None:
            rows.append([what, _size(shape), letters])
    for kind, attention in anatomy.attentions.items():
        heads = f"{attention.heads} head{'s' if attention.heads > 1 else ''}"
        rows.append(
            [
                kind,
                f"{attention.calls}, {heads}",
                f"{attention.queries:,} x {attention.keys:,} scores a head, queries and keys "
                f"{attention.qk_channels} wide, values {attention.v_channels}, MLP "
                f"{attention.mlp_channels}",
            ]
        )
    rows += [[f"output {name}", _size(shape), ""] for name, shape in anatomy.outputs.items()]
    return tables.render(["what", "size", ""], rows, markdown=markdown)


def _size(shape: Shape | None) -> str:
    return "-" if shape is None else " x ".join(f"{size:,}" for size in shape)
