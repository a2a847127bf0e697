"""How many operations the programs of our models carry out, plain against ours.

    python -m benchmarks.operations [--models=imagenet_fourier,mlm] [--modes=forward,train]
        [--markdown] [--json=FILE] [--config.FIELD=VALUE]

Nothing is run or compiled. `plain` is the textbook path; `auto` is the model as it comes, with
nothing computed twice; `remat` is `auto` as `python -m benchmarks.run` trains it, with what its
backward pass computes again. Counted are the operations of one example in the traced program:
matrix products, 2 for each multiply-add, and 3 for each attention score, loops as often as they
run (perceiver_jax/report/flops.py). So that no derivative rule escapes, training is counted in the
program of loss and gradients itself, and not as three forward passes.

XLA counts for itself, all elementwise operations included, in the program before its compiler has
improved it; but it takes a loop for one round of it. So it is given the same program without loops:
layers written out, inputs, outputs and heads in one piece (`in_one_piece`): other memory, the same
function. Where loops remain there is no figure.

The forward pass of the video autoencoder is all of its 803,297 outputs: for plain the 128 calls of
the released procedure, for auto one encoding and 128 decodings.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import jax
from absl import flags

from benchmarks import models, programs, rows, works
from benchmarks.jax_worker import execution
from benchmarks.reference_worker import description
from benchmarks.works import Description, Work
from perceiver_jax import zoo
from perceiver_jax.errors import UserError, run_main_with_overrides
from perceiver_jax.model import encoder, routes, streamed
from perceiver_jax.report import tables
from perceiver_jax.report.flops import Flops, count_flops, total

VARIANTS = ("plain", "auto", "remat")


@dataclasses.dataclass(frozen=True)
class Part:
    """A function that a variant runs, and how often."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]  # Shapes are enough.
    times: int = 1


@dataclasses.dataclass
class Count:
    """The operations of one variant of a piece of work."""

    model: str
    mode: str
    variant: str
    matmul: int | None = None  # Of matrix products.
    scores: int | None = None  # Of the softmax over attention scores.
    xla: float | None = None  # What XLA counts in the program; None for one with loops.
    error: str | None = None  # Why it was not counted.

    @property
    def total(self) -> int | None:
        """Of products and scores."""
        return None if self.matmul is None or self.scores is None else self.matmul + self.scores


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    flags.DEFINE_list("models", list(works.MODELS), "Names of models of the zoo.")
    flags.DEFINE_list("modes", list(works.MODES), "forward, train, or both.")
    flags.DEFINE_bool("xla", True, "Whether to have XLA count, too; that takes longer.")
    flags.DEFINE_string("json", None, "Writes the counts to this file.")
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


def main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point; see `perceiver_jax.errors.run_main_with_overrides`."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    for mode in given.modes:
        if mode not in works.MODES:
            raise UserError(f"--modes has {mode!r}; the modes are {', '.join(works.MODES)}.")
    counts = [
        count
        for model in given.models
        for mode in given.modes
        for count in counted(Work(model, mode, 1, changes), with_xla=given.xla)
    ]
    if given.json:
        rows.write(given.json, [dataclasses.asdict(each) for each in counts])
    print(render(counts, markdown=given.markdown))


def counted(work: Work, *, with_xla: bool) -> Iterator[Count]:
    """Counts all variants of a piece of work."""
    told = description(work)
    for variant in VARIANTS:
        if variant == "remat" and work.mode != "train":
            continue
        count = Count(work.model, work.mode, variant)
        model = models.build(work, **({"attention": "plain"} if variant == "plain" else {}))
        parts = parts_of(model, told, variant)
        try:
            found = sum(
                (total(count_flops(part.function, *part.arguments)) * part.times for part in parts),
                Flops(),
            )
            count.matmul, count.scores = found.matmul, found.scores
        except ValueError as error:
            count.error = str(error)
        if with_xla:
            with in_one_piece():
                count.xla = xla_operations(parts)
        yield count


