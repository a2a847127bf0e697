"""Reader processes: the same readers, called beside the program instead of in a thread of it.

Python threads share one interpreter, which decoding in Python soon fills; processes do not. Each
is connected by one socket: a number goes there, a batch comes back. Whoever dies, however, closes
its end, also in the middle of a batch, and the other side knows at once. So

  * a reader that is killed is an error that says so, and never a program that waits for ever;
  * if the program itself is killed, its readers end too;
  * no shared memory is left behind, and none is needed: containers often have 64 MB of it.

Grain's own `mp_prefetch` was tried first (0.2.18). It waits for ever for a process that ends with
exit code 0, its processes live on when the program is killed, and it fails unless absl's flags
have been parsed, which a program that only calls `train` never does.

Readers ignore SIGINT and SIGTERM, which terminals and schedulers send to every process of a job:
the program decides when to stop, and saves first.
"""

import atexit
import dataclasses
import functools
import multiprocessing
import os
import queue
import signal
import traceback
import weakref
from collections.abc import Callable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from perceiver_jax.data.readers import Batch
from perceiver_jax.errors import ConfigError, DataError, UserError

_IGNORED = (signal.SIGINT, signal.SIGTERM)
_CHUNK = 1 << 20  # Bytes at once; more brings nothing.


@dataclasses.dataclass(frozen=True)
class _Sent:
    """Stands for an array whose bytes follow."""

    shape: tuple[int, ...]
    dtype: np.dtype


class ReaderPool:
    """Processes that call a reader. `read` may be called from as many threads as there are."""

    def __init__(self, reader: Callable[[int], Batch], num_processes: int):
        """Starts the processes.

        Args:
          reader: from a batch's number to the batch; must be picklable.
          num_processes: how many.

        Raises:
          DataError: the reader is not picklable.
          ConfigError: this system has no Unix sockets to connect processes by.
        """
        if not hasattr(os, "readv"):
            raise ConfigError(
                "trainer.reader_processes needs a Unix system. Set it to 0 here, and let "
                "trainer.reader_threads read."
            )
        self._workers = [_Worker() for _ in range(num_processes)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        # Before multiprocessing's own hook, which would ask politely, and wait.
        self._at_exit = functools.partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)
        try:
            for worker in self._workers:
                worker.send_reader(reader)
                self._idle.put(worker)
        except BaseException:
            self.close()
            raise

    def read(self, number: int) -> Batch:
        """Returns reader(number), from whichever process is idle.

        Raises:
          DataError: the process has died; or what the reader raised.
        """
        worker = self._idle.get()
        try:
            return worker.read(int(number))
        finally:
            # Also if it is dead: whoever gets it next is told so too, and does not wait.
            self._idle.put(worker)

    def close(self) -> None:
        """Ends the processes; what they were reading is lost."""
        atexit.unregister(self._at_exit)
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.kill()


def _close(reference: weakref.ref[ReaderPool]) -> None:
    pool = reference()
    if pool is not None:
        pool.close()


class _Worker:
    """One process, as the program sees it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # A fork would inherit JAX's locks.
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs,), name="perceiver_jax reader", daemon=True
        )
        # It inherits what is blocked, and so gets no signal before it can ignore it. The tracker
        # must run already: starting it would unblock them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # Now the process has the only one, and takes it along when it dies.
        self._answered = False

    def send_reader(self, reader: Callable[[int], Batch]) -> None:
        try:
            self._connection.send(reader)
        except OSError as error:
            raise self._died() from error
        except Exception as error:  # pickle raises several kinds
            raise DataError(
                f"The data set cannot be sent to a reader process: {error}. Its config, source and "
                "augmentation must be picklable (classes at the top of a module, no open files "
                "or locks in the source); or set --config.trainer.reader_processes=0 and let "
                "trainer.reader_threads read."
            ) from error

    def read(self, number: int) -> Batch:
        try:
            self._connection.send(number)
            message = self._connection.recv()
            self._answered = True
            if isinstance(message, str):
                raise DataError(message)
            structure, corrupt = message
            return self._receive(structure), corrupt
        except (EOFError, OSError) as error:
            raise self._died() from error

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self, structure: Any) -> Any:
        """Fills the arrays of a batch straight from the socket."""
        if isinstance(structure, dict):
            return {name: self._receive(value) for name, value in structure.items()}
        if not isinstance(structure, _Sent):
            return structure
        array = np.empty(structure.shape, structure.dtype)
        rest = _bytes(array)
        while rest:
            count = os.readv(self._connection.fileno(), [rest])
            if not count:
                raise EOFError
            rest = rest[count:]
        return array

    def _died(self) -> DataError:
        # It has closed its end, so it is as good as gone.
        self._process.join(timeout=10)
        code = self._process.exitcode
        if code is None:
            how = "closed its connection"
        elif code >= 0:
            how = f"ended by itself, with exit code {code}"
        else:
            how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            mend = (
                "That is how a system ends processes when memory runs out: fewer "
                "--config.trainer.reader_processes or --config.trainer.prefetch_batches need less. "
            )
        elif not self._answered and code is not None and code > 0:
            mend = (
                "It had not read anything yet. If a script of your own started the training, its "
                'code must stand under `if __name__ == "__main__":`, since every reader process '
                "imports the script. "
            )
        else:
            mend = "What it printed last stands above. "
        return DataError(
            f"A reader process (process id {self._process.pid}) {how}. {mend}"
            "Run the same command again to go on from the newest checkpoint."
        )


def _serve(connection: Connection) -> None:
    """What a reader process does: it answers numbers with batches until nobody asks any more."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED)
    # Should a data set use JAX: the accelerator belongs to the program.
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        try:
            reader, broken = connection.recv(), None
        except EOFError:
            return
        except BaseException as error:
            broken = (
                f"A reader process cannot open the data set: {type(error).__name__}: {error}. Its "
                "classes must be in a module that can be imported, not in an experiment file; or "
                "set --config.trainer.reader_processes=0."
            )
        while True:
            try:
                number = connection.recv()
            except EOFError:
                return
            answer, arrays = (broken, []) if broken else _answer(reader, number)
            connection.send(answer)
            for array in arrays:
                rest = _bytes(array)
                while rest:
                    rest = rest[os.write(connection.fileno(), rest[:_CHUNK]) :]
    except ConnectionError:
        return  # The program is gone.


def _answer(reader: Callable[[int], Batch], number: int) -> tuple[Any, list[np.ndarray]]:
    """Returns what is sent first, and the arrays whose bytes follow it."""
    try:
        batch, corrupt = reader(number)
        arrays: list[np.ndarray] = []
        return (_take_apart(batch, arrays), corrupt), arrays
    except UserError as error:
        return str(error), []
    except BaseException as error:
        frames = "".join(traceback.format_exception(error)).rstrip()
        return f"Reading batch {number} failed with {type(error).__name__}:\n\n{frames}", []


def _take_apart(batch: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(batch, dict):
        return {name: _take_apart(value, arrays) for name, value in batch.items()}
    if batch.dtype.hasobject:
        return batch
    arrays.append(np.ascontiguousarray(batch))
    return _Sent(batch.shape, batch.dtype)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
