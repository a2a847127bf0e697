"""How long the training step of every model of the zoo takes to compile on this machine.

    python -m benchmarks.compile_time [--models=mlm,optical_flow] [--remat=keep_linear]
        [--batch=1] [--attention=auto] [--markdown] [--config.FIELD=VALUE]

The step is the loss and its gradients for all parameters, as `benchmarks.run` trains. Tracing and
compiling are timed apart; nothing runs, and no weights are made. Models of equal configs are
compiled once. `--config.FIELD=VALUE` changes the config of all of them.
"""

import time
from collections.abc import Sequence
from typing import get_args

import jax
from absl import flags

import perceiver_jax
from benchmarks import models
from benchmarks.jax_worker import temp_bytes
from benchmarks.operations import training_part
from benchmarks.process_memory import GIGABYTE
from benchmarks.reference_worker import description
from benchmarks.works import Work
from perceiver_jax.errors import UserError, run_main_with_overrides
from perceiver_jax.model.routes import Route
from perceiver_jax.report import tables
from perceiver_jax.zoo import PerceiverConfig, Remat, get_config


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    flags.DEFINE_list("models", None, "Names of models of the zoo; all by default.")
    flags.DEFINE_enum(
        "remat", "keep_linear", list(get_args(Remat)), "What the backward pass computes again."
    )
    flags.DEFINE_integer("batch", 1, "Number of examples.", lower_bound=1)
    flags.DEFINE_enum("attention", "auto", list(get_args(Route)), "The route of the attentions.")
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


def compile_step(work: Work, remat: str, attention: str) -> tuple[float, float, float]:
    """Compiles the training step of a model.

    Returns:
      Seconds of tracing and lowering, seconds of compiling, and gigabytes of temporary memory.
    """
    model = models.build(work, attention=attention)
    part = training_part(model, description(work), remat)
    # Describing traces the model, too, and what it traced must not be found again.
    jax.clear_caches()
    start = time.perf_counter()
    lowered = jax.jit(part.function).lower(*part.arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    return traced - start, done - traced, (temp_bytes(compiled) or 0) / GIGABYTE


def main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point; see `perceiver_jax.errors.run_main_with_overrides`."""
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    given = flags.FLAGS
    jax.config.update("jax_enable_compilation_cache", False)
    # What only the first program costs.
    compile_step(Work("perceiver_modelnet40", "train", 1), given.remat, "auto")
    seen, rows = [], []
    header = ["model", "tracing s", "compiling s", "both", "temporary GB"]
    for name in given.models or perceiver_jax.list_models():
        config = get_config(name)
        if config in seen or not isinstance(config, PerceiverConfig):
            continue
        seen.append(config)
        work = Work(name, "train", given.batch, changes)
        trace, compiling, gigabytes = compile_step(work, given.remat, given.attention)
        row = [f"{trace:.1f}", f"{compiling:.1f}", f"{trace + compiling:.1f}", f"{gigabytes:.2f}"]
        rows.append([name, *row])
        print(*rows[-1], flush=True)
    print()
    print(tables.render(header, rows, right=tuple(header[1:]), markdown=given.markdown))


if __name__ == "__main__":
    run_main_with_overrides(main, define_flags)
