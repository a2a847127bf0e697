"""Processes that work through numbered parts of a list, and say after each item that it is done.

So the program can show progress by items, and name the item at which a process died: one that
filled the memory, say. A process ends when the program does, at the next item.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from perceiver_jax.errors import DataError, UserError

_ITEM, _PART, _MISTAKE, _CRASH = range(4)  # What a process sends.


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


@dataclasses.dataclass
class _Worker:
    process: Any  # The start method's Process.
    connection: Connection
    part: int | None = None  # What it is at.
    items_done: int = 0  # Of this part.


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
      DataError: a process died, or its code failed; names the item.
      UserError: what `work.do` raised.
    """
    waiting = list(reversed(parts))
    context = multiprocessing.get_context("spawn")  # A fork would inherit other threads' locks.
    workers: dict[Connection, _Worker] = {}
    resource_tracker.ensure_running()  # Starting it later would unblock signals.
    try:
        for number in range(min(num_workers, len(parts))):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs,), name=f"converting {number}", daemon=True
            )
            with _interrupts_later():  # While the process imports, one would be a traceback.
                process.start()
                theirs.close()  # Now the process has the only one, and takes it along.
                workers[ours] = _Worker(process, ours)
        for worker in workers.values():
            _send(worker, work, work)
            _hand_out(worker, work, waiting)
        while any(worker.part is not None for worker in workers.values()):
            busy = [each for each, worker in workers.items() if worker.part is not None]
            for connection in wait(busy):
                assert isinstance(connection, Connection)
                _take(workers[connection], work, waiting, done)
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.join()
            worker.connection.close()


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
    worker.part, worker.items_done = (waiting.pop() if waiting else None), 0
    if worker.part is not None:
        _send(worker, work, worker.part)


def _take(worker: _Worker, work: Work, waiting: list[int], done: Callable[[int], None]) -> None:
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError) as error:
        raise _died(worker, work) from error
    if kind == _ITEM:
        worker.items_done += 1
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
            "If it is always the same one, take it away."
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
        while True:
            part = connection.recv()
            try:
                work.do(part, lambda item: connection.send((_ITEM, item)))
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
