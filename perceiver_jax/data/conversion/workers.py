"""Processes that work through numbered parts of a list, and say after each item that it is done.

So the program can show progress by items, and name the item at which a process died: one that
filled the memory, say. An item that crashes its process, or keeps it busy without end, may be left
out; another process does the rest. A process ends when the program does, at the next item.
"""

import contextlib
import dataclasses
import math
import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from perceiver_jax.errors import DataError, UserError

_ITEM, _PART, _MISTAKE, _CRASH = range(4)  # What a process sends.
# Of the processor, for an item. Waiting for a disk does not count, nor does a halted program.
_MOST_SECONDS = 3600
# What ends a process whose library meets data that it was not made for: next time again. SIGBUS is
# not among it, which a disk sends that fails.
_CRASHES = {
    signal.SIGSEGV: "crashed the process that read it (SIGSEGV)",
    signal.SIGABRT: "crashed the process that read it (SIGABRT)",
    signal.SIGFPE: "crashed the process that read it (SIGFPE)",
    signal.SIGILL: "crashed the process that read it (SIGILL)",
    signal.SIGXCPU: "kept the process that read it busy for an hour",
}


class Work(Protocol):
    """What there is to do; picklable."""

    def items(self, part: int) -> Sequence[int]:
        """Returns the numbers of the items of a part, in the order in which they are done."""

    def describe(self, item: int) -> str:
        """Names an item, for messages."""

    def do(self, part: int, done: Callable[[int], None]) -> None:
        """Does a part; calls `done` after each item, with its number.

        Raises:
          UserError: ends the program, with its message.
        """

    def give_up(self, item: int, reason: str) -> bool:
        """Notes that an item ends any process that does it: `do` is to leave it out.

        Returns:
          Whether it will; if not, the program ends.
        """


@dataclasses.dataclass
class _Worker:
    process: Any  # The start method's Process.
    connection: Connection
    part: int | None = None  # What it is at.
    items_done: int = 0  # Of this part.
    items_told: int = 0  # Of them were done, and told of, by a process that has died.


def work_through(
    work: Work, parts: Sequence[int], num_workers: int, done: Callable[[int], None]
) -> None:
    """Does all parts, in any order, in processes beside this one.

    Args:
      work: what to do.
      parts: which parts of it.
      num_workers: how many processes; no more are started than there are parts.
      done: called in this process with the number of each item that is done.

    Raises:
      DataError: a process died, and its item cannot be left out, or its code failed; names the
        item.
      UserError: what `work.do` raised.
    """
    waiting = list(reversed(parts))
    context = multiprocessing.get_context("spawn")  # A fork would inherit other threads' locks.
    workers: dict[Connection, _Worker] = {}
    resource_tracker.ensure_running()  # Starting it later would unblock signals.
    try:
        for _ in range(min(num_workers, len(parts))):
            _start(context, workers)
        for worker in workers.values():
            _send(worker, work, work)
            _hand_out(worker, work, waiting)
        while any(worker.part is not None for worker in workers.values()):
            busy = [each for each, worker in workers.items() if worker.part is not None]
            for connection in wait(busy):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                try:
                    kind, value = connection.recv()
                except (EOFError, OSError) as error:
                    if not _leaves_out(worker, work):
                        raise _died(worker, work) from error
                    connection.close()
                    del workers[connection]
                    _go_on(_start(context, workers), worker, work)
                else:
                    _take(worker, work, waiting, done, kind, value)
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.join()
            worker.connection.close()


def _start(context: Any, workers: dict[Connection, _Worker]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), name="converting", daemon=True)
    with _interrupts_later():  # While the process imports, one would be a traceback.
        process.start()
        theirs.close()  # Now the process has the only one, and takes it along.
        workers[ours] = _Worker(process, ours)
    return workers[ours]


def _leaves_out(worker: _Worker, work: Work) -> bool:
    """Leaves out the item that a process has died of, if it did and that can be."""
    assert worker.part is not None
    worker.process.join(timeout=10)
    items, code = work.items(worker.part), worker.process.exitcode
    reason = None if code is None else _CRASHES.get(-code)
    if reason is None or worker.items_done >= len(items):
        return False
    return work.give_up(items[worker.items_done], reason)


