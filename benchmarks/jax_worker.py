"""The worker of the contenders in JAX: `ours` and `plain`.

`plain` is the textbook path of the same model (`attention="plain"`), nothing recomputed. `ours` is
the model as it comes, with the recomputation that stands in `REMAT`.

Requests: `prepare` makes the weights, compiles and warms up; `run` runs once and times it; `end`
tells the peak of this process's memory over its whole life.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import models, process_memory, programs
from benchmarks.extrapolation import extrapolated_from, scale, timed_calls
from benchmarks.programs import Trees
from benchmarks.worker import serve
from benchmarks.works import Description, from_json
from perceiver_jax import zoo
from perceiver_jax.infer import autoencode

# What the backward pass of `ours` computes again, by model; see model/execution.py. What fits the
# memory goal in the least time.
REMAT: Mapping[str, zoo.Remat] = {
    "imagenet_fourier": "layers",
    "perceiver_imagenet": "keep_linear",
    "mlm": "keep_linear",
    "optical_flow": "keep_linear",
    "video_autoencoding": "keep_linear",
}
DEFAULT_REMAT: zoo.Remat = "keep_linear"


@dataclasses.dataclass
class Prepared:
    """A piece of work, compiled."""

    run: Callable[[], Any]  # Runs it; returns arrays that may not be ready yet.
    compile_s: float
    temp_bytes: int | None  # What XLA plans to take beside arguments and results.
    settings: str  # How it is computed, in words.
    of_calls: int = 1  # `run` makes the timed ones of so many equal calls.


def execution(work_model: str, contender: str, mode: str, remat: zoo.Remat | None) -> zoo.Execution:
    """How a contender computes: `remat` or the table's for ours in training, else nothing again."""
    if contender == "plain" or mode == "forward":
        return zoo.Execution()
    return zoo.Execution(remat=remat or REMAT.get(work_model, DEFAULT_REMAT))


def compiled(function: Callable[..., Trees], *arguments: Trees) -> tuple[Any, float]:
    """The compiled program of a function, and the seconds that lowering and compiling took."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - start


def temp_bytes(*programs: Any) -> int | None:
    """What XLA plans for, at most, beside arguments and results; None where it does not say."""
    found = [program.memory_analysis() for program in programs]
    return max((each.temp_size_in_bytes for each in found if each is not None), default=None)


def inputs_of(model: zoo.Model, description: Description) -> tuple:
    """The model's inputs, on the device."""
    arrays = {name: jnp.asarray(array) for name, array in description.make_inputs().items()}
    if isinstance(models.config_of(model).preprocessor, zoo.TokensConfig):
        tokens = arrays["inputs"]
        return tokens, jnp.ones_like(tokens)
    return (arrays["inputs"] if set(arrays) == {"inputs"} else arrays,)


def targets_of(description: Description) -> Trees:
    """The targets of the loss, on the device."""
    arrays = {name: jnp.asarray(array) for name, array in description.make_targets().items()}
    return arrays["outputs"] if set(arrays) == {"outputs"} else arrays


def prepare_training(
    model: zoo.Model, weights: tuple, description: Description, how: zoo.Execution
) -> Prepared:
    """The loss and its gradients for all parameters; of a subset of many outputs, as in papers."""
    inputs, targets, key = inputs_of(model, description), targets_of(description), jax.random.key(1)
    points = description.points(0) or None

    function = programs.training(model, points, how)
    program, seconds = compiled(function, *weights, key, inputs, targets)
    run = partial(program, *weights, key, inputs, targets)
    settings = f"remat {how.remat}"
    if points:
        settings += f"; {', '.join(f'{len(p)} {name}' for name, p in points.items())} outputs"
    return Prepared(run, seconds, temp_bytes(program), settings)


def prepare_forward(model: zoo.Model, weights: tuple, description: Description) -> Prepared:
    """All outputs at once; or of the released procedure a few of its calls, for all of them."""
    inputs, points = inputs_of(model, description), description.points(0) or None
    program, seconds = compiled(programs.forward(model), *weights, inputs, points)
    prepared = Prepared(
        partial(program, *weights, inputs, points), seconds, temp_bytes(program), ""
    )
    if description.num_calls == 1:
        return prepared

    def run() -> None:
        for call in range(timed_calls(description.num_calls)):
            jax.block_until_ready(program(*weights, inputs, description.points(call)))

    prepared.run, prepared.of_calls = run, description.num_calls
    prepared.settings = f"encodes {description.num_calls} times"
    return prepared


