"""How long the training step of every model of the zoo takes to compile on this machine.

    python -m benchmarks.compile_time [--models=mlm,optical_flow] [--remat=keep_linear]
        [--batch=1] [--attention=auto] [--markdown]

The step is the loss and its gradients for all parameters. Tracing and compiling are timed apart;
nothing runs, and no weights are made. Models of equal configs are compiled once.
"""

import time
from collections.abc import Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
from absl import flags

import perceiver_jax
from benchmarks.works import TRAIN_POINTS
from perceiver_jax.errors import UserError, run_main
from perceiver_jax.model.routes import Route
from perceiver_jax.report import tables
from perceiver_jax.zoo import Execution, PerceiverConfig, Remat, get_config

_MODELS = flags.DEFINE_list("models", None, "Names of models of the zoo; all by default.")
_REMAT = flags.DEFINE_enum(
    "remat", "keep_linear", list(get_args(Remat)), "What the backward pass computes again."
)
_BATCH = flags.DEFINE_integer("batch", 1, "Number of examples.", lower_bound=1)
_ATTENTION = flags.DEFINE_enum(
    "attention", "auto", list(get_args(Route)), "The route of the attentions."
)
_MARKDOWN = flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


def compile_step(name: str) -> tuple[float, float, float]:
    """Compiles a model's training step.

    Returns:
      Seconds of tracing and lowering, seconds of compiling, and gigabytes of temporary memory.
    """
    model = perceiver_jax.build(name, attention=_ATTENTION.value)
    assert isinstance(model.config, PerceiverConfig)
    params, state = model.abstract_params()
    is_video = isinstance(model.config.decoder, perceiver_jax.zoo.MultimodalDecoderConfig)
    points: Any = None
    if is_video:
        points = {name: jnp.arange(TRAIN_POINTS) for name in ("image", "audio")}

    def loss(params: Any, state: Any, inputs: Any) -> jax.Array:
        outputs, *_ = model.apply(
            params,
            state,
            jax.random.key(0),
            *inputs,
            is_training=True,
            subsampled_output_points=points,
            execution=Execution(remat=_REMAT.value),
        )
        return sum((jnp.square(x).mean() for x in jax.tree.leaves(outputs)), jnp.zeros(()))

    step = jax.jit(jax.value_and_grad(loss))
    start = time.perf_counter()
    lowered = step.lower(params, state, model.example_inputs(_BATCH.value))
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    memory = compiled.memory_analysis()
    jax.clear_caches()
    return traced - start, done - traced, memory.temp_size_in_bytes / 1e9


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    jax.config.update("jax_enable_compilation_cache", False)
    names = _MODELS.value or perceiver_jax.list_models()
    compile_step("perceiver_modelnet40")  # What only the first program costs.
    seen, rows = [], []
    header = ["model", "tracing s", "compiling s", "both", "temporary GB"]
    for name in names:
        config = get_config(name)
        if config in seen or not isinstance(config, PerceiverConfig):
            continue
        seen.append(config)
        trace, compiling, gigabytes = compile_step(name)
        row = [f"{trace:.1f}", f"{compiling:.1f}", f"{trace + compiling:.1f}", f"{gigabytes:.2f}"]
        rows.append([name, *row])
        print(*rows[-1], flush=True)
    print()
    print(tables.render(header, rows, right=tuple(header[1:]), markdown=_MARKDOWN.value))


if __name__ == "__main__":
    run_main(main)
