"""A directory of checkpoints as a directory: which there are, and how they go without a trace.

A name of digits is a whole checkpoint. Whatever is not whole any more, or not yet, has another
name, wherever a process was killed.
"""

import re
import shutil
from pathlib import Path

from perceiver_jax.checkpoints.failures import describe
from perceiver_jax.checkpoints.quiet import TEMPORARY

_DELETING = ".deleting"  # At the end of the name of what is being deleted.


def steps_in(directory: Path) -> list[int]:
    """Returns the steps that have a whole checkpoint, in order; none if there is no directory."""
    if not directory.is_dir():
        return []
    names = [path.name for path in directory.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if re.fullmatch("[0-9]+", name))


def delete(directory: Path, step: int) -> None:
    """Deletes a checkpoint: renames it first, so that no half of it looks like a checkpoint.

    Raises:
      OSError: the file system refuses it.
    """
    doomed = directory / f"{step}{_DELETING}"
    shutil.rmtree(doomed, ignore_errors=True)
    (directory / str(step)).rename(doomed)
    shutil.rmtree(doomed)


def clear_leftovers(directory: Path) -> None:
    """Removes what killed or failed saves and deletions have left; while nothing is being saved."""
    name = re.compile(rf"[0-9]+({re.escape(_DELETING)}|{re.escape(TEMPORARY)}.*)")
    for path in directory.iterdir():
        if name.fullmatch(path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def set_aside(directory: Path, step: int) -> str:
    """Moves a damaged checkpoint to `DIR/../damaged`; returns in words how that went."""
    aside = directory.parent / "damaged"
    target, number = aside / f"checkpoint-{step}", 2
    try:
        aside.mkdir(exist_ok=True)
        while target.exists():
            target = aside / f"checkpoint-{step}-{number}"
            number += 1
        (directory / str(step)).rename(target)
    except OSError as error:
        return f"cannot be moved away: {describe(error).reason}"
    return f"moved to {target}"