def parts_of(model: zoo.Model, told: Description, variant: str) -> list[Part]:
    """What `python -m benchmarks.run` compiles for a variant."""
    weights = model.abstract_params()
    inputs = model.example_inputs(told.work.batch)
    points = told.points(0) or None
    if told.work.mode == "train":
        return [training_part(model, told, None if variant == "remat" else "none")]
    if points is None or variant == "plain":
        part = Part(programs.forward(model), (*weights, inputs, points), told.num_calls)
        return [part]
    encoded = jax.eval_shape(model.encode, *weights, *inputs)
    return [
        Part(model.encode, (*weights, *inputs)),
        Part(programs.decode(model), (*weights, encoded, points), told.num_calls),
    ]


def training_part(model: zoo.Model, told: Description, remat: zoo.Remat | None) -> Part:
    """The loss and its gradients; `remat` None: with what `benchmarks.run` computes again."""
    how = execution(told.work.model, "ours", "train", remat)
    key = jax.eval_shape(lambda: jax.random.key(0))
    inputs = model.example_inputs(told.work.batch)
    arguments = (*model.abstract_params(), key, inputs, _targets(told))
    return Part(programs.training(model, told.points(0) or None, how), arguments)


def _targets(told: Description) -> Any:
    structs = {
        name: jax.ShapeDtypeStruct(spec.shape, "float32" if spec.below is None else "int32")
        for name, spec in told.targets.items()
    }
    return structs["outputs"] if set(structs) == {"outputs"} else structs


@contextlib.contextmanager
def in_one_piece() -> Iterator[None]:
    """Programs that are traced inside have no loops over layers, inputs, outputs or heads."""
    without_end = 2**62
    with contextlib.ExitStack() as stack:
        for module, name, value in (
            (encoder, "_SCAN_FROM", without_end),
            (routes, "_INPUT_BYTES", {}),
            (routes, "_INPUT_BYTES_ELSEWHERE", without_end),
            (routes, "_OUTPUT_BYTES", {}),
            (routes, "_OUTPUT_BYTES_ELSEWHERE", without_end),
            (streamed, "CPU_CHUNK_BYTES", without_end),
            (streamed, "ACCELERATOR_CHUNK_BYTES", without_end),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        # What was traced with loops must not be found again, nor what is traced without them.
        jax.clear_caches()
        yield
        jax.clear_caches()


def xla_operations(parts: Sequence[Part]) -> float | None:
    """What XLA counts; None where a program has loops, of which it would count one round."""
    operations = 0.0
    for part in parts:
        lowered = jax.jit(part.function).lower(*part.arguments)
        if "stablehlo.while" in lowered.as_text():
            return None
        found = lowered.cost_analysis()
        if not isinstance(found, Mapping) or "flops" not in found:
            return None
        operations += found["flops"] * part.times
    return operations


def render(counts: Sequence[Count], *, markdown: bool = False) -> str:
    """Lays out counts, in GFLOP."""
    header = (
        "model",
        "mode",
        "variant",
        "products",
        "scores",
        "total",
        "total : plain",
        "XLA",
        "XLA : plain",
    )
    cells = []
    for count in counts:
        plain = next(
            each
            for each in counts
            if (each.model, each.mode, each.variant) == (count.model, count.mode, "plain")
        )
        cells.append(
            [
                count.model,
                count.mode,
                count.variant,
                _gflop(count.matmul),
                _gflop(count.scores),
                _gflop(count.total),
                _ratio(count.total, plain.total),
                _gflop(count.xla),
                _ratio(count.xla, plain.xla),
            ]
        )
    text = tables.render(header, cells, right=header[3:], markdown=markdown)
    errors = [
        f"{count.model} {count.mode} {count.variant}: not counted: {count.error}"
        for count in counts
        if count.error
    ]
    return "\n".join([text, "", *(f"- {line}" if markdown else line for line in errors)]).rstrip()


def _gflop(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e9:,.0f}" if value >= 1e12 else f"{value / 1e9:.4g}"


def _ratio(value: float | None, over: float | None) -> str:
    return "-" if value is None or not over else f"{value / over:.3f}"


if __name__ == "__main__":
    run_main_with_overrides(main, define_flags)
