"""Writes one checkpoint after the other, in the background, and finds out how that ended.

Orbax writes under a temporary name and renames when all is on the disk. An error of its background
thread would come out of some later call of its own; here a thread waits for the end of each save,
so that the next look finds it.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from perceiver_jax.checkpoints.directory import clear_leftovers
from perceiver_jax.checkpoints.failures import Failure, describe
from perceiver_jax.checkpoints.processes import Processes, first_given
from perceiver_jax.checkpoints.quiet import TEMPORARY, mute
from perceiver_jax.checkpoints.reading import CONFIG, STATE
from perceiver_jax.errors import CheckpointError, UserError

# Orbax measures its time limit by the wall clock, which may jump. One process waits for nobody,
# and needs no limit; of several, a jump costs one save.
_NO_LIMIT = 100 * 365 * 24 * 3600  # Seconds.
_LIMIT = 1200  # Seconds.


class Outcome(NamedTuple):
    """How a save ended."""

    step: int
    failure: Failure | None  # The same on every process.
    reported: bool  # Whether `news` has told of the failure.


class Saver:
    """Writes the checkpoints of a store."""

    def __init__(self, directory: Path, processes: Processes):
        self._directory = directory
        self._processes = processes
        self._checkpointer = _make_checkpointer()
        self._step: int | None = None  # Being written, or written and not settled.
        self._error: BaseException | None = None
        self._waiter: threading.Thread | None = None
        self._seen = False
        mute()

    def begin(
        self,
        step: int,
        arrays: Any,
        config: Mapping[str, Any],
        remarks: Mapping[str, Any],
        before: Callable[[], None],
    ) -> bool:
        """Begins to write DIR/STEP; the arrays may be changed once this returns.

        A failure, also one on the spot, is kept for `settle`, which is called before the next.

        Args:
          step: the name.
          arrays: what is saved.
          config: JSON values beside it.
          remarks: JSON values that `Reader.remarks` gives back.
          before: called on every process; where it raises OSError, that is the save's failure.

        Returns:
          Whether it began; the same on every process. If not, `settle` will not have to wait.

        Raises:
          CheckpointError: `before` raised a UserError, on any process.
        """
        assert self._step is None
        self._step, self._error, self._waiter, self._seen = step, None, None, False
        refusal = None
        try:
            before()
            if self._processes.primary:
                self._try_directory()
        except UserError as error:
            refusal = str(error)
        except OSError as error:
            self._error = error
        # Those that could go on would wait for the others in Orbax.
        answers = self._processes.agree([refusal, self._error is not None])
        refusal = first_given([text for text, _ in answers])
        if refusal is not None:
            self._step = self._error = None
            raise CheckpointError(refusal)
        if any(failed for _, failed in answers):
            return False
        try:
            self._checkpointer.save(
                self._directory / str(step),
                args=ocp.args.Composite(
                    **{
                        STATE: ocp.args.StandardSave(arrays),
                        CONFIG: ocp.args.JsonSave(dict(config)),
                    }
                ),
                custom_metadata=dict(remarks),
            )
        except Exception as error:  # Orbax fails in many ways.
            self._error = error
            return True
        self._waiter = threading.Thread(target=self._wait, name="checkpoint", daemon=True)
        self._waiter.start()
        return True

    def news(self) -> Outcome | None:
        """Returns how the save under way has ended, as this process sees it, once; else None."""
        ended = self._waiter is None or not self._waiter.is_alive()
        if self._step is None or self._seen or not ended:
            return None
        self._seen = True
        failure = None if self._error is None else describe(self._error)
        return Outcome(self._step, failure, reported=False)

    def join(self) -> None:
        """Waits for the save under way to end, well or not; its outcome is still to be settled."""
        if self._waiter is not None:
            self._waiter.join()

    def settle(self) -> Outcome | None:
        """Waits for the save under way, and returns how it ended; None if there was none."""
        if self._step is None:
            return None
        self.join()
        found = None if self._error is None else list(describe(self._error))
        found = first_given(self._processes.agree(found))
        failure = None if found is None else Failure(*found)
        outcome = Outcome(self._step, failure, self._seen and self._error is not None)
        if failure is not None:
            self._renew()
        self._clear()
        self._step = self._error = self._waiter = None
        return outcome

    def close(self) -> None:
        """Frees the threads; call `settle` or `join` first."""
        self._clear()
        self._checkpointer.close()

    def _wait(self) -> None:
        try:
            self._checkpointer.wait_until_finished()
        except BaseException as error:
            self._error = error

    def _try_directory(self) -> None:
        """Makes a directory and removes it: this fails in plain words, and on one process."""
        probe = self._directory / f"{self._step}{TEMPORARY}-probe"
        os.mkdir(probe)
        os.rmdir(probe)

    def _clear(self) -> None:
        """Removes what failed saves have left: it takes the space that the next try needs.

        Parts of a save that Orbax has given up may still write, and make it anew; so this is done
        after every save, and not only after one that failed.
        """
        if self._processes.primary:
            with contextlib.suppress(OSError):
                clear_leftovers(self._directory)

    def _renew(self) -> None:
        """Starts anew: after a failure Orbax keeps parts of it, which would fail the next save."""
        with contextlib.suppress(Exception):
            self._checkpointer.close()
        self._checkpointer = _make_checkpointer()


def _make_checkpointer() -> ocp.AsyncCheckpointer:
    count = jax.process_count()
    among = ocp.options.MultiprocessingOptions(
        # Named one by one: barriers then go through the coordinator, and have a time limit.
        active_processes=set(range(count)) if count > 1 else None
    )
    asynchronous = ocp.AsyncOptions(
        timeout_secs=_LIMIT if count > 1 else _NO_LIMIT,
        # Else a directory that cannot be made keeps the writers waiting for minutes.
        create_directories_asynchronously=False,
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(
            multiprocessing_options=among, async_options=asynchronous
        ),
        **{
            STATE: ocp.StandardCheckpointHandler(multiprocessing_options=among),
            CONFIG: ocp.JsonCheckpointHandler(multiprocessing_options=among),
        },
    )
    return ocp.AsyncCheckpointer(handler, async_options=asynchronous, multiprocessing_options=among)
