"""Contenders take turns at a piece of work: round after round, one run of each.

So a change of the machine's load or clock falls on all of them. Every contender is a process that
lives through all rounds, and waits while others run. One that dies, refuses or grows too large
gives a row with its reason; one that found no room beside the others is measured alone afterwards.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks import process_memory
from benchmarks.contenders import Contender
from benchmarks.process import Limits, OutOfMemory, Worker, WorkerFailed, started
from benchmarks.rows import Row
from benchmarks.works import Description, to_json

# Seconds before a run, for the threads of the last one to go to sleep.
_PAUSE = 0.2


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure."""

    repeats: int = 5  # Timed runs of each contender,
    limit: float = 600.0  # but fewer, where they would take more seconds than this; at least one.
    patience: float = 3600.0  # Seconds that compiling or one run may take before it is given up.
    memory: float = 0.0  # Bytes for all workers together; 0: nine tenths of what there is.
    peer_python: str | None = None  # Interpreter of the peers; None: this one.
    remat: str | None = None  # What ours computes again in training; None: by the table.
    progress: Callable[[str], None] = lambda text: None  # Is told what goes on.

    @property
    def bytes(self) -> float:
        """Memory for all workers together."""
        return self.memory or 0.9 * process_memory.total()


@dataclasses.dataclass
class _Turn:
    """A contender in the rounds."""

    contender: Contender
    row: Row
    worker: Worker
    repeats: int = 0  # Timed runs that it gets.
    matmul: list[float] = dataclasses.field(default_factory=list)  # GFLOP/s beside each of them.

    @property
    def is_running(self) -> bool:
        return self.row.error is None


def measure(
    description: Description,
    contenders: Sequence[Contender],
    options: Options,
    matmul: Callable[[], float],
) -> list[Row]:
    """Measures all contenders on a piece of work.

    Args:
      description: the work.
      contenders: who is to do it.
      options: how to measure.
      matmul: measures the machine's rate of matrix products, in GFLOP/s; called in every round.

    Returns:
      A row for each contender, in their order.
    """
    rows = {each.name: _row(description, each) for each in contenders}
    crowded = _interleaved(description, contenders, rows, options, matmul)
    for contender in crowded:
        row = rows[contender.name] = _row(description, contender)
        row.notes.append("measured alone, for want of memory beside the others")
        _interleaved(description, [contender], rows, options, matmul)
    return list(rows.values())


def _row(description: Description, contender: Contender) -> Row:
    work = description.work
    return Row(
        work.model,
        work.mode,
        work.batch,
        contender.name,
        gflop=description.gflop,
        changes=dict(work.changes),
    )


def _interleaved(
    description: Description,
    contenders: Sequence[Contender],
    rows: dict[str, Row],
    options: Options,
    matmul: Callable[[], float],
) -> list[Contender]:
    """Fills in the rows; returns the contenders for whom there was no room beside others."""
    crowded = []
    turns: list[_Turn] = []
    work = description.work

    def fail(turn: _Turn, error: WorkerFailed) -> None:
        turn.row.error = str(error)
        turn.worker.stop()
        if isinstance(error, OutOfMemory) and len(contenders) > 1:
            crowded.append(turn.contender)
            turn.row.error += " beside the others"

    with contextlib.ExitStack() as stack:
        for contender in contenders:
            options.progress(f"{work.model} {work.mode} {work.batch}: {contender.name} prepares")
            limits = Limits(options.bytes, options.patience)
            try:
                worker = stack.enter_context(
                    started(
                        contender.worker,
                        limits,
                        python=contender.python(options.peer_python),
                        arguments=contender.arguments(),
                    )
                )
            except WorkerFailed as error:
                rows[contender.name].error = str(error)
                continue
            turn = _Turn(contender, rows[contender.name], worker)
            try:
                _prepare(turn, turns, description, options)
                turns.append(turn)
            except WorkerFailed as error:
                fail(turn, error)

        for index in range(options.repeats):
            # Who was first is last in the next round.
            at = index % max(len(turns), 1)
            due = [
                turn for turn in turns[at:] + turns[:at] if turn.is_running and index < turn.repeats
            ]
            if not due:
                break
            time.sleep(_PAUSE)
            rate = matmul()
            for turn in due:
                options.progress(
                    f"{work.model} {work.mode} {work.batch}: {turn.contender.name} runs, "
                    f"{index + 1} of {turn.repeats}"
                )
                time.sleep(_PAUSE)
                try:
                    _make_room(turn, turns, options)
                    turn.row.run_s_all.append(turn.worker.ask("run")["run_s"])
                    turn.matmul.append(rate)
                except WorkerFailed as error:
                    fail(turn, error)
        for turn in turns:
            if turn.is_running:
                try:
                    _finish(turn, options)
                except WorkerFailed as error:
                    turn.row.error = str(error)
    return crowded


def _make_room(turn: _Turn, turns: Sequence[_Turn], options: Options) -> None:
    """Lets a worker have the memory that the waiting ones leave."""
    waiting = sum(each.worker.resident() for each in turns if each is not turn)
    turn.worker.limits = Limits(options.bytes - waiting, options.patience)


def _prepare(
    turn: _Turn, turns: Sequence[_Turn], description: Description, options: Options
) -> None:
    _make_room(turn, turns, options)
    answer = turn.worker.ask(
        "prepare",
        description=to_json(description),
        contender=turn.contender.name,
        remat=options.remat,
    )
    affordable = int(options.limit / max(answer.pop("spent_s"), 1e-9))
    for name, value in answer.items():
        setattr(turn.row, name, value)
    turn.repeats = max(1, min(options.repeats, affordable))


def _finish(turn: _Turn, options: Options) -> None:
    row = turn.row
    end = turn.worker.ask("end")
    row.peak_bytes, row.device_peak_bytes = end["peak_bytes"], end["device_peak_bytes"]
    row.run_s = statistics.median(row.run_s_all)
    row.matmul_gflop_per_s = statistics.median(turn.matmul)
    if row.gflop is not None:
        row.gflop_per_s = row.gflop / row.run_s
    if row.extrapolated_from:
        row.notes.append(f"time from {row.extrapolated_from}")
    if len(row.run_s_all) < options.repeats:
        row.notes.append(f"{len(row.run_s_all)} of {options.repeats} runs (--limit)")
