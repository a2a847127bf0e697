"""The outer side of the protocol: starts a worker, asks, waits, and watches its memory.

See `worker.py` for the protocol. A worker that takes too long or too much memory is ended, and so
is every worker at the end of its `with` block.
"""

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import process_memory
from benchmarks.process_memory import GIGABYTE

_ROOT = Path(__file__).resolve().parents[1]
_LOOK_EVERY = 0.1  # Seconds between looks at a worker's memory.


class WorkerFailed(Exception):
    """A worker did not answer, or answered that it cannot. The message says why, in one line."""


class OutOfMemory(WorkerFailed):
    """A worker wanted more memory than it may have, or than there is."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a worker may take before it is ended."""

    bytes: float  # Resident memory.
    seconds: float  # For one request.


class Worker:
    """A process that answers requests."""

    def __init__(self, process: subprocess.Popen, limits: Limits, log: Path):
        self.limits = limits  # Of the next request.
        self._process = process
        self._log = log
        self._received = b""

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a request and waits for the answer.

        Raises:
          WorkerFailed: it cannot be done, the worker died, or it went beyond its limits.
        """
        line = json.dumps({"do": do, **arguments}) + "\n"
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # Why it is gone, the answer's absence tells.
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        answer = json.loads(self._line())
        if "error" in answer:
            failure = OutOfMemory if answer.get("out_of_memory") else WorkerFailed
            raise failure(_one_line(answer["error"]))
        return answer

    def resident(self) -> int:
        """Bytes that it holds now; 0 once it has ended."""
        try:
            return process_memory.read("VmRSS", self._process.pid)
        except ProcessLookupError:
            return 0

    def stop(self) -> None:
        """Ends the process, and frees its memory."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        end = time.monotonic() + self.limits.seconds
        while b"\n" not in self._received:
            ready, _, _ = select.select([pipe], [], [], _LOOK_EVERY)
            if ready:
                read = os.read(pipe, 1 << 16)
                if not read:
                    raise self._death()
                self._received += read
                continue
            if self.resident() > self.limits.bytes:
                self._process.kill()
                raise OutOfMemory(
                    f"needs more than {self.limits.bytes / GIGABYTE:.3g} GB (--memory)"
                )
            if time.monotonic() > end:
                self._process.kill()
                raise WorkerFailed(f"took more than {self.limits.seconds:g} s (--patience)")
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _death(self) -> WorkerFailed:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return OutOfMemory("was killed, most likely for want of memory")
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        said = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return WorkerFailed(_one_line(f"died {how}" + (f": {said[-1]}" if said else "")))


def _one_line(text: str, most: int = 300) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= most else joined[: most - 4] + " ..."


@contextlib.contextmanager
def started(
    module: str,
    limits: Limits,
    *,
    python: str = sys.executable,
    arguments: Sequence[str] = (),
) -> Iterator[Worker]:
    """Starts `python -m module` as a worker, which is ended with the block.

    Args:
      module: of this repository; it calls `worker.serve`.
      limits: what the worker may take.
      python: the interpreter to start it with.
      arguments: of its command line.

    Raises:
      WorkerFailed: there is no such interpreter.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        # On accelerators, processes share the memory; by default the first would take it all.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "stderr"
        with log.open("wb") as stderr:
            try:
                process = subprocess.Popen(
                    [python, "-m", module, *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=environment,
                )
            except OSError as error:
                raise WorkerFailed(f"{python} cannot be started: {error.strerror}") from error
        worker = Worker(process, limits, log)
        try:
            yield worker
        finally:
            worker.stop()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
