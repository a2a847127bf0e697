"""What evaluations found of single classes, as JSON beside the metrics.

A run keeps such a table of each evaluation, per_class/STEP.json, written before the evaluation's
line in metrics.jsonl: so whichever evaluation becomes the result (train/result.py), after any
interruption, its table is there. That of the result stands as per_class.json beside
final_metrics.json.

    {"name": ..., "step": ..., "split": ..., "classes": [{"name": "Speech", "positives": 7, ...}]}

Classes are in the order of the labels; a value that a class does not have is null.
"""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.atomic import replacing
from perceiver_jax.data.shown import class_names
from perceiver_jax.errors import CheckpointError, ConfigError, UserError
from perceiver_jax.tasks.base import Collects, Task
from perceiver_jax.train.workdir import Workdir, write_json

FILE = "per_class.json"
_FOLDER = "per_class"

Table = Mapping[str, Any]  # As it stands in the file.


def table(facts: Mapping[str, Any], values: Mapping[str, np.ndarray], data: Any) -> dict[str, Any]:
    """Returns the table of an evaluation.

    Args:
      facts: what it was of, such as the step.
      values: [classes] numbers by name.
      data: the config of the data set, which may name the classes.
    """
    names = class_names(data, len(next(iter(values.values()))))
    rows = [
        {"name": name, **{key: _number(array[label]) for key, array in values.items()}}
        for label, name in enumerate(names)
    ]
    return {**facts, "classes": rows}


def write(path: str | Path, found: Table) -> None:
    """Writes a table to any file.

    Raises:
      CheckpointError: the file system refuses it.
    """
    write_json(Path(path), found)


def read(path: Path) -> list[dict[str, Any]] | None:
    """Returns the classes of a table; None where there is no file.

    Raises:
      CheckpointError: the file is no such table.
    """
    try:
        found = json.loads(path.read_text())
        rows = found["classes"]
        if isinstance(rows, list) and all("name" in row for row in rows):
            return rows
        why = "it has no list of classes"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise CheckpointError(f"{path} cannot be read as a table of classes: {why}.")


def path_in(workdir: Path, step: int) -> Path:
    """Returns where a run keeps the table of an evaluation."""
    return workdir / _FOLDER / f"{step}.json"


def keep(workdir: Workdir, step: int, found: Table) -> str | None:
    """Keeps the table of an evaluation in a work directory.

    Returns:
      None, or for the user why it could not be kept: a run goes on without it.

    Raises:
      CheckpointError: the work directory has vanished, or belongs to another process by now.
    """
    workdir.check()
    path = path_in(workdir.path, step)
    try:
        path.parent.mkdir(exist_ok=True)
        write(path, found)
    except (OSError, CheckpointError) as error:
        return f"The values of single classes at step {step} are not kept: {error}"
    return None


def choose(workdir: Workdir, step: int) -> None:
    """Makes the table of a step that of the result; without one, the result has none.

    Raises:
      UserError: the file system refuses it.
    """
    source, target = path_in(workdir.path, step), workdir.path / FILE
    if not source.exists():
        target.unlink(missing_ok=True)
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def check_wanted(path: str | Path, task: Task) -> None:
    """Makes sure, ahead of an evaluation, that its table can be made and written.

    Raises:
      ConfigError: the task has no values of single classes.
      UserError: the file would have no directory.
    """
    if not isinstance(task, Collects):
        raise ConfigError(
            f"--per_class={path}: {type(task).__name__} has no values of single classes; "
            "MultilabelConfig has. Leave the flag out."
        )
    directory = Path(path).absolute().parent
    if not directory.is_dir() or Path(path).is_dir():
        raise UserError(
            f"--per_class={path} must be the name of a file in a directory that exists, such as "
            f"{FILE}."
        )


def _number(value: Any) -> int | float | None:
    number: int | float = np.asarray(value).item()
    return number if math.isfinite(number) else None
