"""Speed and memory of our models, beside the plain definition and beside other projects.

    python -m benchmarks.run [--models=imagenet_fourier,mlm] [--modes=forward,train]
        [--peers=plain,huggingface,perceiver_io,perceiver_pytorch] [--batches=1,2] [--repeats=5]
        [--json=FILE] [--plot=FILE.svg] [--peer_python=PATH] [--config.FIELD=VALUE]

Contenders. `ours`: the model as it comes, with the recomputation of benchmarks/jax_worker.py in
training. `plain`: the same model by the textbook, every projection, all attention weights at once,
unrolled layers, derivatives left to JAX. `huggingface`, `perceiver_io` and `perceiver_pytorch`: the
PyPI projects of those names on PyTorch, each for the models it has, built at the same sizes. They
are installed as benchmarks/requirements.txt says, into an environment of their own whose Python is
named by --peer_python; without them their rows say so.

Work. `forward`: all outputs of a batch, in evaluation. `train`: the loss and its gradients for all
parameters, with no optimiser. All outputs of the video autoencoder are 803,297: ours encodes a
piece once and decodes in chunks, as `perceiver_jax.predict` does; plain and huggingface follow the
released procedure, 128 calls of the whole model, of which 3 are timed and stand for all (the row
says so). Its training decodes 512 pixels, 512 patches of sound and the label, as the paper's.

Measuring. Each contender has a process of its own. All of them live side by side and take turns,
one run each a round, after one run to warm up; a matrix product is timed in every round too. Shown
are the median and the spread. Peak memory is that of the whole process from its start, imports,
weights and compiling included. A contender that fails, or needs more than its limits, has a row
with the reason; one that has no room beside the others is measured alone, and says so.

GFLOP are those of the plain mathematics (three times the forward pass for training), equal for
all contenders: recomputation does not count, and saved operations raise the rate.

`--config.FIELD=VALUE` changes the config of all models, for small trials:
--config.encoder.num_latents=16.
"""

import contextlib
import sys
from collections.abc import Sequence

from absl import flags

from perceiver_jax.errors import UserError, run_main_with_overrides


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from benchmarks.works import MODELS, MODES

    flags.DEFINE_list("models", list(MODELS), "Names of models of the zoo.")
    flags.DEFINE_list("modes", list(MODES), "forward, train, or both.")
    flags.DEFINE_list(
        "peers",
        ["plain", "huggingface", "perceiver_io", "perceiver_pytorch"],
        "Whom to measure beside ours; each is left out for models that it does not have.",
    )
    flags.DEFINE_list("batches", ["1"], "Numbers of examples in a run.")
    flags.DEFINE_integer("repeats", 5, "Timed runs of each contender.", lower_bound=1)
    flags.DEFINE_float(
        "limit",
        600.0,
        "Seconds that one contender's timed runs may take together; a slow one is run fewer times, "
        "at least once, and its row says how often.",
        lower_bound=0.0,
    )
    flags.DEFINE_float(
        "patience",
        3600.0,
        "Seconds for compiling and the first run, and for each further run, before a contender is "
        "given up.",
        lower_bound=0.0,
    )
    flags.DEFINE_float(
        "memory", None, "GB for all processes together; nine tenths of this machine's by default."
    )
    flags.DEFINE_enum(
        "remat",
        None,
        ["none", "cross_attends", "layers", "keep_linear"],
        "What ours computes again in training; by model, as in jax_worker.py, by default.",
    )
    flags.DEFINE_string("peer_python", None, "Interpreter that has the peers; this one by default.")
    flags.DEFINE_string("json", None, "Writes the rows to this file, after every piece of work.")
    flags.DEFINE_string("plot", None, "Draws the ratios to this file, FILE.svg.")
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


def main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point; see `perceiver_jax.errors.run_main_with_overrides`."""
    from benchmarks import contenders, plots, process_memory, rows, table, works
    from benchmarks.process import Limits, WorkerFailed, started
    from benchmarks.rounds import Options, measure

    arguments = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    for mode in arguments.modes:
        if mode not in works.MODES:
            raise UserError(f"--modes has {mode!r}; the modes are {', '.join(works.MODES)}.")
    chosen = contenders.chosen(arguments.peers)
    batches = numbers("batches", arguments.batches)
    options = Options(
        repeats=arguments.repeats,
        limit=arguments.limit,
        patience=arguments.patience,
        memory=(arguments.memory or 0.0) * process_memory.GIGABYTE,
        peer_python=arguments.peer_python,
        remat=arguments.remat,
        progress=tell,
    )
    found: list[rows.Row] = []
    limits = Limits(options.bytes, options.patience)
    with contextlib.ExitStack() as stack:
        try:
            reference = stack.enter_context(started("benchmarks.reference_worker", limits))
            for work in (
                works.Work(model, mode, batch, changes)
                for model in arguments.models
                for mode in arguments.modes
                for batch in batches
            ):
                described = works.from_json(
                    reference.ask("describe", work=vars(work))["description"]
                )
                having = [each for each in chosen if each.has(work.model)]
                found += measure(
                    described, having, options, lambda: reference.ask("matmul")["gflop_per_s"]
                )
                if arguments.json:
                    rows.write(arguments.json, found)
        except WorkerFailed as error:
            raise UserError(str(error)) from error
    tell("")
    print(table.render(found, markdown=arguments.markdown))
    if arguments.plot:
        plots.write(arguments.plot, plots.ratio_bars(found))


def numbers(flag: str, values: Sequence[str]) -> list[int]:
    """The whole numbers from 1 on that a flag lists.

    Raises:
      UserError: one is none.
    """
    if not all(value.isdigit() and int(value) for value in values):
        raise UserError(f"--{flag} must be whole numbers from 1 on; got {','.join(values)}.")
    return [int(value) for value in values]


def tell(text: str) -> None:
    """Says what goes on: on one line of a terminal that is written again and again, or nowhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_main_with_overrides(main, define_flags)
