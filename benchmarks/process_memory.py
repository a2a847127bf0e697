"""What the kernel says of a process's memory (Linux). Needs nothing but the standard library."""

import os
from pathlib import Path

from perceiver_jax.errors import UserError

GIGABYTE = 1e9
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def read(field: str, pid: int | None = None) -> int:
    """A figure of a process in bytes: "VmRSS" is what is resident now, "VmHWM" its peak so far.

    Args:
      field: as in /proc/PID/status.
      pid: the process; None: this one.

    Raises:
      UserError: the kernel does not say.
      ProcessLookupError: the process is gone.
    """
    path = Path(f"/proc/{'self' if pid is None else pid}/status")
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        if Path("/proc/self/status").exists():
            raise ProcessLookupError(pid) from error
        raise UserError("the benchmarks read memory from /proc, which only Linux has.") from error
    found = _kilobytes(text, field)
    if found is None:
        if pid is not None:  # A process that has ended has no memory, but still a status.
            raise ProcessLookupError(pid)
        raise UserError(f"{path} has no {field}; the benchmarks need Linux.")
    return found * 1024


def total() -> int:
    """Bytes that this machine has, or that this process's control group may have."""
    kilobytes = _kilobytes(Path("/proc/meminfo").read_text(), "MemTotal")
    assert kilobytes is not None
    sizes = [kilobytes * 1024]
    for path in _CGROUP_LIMITS:
        try:
            sizes.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # No such file, or "max".
            continue
    return min(sizes)


def be_killed_first() -> None:
    """If memory runs out, the kernel shall end this process, and not one beside it."""
    try:
        Path(f"/proc/{os.getpid()}/oom_score_adj").write_text("1000")
    except OSError:  # Not allowed everywhere; then the kernel chooses by size.
        return


def _kilobytes(text: str, field: str) -> int | None:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return None