class CompiledAutoencoder:
    """The two programs of `infer.loaded.LoadedModel` that autoencoding runs, compiled ahead."""

    def __init__(self, model: zoo.Model, weights: tuple, inputs: Trees, points: Trees):
        self._weights = weights
        encoded = jax.eval_shape(model.encode, *weights, inputs)
        self.encoder, first = compiled(model.encode, *weights, inputs)
        self.decoder, second = compiled(programs.decode(model), *weights, encoded, points)
        self.compile_s = first + second

    def encode(self, inputs: Trees) -> zoo.Encoded:
        """As in `LoadedModel`."""
        return self.encoder(*self._weights, inputs)

    def decode(self, encoded: zoo.Encoded, *, subsampled_output_points: Trees) -> Trees:
        """As in `LoadedModel`."""
        return self.decoder(*self._weights, encoded, subsampled_output_points)


def prepare_encoded_once(model: zoo.Model, weights: tuple, description: Description) -> Prepared:
    """`infer.autoencode`: pieces are encoded once each, and decoded in chunks to host arrays."""
    layout = autoencode.piece_layout(model.config)
    arrays = description.make_inputs()
    # As `autoencode` passes them: one piece at a time, and no label.
    pieces = [
        {name: arrays[name][i : i + 1] for name in (layout.image, layout.audio)}
        for i in range(description.work.batch)
    ]
    ready = CompiledAutoencoder(model, weights, pieces[0], description.points(0))

    def run() -> None:
        for piece in pieces:
            autoencode.autoencode_piece(
                ready,  # type: ignore[arg-type]  # It has the two methods that are called.
                layout,
                piece[layout.image][0],
                piece[layout.audio][0],
                autoencode.NUM_CHUNKS,
            )

    temp = temp_bytes(ready.encoder, ready.decoder)
    return Prepared(run, ready.compile_s, temp, "encodes once")


class Contender:
    """Answers the requests about one piece of work."""

    def __init__(self) -> None:
        jax.config.update("jax_enable_compilation_cache", False)  # Compiling is measured.
        jax.block_until_ready(jnp.zeros(3) + 1)  # The backend is up.
        self._import_bytes = process_memory.read("VmRSS")

    def prepare(
        self, description: Mapping[str, Any], contender: str, remat: zoo.Remat | None = None
    ) -> dict[str, Any]:
        """Makes weights, compiles, and runs once."""
        told = from_json(description)
        work = told.work
        model = models.build(work, **({"attention": "plain"} if contender == "plain" else {}))
        weights = jax.block_until_ready(model.init(jax.random.key(0)))
        weights_bytes = process_memory.read("VmRSS")
        how = execution(work.model, contender, work.mode, remat)
        if work.mode == "train":
            self._prepared = prepare_training(model, weights, told, how)
        elif told.chunks and contender == "ours":
            self._prepared = prepare_encoded_once(model, weights, told)
        else:
            self._prepared = prepare_forward(model, weights, told)
        first = self.run()
        return {
            "compile_s": self._prepared.compile_s,
            "first_run_s": first["run_s"],
            "spent_s": first["spent_s"],
            "temp_bytes": self._prepared.temp_bytes,
            "import_bytes": self._import_bytes,
            "weights_bytes": weights_bytes,
            "settings": self._prepared.settings,
            "version": f"jax {jax.__version__}",
            "device": jax.devices()[0].device_kind,
            "extrapolated_from": extrapolated_from(self._prepared.of_calls),
        }

    def run(self) -> dict[str, float]:
        """Runs once."""
        start = time.perf_counter()
        jax.block_until_ready(self._prepared.run())
        seconds = time.perf_counter() - start
        return {"run_s": seconds * scale(self._prepared.of_calls), "spent_s": seconds}

    def end(self) -> dict[str, int | None]:
        """The peaks of memory: of the process, and of an accelerator where there is one."""
        found = jax.devices()[0].memory_stats() or {}
        return {
            "peak_bytes": process_memory.read("VmHWM"),
            "device_peak_bytes": found.get("peak_bytes_in_use"),
        }


if __name__ == "__main__":
    contender = Contender()
    serve({"prepare": contender.prepare, "run": contender.run, "end": contender.end})
