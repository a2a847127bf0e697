"""Checkpoints of a run: written by Orbax in the background, atomic, kept by a rule.

    DIR/400/state/...    arrays
    DIR/400/config/...   the experiment's config as JSON, so that a checkpoint explains itself

Orbax writes under a temporary name and renames when all is on the disk, and what is to be deleted
is renamed first; so a directory named by a number is a whole checkpoint, wherever the process was
killed. A checksum of every array is written beside it, because compressed arrays with a flipped
bit can be read without complaint. Where a checkpoint cannot be read, or does not add up, reading
goes on with the one before it, and says so.

A save that fails (a full disk) is told of, and training goes on to the next one. After a few in a
row, or where nothing comes after it, it is an error.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from perceiver_jax.checkpoints.anchor import Anchor
from perceiver_jax.checkpoints.checksums import checksums
from perceiver_jax.checkpoints.directory import clear_leftovers, delete, set_aside, steps_in
from perceiver_jax.checkpoints.failures import describe
from perceiver_jax.checkpoints.processes import ALONE, Processes, first_given
from perceiver_jax.checkpoints.reading import ARRAYS, CHECKSUMS, Reader, Unreadable
from perceiver_jax.checkpoints.saving import Outcome, Saver
from perceiver_jax.errors import CheckpointError

T = TypeVar("T")
Keep = Callable[[Sequence[int]], Collection[int]]

MAX_FAILURES = 3  # Failed saves in a row that end a run.

_UNPLANNED = "unplanned"  # The remark on checkpoints that an uninterrupted run would not have.


class CheckpointStore:
    """The checkpoints in one directory."""

    def __init__(
        self,
        directory: Path,
        *,
        keep: Keep | None = None,
        read_only: bool = False,
        report: Callable[[str], None] = print,
        processes: Processes = ALONE,
    ):
        """Opens a directory of checkpoints, and clears away what a killed process left half done.

        Args:
          directory: made, unless read_only.
          keep: takes the steps that have a checkpoint, in order, and returns those that stay. The
            newest one always stays. None keeps all.
          read_only: promises that `save` is not called, and leaves the directory as it is.
          report: takes a line for the user, when a checkpoint is damaged or a save fails.
          processes: those that save and restore together.

        Raises:
          CheckpointError: the directory cannot be made.
        """
        self.directory = Path(directory).absolute()
        self.keep = keep
        self._processes = processes
        self._report = report if processes.primary else lambda line: None
        self._read_only = read_only
        self._reader = Reader(processes)
        self._planned: dict[int, bool] = {}
        self._failures = 0  # In a row, the newest save among them.
        self._failed: Outcome | None = None  # The newest save, where it failed.
        self._anchor: Anchor | None = None
        self._saver: Saver | None = None
        if not read_only:
            self._open()

    def _open(self) -> None:
        problem = None
        try:
            if self._processes.primary:
                self.directory.mkdir(parents=True, exist_ok=True)
                clear_leftovers(self.directory)
        except OSError as error:
            problem = describe(error).reason
        problem = first_given(self._processes.agree(problem))
        if problem is None:
            try:
                self._anchor = Anchor(self.directory)
            except OSError as error:
                problem = describe(error).reason
            problem = first_given(self._processes.agree(problem))
        if problem is not None:
            raise CheckpointError(
                f"The directory {self.directory} for checkpoints cannot be made: {problem}. With "
                "several hosts, all of them must see the same file system there."
            )
        assert self._anchor is not None
        self._saver = Saver(self._anchor.inside, self._processes)

    def steps(self) -> list[int]:
        """Returns the steps that have a whole checkpoint, in order."""
        return steps_in(self.directory)

    # ---- Saving ----------------------------------------------------------------------------------

    def save(
        self,
        step: int,
        state: Any,
        config: Mapping[str, Any],
        *,
        planned: bool = True,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Begins to write a checkpoint; the arrays may be changed once this returns.

        Args:
          step: its name.
          state: a tree of arrays.
          config: JSON values that stand beside it.
          planned: whether an uninterrupted run has this checkpoint too. One that it does not have
            stays only while it is the newest, and the rule never hears of it.
          before: called first; where it raises OSError, nothing is written, and that counts as a
            failed save.

        Raises:
          CheckpointError: saving failed too often, or in a way that does not pass; or the
            directory has vanished.
        """
        if self._saver is None:
            raise ValueError("This store was opened read_only.")
        self._settle()
        self._planned[step] = planned
        saved = {ARRAYS: state, CHECKSUMS: checksums(state)}
        remarks = {} if planned else {_UNPLANNED: True}
        if not self._saver.begin(step, saved, config, remarks, before):
            self._settle()

    def look(self) -> None:
        """Tells of a save that has failed, or deletes what one that is done makes superfluous.

        Cheap, and asks no other process: meant for every step, outside of evaluations.
        """
        outcome = self._saver.news() if self._saver else None
        if outcome is None:
            return
        if outcome.failure is None:
            self.tidy()
        else:
            self._tell(outcome)

    def wait(self) -> None:
        """Returns when all that was saved is on the disk.

        Raises:
          CheckpointError: the last save failed, or the directory has vanished.
        """
        self._settle()
        if self._failed is not None:
            raise CheckpointError(self._words(self._failed) + self._verdict())
        self.tidy()

    def join(self) -> None:
        """Waits for the save under way to end, well or not, so that `steps` can be relied upon."""
        if self._saver is not None:
            self._saver.join()

    def close(self) -> None:
        """Waits and frees the threads; a save that failed is reported, not raised.

        Asks no other process: one that fails on its own closes too, and would wait for an answer
        from the others, which wait for it in their next step.
        """
        if self._saver is not None:
            self._saver.join()
            outcome = self._saver.news()
            if outcome is not None and outcome.failure is not None:
                self._report(self._words(outcome))
            self._saver.close()
            self._saver = None
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        self._reader.close()

    def _settle(self) -> None:
        """Waits for the save under way, and judges how it ended; deletes what need not stay."""
        if self._saver is None or self._anchor is None:
            return
        outcome = self._saver.settle()
        lost = first_given(self._processes.agree(self._anchor.lost()))
        if lost is not None:
            raise CheckpointError(lost)
        if outcome is None:
            return
        if outcome.failure is None:
            self._failures, self._failed = 0, None
            self.tidy()
            return
        self._failures += 1
        self._failed = outcome
        if outcome.failure.lasting or self._failures >= MAX_FAILURES:
            raise CheckpointError(self._words(outcome) + self._verdict())
        if not outcome.reported:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self._report(
            f"{self._words(outcome)} Training goes on, and the next one that is due is tried."
        )

    def _words(self, outcome: Outcome) -> str:
        assert outcome.failure is not None
        return (
            f"Saving checkpoint {outcome.step} in {self.directory} failed: "
            f"{outcome.failure.reason}. {outcome.failure.mend}"
        ).rstrip()

    def _verdict(self) -> str:
        often = f" It was the failure number {self._failures} in a row." * (self._failures > 1)
        steps = self.steps()
        if not steps:
            return f"{often} There is no checkpoint yet; run the same command again to start over."
        return (
            f"{often} The last good checkpoint is of step {steps[-1]}; run the same command again "
            "to go on from there."
        )

    # ---- Deleting --------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Deletes the checkpoints that the rule does not keep. Done by the primary alone."""
        if self.keep is None or self._read_only or not self._processes.primary:
            return
        steps = self.steps()
        planned = [step for step in steps if self._is_planned(step)]
        stay = {*self.keep(planned), *steps[-1:]}
        for step in steps:
            if step in stay:
                continue
            try:
                delete(self.directory, step)
            except OSError as error:
                self._report(
                    f"Checkpoint {step} in {self.directory} cannot be deleted: "
                    f"{describe(error).reason}."
                )

    def _is_planned(self, step: int) -> bool:
        if step not in self._planned:
            remarks = self._reader.remarks(self.directory / str(step))
            self._planned[step] = not remarks.get(_UNPLANNED, False)
        return self._planned[step]

    # ---- Restoring -------------------------------------------------------------------------------

    def restore(self, step: int, abstract: T) -> T:
        """Reads the checkpoint of one step.

        Args:
          step: which one.
          abstract: the tree of `jax.ShapeDtypeStruct` with shardings that is expected; arrays come
            to lie where these say, on however many devices there are now.

        Raises:
          CheckpointError: there is none for this step, or it cannot be read.
        """
        steps = self._processes.agree(self.steps())[0]
        if step not in steps:
            have = ", ".join(map(str, steps)) or "no checkpoint"
            raise CheckpointError(f"{self.directory} has no checkpoint {step}; it has: {have}.")
        try:
            return self._reader.state(self.directory / str(step), abstract)
        except Unreadable as error:
            raise CheckpointError(
                f"The checkpoint {self.directory / str(step)} cannot be read: {error}"
            ) from error

    def restore_latest(self, abstract: T) -> tuple[int, T] | None:
        """Reads the newest checkpoint that can be read; None if there is none at all.

        A damaged one is reported and, unless read_only, moved to `DIR/../damaged`, so that its
        step can be written again. One that any process cannot read is damaged for all.

        Raises:
          CheckpointError: there are checkpoints, and none of them can be read.
        """
        failures: dict[int, str] = {}
        for step in reversed(self._processes.agree(self.steps())[0]):
            try:
                state = self._reader.state(self.directory / str(step), abstract)
            except Unreadable as error:
                failures[step] = str(error)
                continue
            for damaged, reason in failures.items():
                where = ""
                if self._processes.primary and not self._read_only:
                    where = f" ({set_aside(self.directory, damaged)})"
                self._report(
                    f"Checkpoint {damaged} is damaged{where}: {reason}\n"
                    f"Falling back to checkpoint {step}."
                )
            return step, state
        if failures:
            listed = "\n".join(f"  {step}: {reason}" for step, reason in failures.items())
            raise CheckpointError(
                f"None of the checkpoints in {self.directory} can be read:\n{listed}\n"
                "If the model's code changed since, use the version that wrote them. To start "
                "over, delete the work directory or choose another one."
            )
        return None

    def config(self, step: int) -> dict[str, Any]:
        """Returns the JSON values that were saved beside the checkpoint of a step.

        Raises:
          CheckpointError: they cannot be read.
        """
        path = self.directory / str(step)
        try:
            return self._reader.config(path)
        except Unreadable as error:
            raise CheckpointError(f"The config in {path} cannot be read: {error}") from error

    def read_tree(self, step: int | None = None) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Reads a checkpoint without knowing what is in it, on the default device.

        Args:
          step: which one; None is the newest that can be read.

        Returns:
          The step, nested dicts of arrays in place of the containers that were saved, and the
          JSON values beside them.

        Raises:
          CheckpointError: there is no such checkpoint, or it cannot be read.
        """
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            have = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(
                f"{self.directory} has no checkpoint{'' if step is None else f' {step}'}; it has: "
                f"{have}."
            )
        failures: list[str] = []
        for each in reversed(steps) if step is None else [step]:
            path = self.directory / str(each)
            try:
                tree = self._reader.state(path, self._reader.abstract(path))
                config = self._reader.config(path)
            except Unreadable as error:
                failures.append(f"Checkpoint {each} is damaged: {error}")
                continue
            for failure in failures:
                self._report(f"{failure}\nFalling back to checkpoint {each}.")
            return each, tree, config
        raise CheckpointError(
            f"No checkpoint in {self.directory} can be read:\n  " + "\n  ".join(failures)
        )
