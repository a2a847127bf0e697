"""The flags that the benchmarks of time and memory share: how often, how long, how much."""

import contextlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags

from benchmarks import process_memory, works
from benchmarks.process import Limits, Worker, WorkerFailed, started
from benchmarks.rounds import Options
from benchmarks.rows import Row
from benchmarks.table import seconds
from perceiver_jax.errors import UserError


def define(*, repeats: int, limit: float, plots: str) -> None:
    """Defines the flags.

    Args:
      repeats: the default of --repeats.
      limit: the default of --limit, in seconds.
      plots: what --plot draws.
    """
    flags.DEFINE_list("modes", list(works.MODES), "forward, train, or both.")
    flags.DEFINE_integer("repeats", repeats, "Timed runs of each contender.", lower_bound=1)
    flags.DEFINE_float(
        "limit",
        limit,
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
    flags.DEFINE_string("json", None, "Writes the rows to this file, after every piece of work.")
    flags.DEFINE_string("plot", None, f"Draws {plots} to this file, FILE.svg.")
    flags.DEFINE_bool("markdown", False, "Prints a Markdown table.")


def check(argv: Sequence[str]) -> None:
    """Raises UserError for arguments that are no flags, unknown modes, and plots other than SVG."""
    if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; --help lists the flags.")
    for mode in flags.FLAGS.modes:
        if mode not in works.MODES:
            raise UserError(f"--modes has {mode!r}; the modes are {', '.join(works.MODES)}.")
    plot = flags.FLAGS.plot
    if plot is not None and not plot.endswith(".svg"):
        raise UserError(f"--plot={plot} must end in .svg: that is what is drawn.")


def options(peer_python: str | None = None) -> Options:
    """How to measure, from the flags."""
    given = flags.FLAGS
    return Options(
        repeats=given.repeats,
        limit=given.limit,
        patience=given.patience,
        memory=(given.memory or 0.0) * process_memory.GIGABYTE,
        peer_python=peer_python,
        remat=given.remat,
        progress=tell,
    )


def numbers(flag: str, values: Sequence[str | int]) -> list[int]:
    """The whole numbers from 1 on that a flag lists, or its default.

    Raises:
      UserError: one is none.
    """
    texts = [str(value) for value in values]
    if not all(text.isdigit() and int(text) for text in texts):
        raise UserError(f"--{flag} must be whole numbers from 1 on; got {','.join(texts)}.")
    return [int(text) for text in texts]


def tell(text: str) -> None:
    """Says what goes on: on one line of a terminal that is written again and again, or nowhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def finished(rows: Sequence[Row], where: str = "") -> None:
    """Says what came out of a piece of work, as the whole table takes long to come."""
    tell("")
    for row in rows:
        result = row.error or f"{seconds(row.run_s)} s"
        print(
            f"{where}{row.model} {row.mode} {row.batch}: {row.contender}: {result}",
            file=sys.stderr,
            flush=True,
        )


class Reference:
    """The worker beside the contenders; see `reference_worker.py`."""

    def __init__(self, worker: Worker):
        self._worker = worker

    def describe(self, work: works.Work) -> works.Description:
        """Describes a piece of work."""
        return works.from_json(self._worker.ask("describe", work=vars(work))["description"])

    def matmul(self) -> float:
        """The machine's rate of matrix products now, in GFLOP/s."""
        return self._worker.ask("matmul")["gflop_per_s"]


@contextlib.contextmanager
def reference(options: Options) -> Iterator[Reference]:
    """Starts the reference worker; without it there is nothing to measure.

    Raises:
      UserError: it failed, with its reason.
    """
    try:
        with started("benchmarks.reference_worker", Limits(options.bytes, options.patience)) as it:
            yield Reference(it)
    except WorkerFailed as error:
        raise UserError(str(error)) from error
