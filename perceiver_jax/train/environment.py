"""environment.jsonl: a line for each start of a run, with what it ran on.

    {"step": 0, "unix_time": ..., "python": "3.11.2", "packages": {"jax": ...}, "devices": ...}

A report that is made later, perhaps on another machine, tells from it what the run itself had.
"""

import importlib.metadata
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import jax

import perceiver_jax

FILE = "environment.jsonl"

_PACKAGES = ("jax", "jaxlib", "dm-haiku", "optax", "orbax-checkpoint", "grain", "numpy")
_GIT_SECONDS = 10.0


def record_start(workdir: Path, step: int) -> None:
    """Appends a line; a run does not fail for want of it.

    Args:
      workdir: the run's directory.
      step: the step at which the run starts, or goes on.
    """
    if jax.process_index() != 0:
        return
    try:
        with (workdir / FILE).open("a") as file:
            file.write(json.dumps({"step": step, **describe()}) + "\n")
    except OSError as error:
        print(f"no {FILE}: {error.strerror or error}", flush=True)


def read_starts(workdir: Path) -> list[dict[str, Any]]:
    """Returns the starts of a run, in order; lines that are none are left out."""
    path = workdir / FILE
    if not path.exists():
        return []
    starts = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            start = json.loads(line)
        except json.JSONDecodeError:
            continue  # the process was killed while it wrote this line
        if isinstance(start, dict) and {"step", "unix_time"} <= start.keys():
            starts.append(start)
    return starts


def describe() -> dict[str, Any]:
    """Returns what this process runs on, as JSON values. Names no machine and no user."""
    devices = jax.devices()
    return {
        "unix_time": time.time(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "perceiver_jax": perceiver_jax.__version__,
        "packages": {name: _version(name) for name in _PACKAGES},
        "backend": jax.default_backend(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "processes": jax.process_count(),
        "commit": code_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_commit(folder: Path | None = None) -> str | None:
    """Returns the commit of this package's code, with "+changes" if it was changed since.

    None where the code is no checkout, as when it was installed.

    Args:
      folder: a folder of code; this package's if None.
    """
    folder = folder or Path(perceiver_jax.__file__).parent
    # A package that was installed inside of somebody's repository is not tracked by it.
    if not _git(folder, "ls-files", "--", "."):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns what git says; None if it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
