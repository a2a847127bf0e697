"""The work directory of a run: whose it is, that one process uses it, and what it holds.

config.json           the experiment
class_names.json      what the data call their classes, if they have names
initial_weights.json  where the values came from that it started with
metrics.jsonl         a line for each logged step and each evaluation
per_class/            what each evaluation found of single classes, for tasks that tell
checkpoints/          the checkpoints that the rule keeps
final_metrics.json    the result; there only when the run is complete
per_class.json        what the result's evaluation found of single classes
curves.png            a picture of the metrics
environment.jsonl     a line for each start: versions, devices, the code's commit
report.html           all of it on one page
"""

import contextlib
import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints.anchor import Anchor
from perceiver_jax.checkpoints.failures import describe
from perceiver_jax.checkpoints.load import CLASS_NAMES
from perceiver_jax.checkpoints.processes import ALONE, Processes, first_given
from perceiver_jax.data.shown import NamesClasses
from perceiver_jax.errors import CheckpointError, ConfigError, UserError
from perceiver_jax.train.config import NEUTRAL_FIELDS, ExperimentConfig, changes_trajectory

INITIAL_WEIGHTS = "initial_weights.json"


class Workdir:
    """A work directory, claimed for one experiment until `close`.

    Of several processes, which share it, the primary claims it and writes the small files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        config: ExperimentConfig,
        *,
        processes: Processes = ALONE,
        report: Callable[[str], None] = print,
    ):
        """Makes the directory if need be, and claims it; `record` makes it a run's.

        Args:
          path: the directory.
          config: the experiment.
          processes: those of the run. If the primary is refused, all of them are.
          report: takes a line for the user.

        Raises:
          CheckpointError: it cannot be written, or another process uses it.
          ConfigError: it belongs to another experiment, or the processes have different ones.
        """
        _check_same(config, processes)
        self.path = Path(path).absolute()
        self.config_path = self.path / "config.json"
        self.initial_weights_path = self.path / INITIAL_WEIGHTS
        self.metrics_path = self.path / "metrics.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.final_metrics_path = self.path / "final_metrics.json"
        self.curves_path = self.path / "curves.png"
        self.report_path = self.path / "report.html"
        self._processes = processes
        self._report = report
        self._lock: TextIO | None = None
        self._claim_text = ""
        self._anchor: Anchor | None = None
        refusal: UserError | None = None
        try:
            if processes.primary:
                self._lock = self._claim()
                self._check_config(config)
        except UserError as error:
            refusal = error
        except BaseException:
            self.close()
            raise
        told = first_given(processes.agree(None if refusal is None else str(refusal)))
        if told is None:
            try:
                self._anchor = Anchor(self.path)
            except OSError as error:
                refusal = CheckpointError(
                    f"The work directory {self.path} cannot be opened: {describe(error).reason}. "
                    "With several hosts, all of them must see the same file system there."
                )
            told = first_given(processes.agree(None if refusal is None else str(refusal)))
        if told is not None:
            self.close()
            raise refusal or CheckpointError(f"Another process of this run was refused: {told}")

    def _claim(self) -> TextIO:
        lock_path = self.path / ".lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = lock_path.open("a+")
        except (FileExistsError, NotADirectoryError) as error:
            file = next(each for each in (self.path, *self.path.parents) if each.exists())
            raise CheckpointError(
                f"The work directory {self.path} cannot be made: {file} is a file, not a "
                "directory; choose another --workdir."
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"The work directory {self.path} cannot be written: {error.strerror}. Choose "
                "another one with --workdir=DIR, or change its owner or permissions."
            ) from error
        try:
            self._take(lock)
        except BaseException:
            lock.close()
            raise
        return lock

    def _take(self, lock: TextIO) -> None:
        try:
            # The kernel drops the lock when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.readline().strip()
            raise CheckpointError(
                f"The work directory {self.path} is in use"
                f"{' by ' + holder if holder else ' by another process'}. Wait until it is done, "
                "stop it, or choose another directory with --workdir=DIR."
            ) from error
        except OSError as error:
            self._report(
                f"The work directory {self.path} cannot be locked ({error.strerror}): see to it "
                "that no second process uses it. One that does stops this one."
            )
        # The second line tells this claim from one of a process of the same name and number, as
        # they are common in containers.
        self._claim_text = (
            f"process {os.getpid()} on {socket.gethostname()}\n{os.urandom(8).hex()}\n"
        )
        try:
            lock.truncate(0)
            lock.write(self._claim_text)
            lock.flush()
        except OSError as error:
            raise _refused(self.path / ".lock", error) from error

    def check(self) -> None:
        """Makes sure, before a write, that this is still the directory that was claimed.

        Raises:
          CheckpointError: it was deleted, moved or unmounted, or another process has claimed it,
            which can happen on file systems where hosts do not see each other's locks.
        """
        assert self._anchor is not None
        self._anchor.check()
        if self._lock is None:
            return
        try:
            text = (self.path / ".lock").read_text()
        except FileNotFoundError:
            # Somebody is deleting the directory: what is in it goes first.
            raise CheckpointError(
                f"The work directory {self.path} is being deleted: its .lock is gone. Nothing more "
                "of this run can be saved. Choose another --workdir, and run the command again."
            ) from None
        except OSError as error:
            raise _refused(self.path / ".lock", error) from error
        if text != self._claim_text:
            holder = text.partition("\n")[0] or "another process"
            raise CheckpointError(
                f"The work directory {self.path} was taken over by {holder}; this run stops, so "
                "that only one writes there."
            )

    def record(self, config: ExperimentConfig) -> None:
        """Writes config.json, which makes this the directory of a run, and the classes' names.

        Once a run can start, and before anything else is written: a start that fails, for want of
        its data or with numbers that do not fit, leaves nothing that looks like a run.

        Args:
          config: the experiment that it was claimed for.

        Raises:
          CheckpointError: it cannot be written; on all processes.
        """
        refusal: UserError | None = None
        try:
            if self._processes.primary:
                self.check()
                write_json(self.config_path, config_lib.to_dict(config))
                self._record_class_names(config)
        except UserError as error:
            refusal = error
        told = first_given(self._processes.agree(None if refusal is None else str(refusal)))
        if told is not None:
            raise refusal or CheckpointError(f"Another process of this run was refused: {told}")

    def _record_class_names(self, config: ExperimentConfig) -> None:
        """Keeps the names with the run: who loads its weights may not have its data."""
        try:
            names = list(config.data.class_names()) if isinstance(config.data, NamesClasses) else []
        except UserError:  # A complete run does without its data, and has the names already.
            return
        if names:
            write_json(self.path / CLASS_NAMES, {"class_names": names})

    def _holds_results(self) -> bool:
        """Says whether a run got as far as to leave something that is worth keeping."""
        saved = self.checkpoints_path.glob("[0-9]*")
        return self.final_metrics_path.exists() or any(path.name.isdigit() for path in saved)

    def _check_config(self, config: ExperimentConfig) -> None:
        if not self._holds_results():
            return  # A mistake in the config, mended since: the directory is free to take.
        if not self.config_path.exists():
            raise ConfigError(
                f"{self.path} holds a run without its config.json, so it cannot be told "
                "whether it is this experiment. Choose another directory with --workdir=DIR."
            )
        old = read_config(self.path)
        changes = [
            (path, before, now)
            for path, before, now in config_lib.diff(old, config)
            if changes_trajectory(path)
        ]
        if changes:
            raise ConfigError(
                f"The work directory {self.path} belongs to another experiment "
                f"({old.name!r}):\n{_listed(changes, 'there', 'now')}\n"
                "Choose another directory with --workdir=DIR, or delete this one to start over."
            )

    def final_metrics(self) -> dict[str, Any] | None:
        """Returns the result if the run is complete; the same on every process."""
        final = None
        if self._processes.primary and self.final_metrics_path.exists():
            final = json.loads(self.final_metrics_path.read_text())
        return self._processes.agree(final)[0]

    def write_final_metrics(self, final: Mapping[str, Any]) -> None:
        """Writes the result, and so says that the run is complete.

        Raises:
          CheckpointError: it cannot be written, or the directory has vanished.
        """
        if self._processes.primary:
            self.check()
            write_json(self.final_metrics_path, final)

    def close(self) -> None:
        """Gives the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None


