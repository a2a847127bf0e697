"""The work directory of a run: whose it is, that one process uses it, and what it holds.

config.json           the experiment
initial_weights.json  where the values came from that it started with
metrics.jsonl         a line for each logged step and each evaluation
checkpoints/          the last few checkpoints
final_metrics.json    the result; there only when the run is complete
curves.png            a picture of the metrics
environment.jsonl     a line for each start: versions, devices, the code's commit
report.html           all of it on one page
"""

import fcntl
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from perceiver_jax import config as config_lib
from perceiver_jax.errors import CheckpointError, ConfigError
from perceiver_jax.train.config import ExperimentConfig, changes_trajectory


class Workdir:
    """A work directory, claimed by this process for one experiment until `close`."""

    def __init__(self, path: str | os.PathLike[str], config: ExperimentConfig):
        """Makes the directory if need be, and claims it.

        Raises:
          CheckpointError: it cannot be written, or another process uses it.
          ConfigError: it belongs to another experiment.
        """
        self.path = Path(path).absolute()
        self.config_path = self.path / "config.json"
        self.initial_weights_path = self.path / "initial_weights.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.final_metrics_path = self.path / "final_metrics.json"
        self.curves_path = self.path / "curves.png"
        self.report_path = self.path / "report.html"
        self._lock = self._claim()
        try:
            self._check_config(config)
            write_json(self.config_path, config_lib.to_dict(config))
        except BaseException:
            self.close()
            raise

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
            # The kernel drops the lock when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise CheckpointError(
                f"The work directory {self.path} is in use"
                f"{' by ' + holder if holder else ' by another process'}. Wait until it is done, "
                "stop it, or choose another directory with --workdir=DIR."
            ) from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        return lock

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
            shown = "\n".join(
                f"  {path}: {_short(before)} there, {_short(now)} now"
                for path, before, now in changes[:20]
            )
            more = f"\n  and {len(changes) - 20} more" if len(changes) > 20 else ""
            raise ConfigError(
                f"The work directory {self.path} belongs to another experiment "
                f"({old.name!r}):\n{shown}{more}\n"
                "Choose another directory with --workdir=DIR, or delete this one to start over."
            )

    def final_metrics(self) -> dict[str, Any] | None:
        """Returns the result if the run is complete."""
        if not self.final_metrics_path.exists():
            return None
        return json.loads(self.final_metrics_path.read_text())

    def close(self) -> None:
        """Gives the directory back."""
        self._lock.close()


def read_config(path: str | os.PathLike[str]) -> ExperimentConfig:
    """Returns the experiment that a work directory belongs to.

    Raises:
      CheckpointError: there is no run in this directory.
      ConfigError: the config was written by another version, or by hand, and does not fit.
    """
    file = Path(path) / "config.json"
    if not file.exists():
        raise CheckpointError(
            f"{Path(path)} is no work directory of a run: it has no config.json. Give the "
            "directory that `python -m perceiver_jax.train` was given as --workdir."
        )
    try:
        config = config_lib.from_dict(json.loads(file.read_text()))
    except (json.JSONDecodeError, ConfigError) as error:
        raise ConfigError(f"{file} cannot be read as a config: {error}") from error
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(f"{file} holds a {type(config).__name__}, not an ExperimentConfig.")
    return config


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a JSON file at once or not at all."""
    replacement = path.with_name(path.name + ".tmp")
    with replacement.open("w") as file:
        file.write(json.dumps(data, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(replacement, path)


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