def _go_on(worker: _Worker, before: _Worker, work: Work) -> None:
    """Has a process do the part at which another one has died."""
    worker.part, worker.items_told = before.part, max(before.items_done, before.items_told)
    _send(worker, work, work)
    _send(worker, work, worker.part)


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Puts off Ctrl-C: in this thread, and in processes that are started here, which inherit it."""
    noted: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # Another thread may get it nevertheless. Then the program would end with a process half told
    # what to do.
    handler = signal.getsignal(signal.SIGINT)
    puts_off = callable(handler) and threading.current_thread() is threading.main_thread()
    if puts_off:
        signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield
    finally:
        if puts_off:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if noted:
            signal.raise_signal(signal.SIGINT)


def _hand_out(worker: _Worker, work: Work, waiting: list[int]) -> None:
    worker.part, worker.items_done, worker.items_told = waiting.pop() if waiting else None, 0, 0
    if worker.part is not None:
        _send(worker, work, worker.part)


def _take(
    worker: _Worker,
    work: Work,
    waiting: list[int],
    done: Callable[[int], None],
    kind: int,
    value: Any,
) -> None:
    if kind == _ITEM:
        worker.items_done += 1
        if worker.items_done > worker.items_told:
            done(value)
    elif kind == _PART:
        _hand_out(worker, work, waiting)
    elif kind == _MISTAKE:
        raise value
    else:
        raise DataError(f"Converting {_item(worker, work)} failed:\n\n{value}")


def _send(worker: _Worker, work: Work, message: Any) -> None:
    try:
        worker.connection.send(message)
    except OSError as error:
        raise _died(worker, work) from error


def _item(worker: _Worker, work: Work) -> str:
    """Names the item that a process is at."""
    if worker.part is None:
        return "nothing yet"
    items = work.items(worker.part)
    return work.describe(items[min(worker.items_done, len(items) - 1)])


def _died(worker: _Worker, work: Work) -> BaseException:
    # It has closed its end, so it is as good as gone.
    worker.process.join(timeout=10)
    code = worker.process.exitcode
    if code == -signal.SIGINT:  # Ctrl-C, which reaches every process of a terminal.
        return KeyboardInterrupt()
    if code is None:
        how = "closed its connection"
    elif code >= 0:
        how = f"ended by itself, with exit code {code}"
    else:
        how = f"was killed by {signal.Signals(-code).name}"
    mend = "What it printed last stands above."
    if code == -signal.SIGKILL:
        mend = (
            "That is how a system ends processes when memory runs out: fewer --workers need less. "
            "If it is always the same one, put an empty file in its place."
        )
    return DataError(
        f"A process (process id {worker.process.pid}) {how}, at {_item(worker, work)}. {mend} "
        "What was done is kept: the same command goes on from there."
    )


def _serve(connection: Connection) -> None:
    """What a process does: parts, until nobody asks any more."""
    # Ctrl-C ends it at once, and silently: the program says what there is to say. Where the program
    # was told to ignore it (nohup, a shell's background job), so is this process.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # See `_interrupts_later`.
    os.environ["JAX_PLATFORMS"] = "cpu"  # Should anything use JAX: the accelerator is not for it.
    try:
        work = connection.recv()

        def done(item: int) -> None:
            connection.send((_ITEM, item))
            _allow_seconds()

        while True:
            part = connection.recv()
            _allow_seconds()
            try:
                work.do(part, done)
                answer: tuple[int, Any] = (_PART, part)
            except UserError as error:
                answer = (_MISTAKE, error)
            except ConnectionError:
                raise
            except BaseException as error:
                answer = (_CRASH, "".join(traceback.format_exception(error)).rstrip())
            connection.send(answer)
    except (EOFError, ConnectionError):
        return  # The program is gone.


def _allow_seconds() -> None:
    """Has the system end this process, by SIGXCPU, if the next item takes it too long."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(time.process_time()) + _MOST_SECONDS
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted, most))