def read_config(
    path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """Returns the experiment that a work directory belongs to.

    Args:
      path: the directory.
      changes: of fields that change nothing of what is learned, by dotted name, such as of
        "data.points.data_dir" where the data have moved; they are not written.

    Raises:
      CheckpointError: there is no run in this directory.
      ConfigError: the config was written by another version, or by hand, and does not fit; or a
        change would make another experiment of it.
    """
    file = Path(path) / "config.json"
    if not file.exists():
        raise CheckpointError(
            f"{Path(path)} is no work directory of a run: it has no config.json. Give the "
            "directory that `python -m perceiver_jax.train` was given as --workdir."
        )
    try:
        config = config_lib.from_dict(json.loads(file.read_text()))
    except (ValueError, ConfigError) as error:  # ValueError: no JSON, or no text at all
        raise ConfigError(f"{file} cannot be read as a config: {error}") from error
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(f"{file} holds a {type(config).__name__}, not an ExperimentConfig.")
    return _changed(config, changes) if changes else config


def _changed(config: ExperimentConfig, changes: Mapping[str, Any]) -> ExperimentConfig:
    """Returns a run's config with changes that it allows.

    Raises:
      ConfigError: there is no such field, or it is part of what was learned.
    """
    changed = config_lib.override(config, changes)
    for path, before, now in config_lib.diff(config, changed):
        if changes_trajectory(path):
            raise ConfigError(
                f"config.{path} is {_short(before)} in this run, and {_short(now)} would be "
                "another experiment. Of a run, only that can be changed which changes nothing of "
                f"what is learned, such as {_such_as(config)}."
            )
    return changed


def _such_as(config: ExperimentConfig) -> str:
    """Names fields of a config that may be changed: where its data lie, if it says."""
    places = [
        f"--config.{path}"
        for path in NEUTRAL_FIELDS
        if path.startswith("data.") and _has(config, path)
    ]
    if not places:
        return "--config.trainer.eval_batch_size"
    return f"where its data are ({', '.join(places)})"


def _has(config: Any, path: str) -> bool:
    for name in path.split("."):
        if not hasattr(config, name):
            return False
        config = getattr(config, name)
    return True


def _check_same(config: ExperimentConfig, processes: Processes) -> None:
    """Makes sure that all processes of a run were given the same experiment.

    They would compute different things, or wait for each other where only some evaluate or save.

    Raises:
      ConfigError: they were not; on all of them.
    """
    encoded = config_lib.to_dict(config)
    text = json.dumps(encoded, sort_keys=True)
    digests = processes.agree(hashlib.sha256(text.encode()).hexdigest())
    if len(set(digests)) == 1:
        return
    first = config_lib.from_dict(processes.agree(encoded)[0])
    changes = config_lib.diff(first, config)
    found = f":\n{_listed(changes, 'in process 0', 'here')}" if changes else "."
    raise ConfigError(
        f"The processes of this run have different configurations{found}\n"
        "Start all of them with the same experiment file and the same flags."
    )


def _listed(changes: Sequence[tuple[str, Any, Any]], there: str, here: str) -> str:
    shown = [
        f"  {path}: {_short(before)} {there}, {_short(now)} {here}"
        for path, before, now in changes[:20]
    ]
    more = [f"  and {len(changes) - 20} more"] if len(changes) > 20 else []
    return "\n".join(shown + more)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a JSON file at once or not at all.

    Raises:
      CheckpointError: the file system refuses it.
    """
    replacement = path.with_name(path.name + ".tmp")
    try:
        with replacement.open("w") as file:
            file.write(json.dumps(data, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(replacement, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            replacement.unlink(missing_ok=True)
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> CheckpointError:
    failure = describe(error)
    return CheckpointError(
        f"{path} cannot be written: {failure.reason}. "
        + (f"{failure.mend} Then run" if failure.mend else "Run")
        + " the same command again."
    )


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
