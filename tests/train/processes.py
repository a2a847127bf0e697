"""Starts several processes that JAX joins over loopback, each with virtual CPU devices.

    results = run_processes("tests.train.jobs:add_up", {"values": [1, 2]}, processes=2, devices=2)

calls the function in each process, after `distributed.initialize`, with the arguments (through
JSON), and returns what each returned (through JSON). Where something fails, the error shows what
all of them wrote. `Processes` gives a test hold of them while they run, to send signals.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
_GRACE = 5.0  # Seconds that the others get to end on their own after one has failed.


def free_port() -> int:
    """Returns a port that nobody listens on just now."""
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def child_environment(devices: int = 1, **more: str) -> dict[str, str]:
    """Returns the environment for a process with `devices` CPU devices, and no launcher's traces.

    Args:
      devices: how many.
      **more: further variables.
    """
    traces = ("SLURM_", "OMPI_", "XLA_FLAGS", "JAX_COORDINATOR", "JAX_LOCAL_DEVICE_IDS")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(traces) and "_proxy" not in name.lower()
    }
    return {
        **inherited,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Processes:
    """Running processes. Closing ends those that still run, children included.

    Attributes:
      popen: the processes, by their number.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]):
        """Starts one process for each command (without the Python that runs it)."""
        self._directory = TemporaryDirectory()
        self.popen: list[subprocess.Popen] = []
        for number, command in enumerate(commands):
            # Files: a pipe that nobody reads would stop its writer.
            with (
                self._file(number, "out").open("wb") as out,
                self._file(number, "err").open("wb") as err,
            ):
                self.popen.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=err,
                        env=dict(environment),
                        start_new_session=True,
                    )
                )

    def _file(self, number: int, kind: str) -> Path:
        return Path(self._directory.name) / f"{number}.{kind}"

    def output(self, number: int) -> tuple[str, str]:
        """Returns what a process has written so far: (stdout, stderr)."""
        out, err = (self._file(number, kind).read_text(errors="replace") for kind in ("out", "err"))
        return out, err

    def transcript(self) -> str:
        """Returns what all processes have written, for a person to read."""
        parts = []
        for number, process in enumerate(self.popen):
            out, err = self.output(number)
            state = "running" if process.poll() is None else f"exit code {process.returncode}"
            parts.append(f"---- process {number} ({state})\n{out[-8000:]}{err[-8000:]}")
        return "\n".join(parts)

    def send_signal(self, number: int, signal_number: int) -> None:
        """Sends a signal to one process (not to its children)."""
        self.popen[number].send_signal(signal_number)

    def wait(self, timeout: float = 180, *, together: bool = True) -> list[int]:
        """Waits for all; returns the exit codes.

        Args:
          timeout: seconds until the rest is killed, and an AssertionError raised.
          together: where one fails, the others are killed soon after (their code is negative),
            rather than left to JAX's heartbeat, which takes 100 s.
        """
        end = time.monotonic() + timeout
        while (codes := [process.poll() for process in self.popen]).count(None):
            if together and any(code for code in codes if code is not None):
                end, together = min(end, time.monotonic() + _GRACE), False
                timeout = 0.0  # Being killed now is not a timeout of the test's.
            if time.monotonic() > end:
                self._kill()
                if timeout:
                    raise AssertionError(f"Not done in {timeout:.0f} s.\n{self.transcript()}")
            time.sleep(0.02)
        return [int(process.returncode) for process in self.popen]

    def _kill(self) -> None:
        for process in self.popen:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.popen:
            process.wait()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()
        self._directory.cleanup()


def start_processes(
    function: str,
    arguments: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    *,
    processes: int = 2,
    devices: int = 1,
    results: Path,
    environment: Mapping[str, str] | None = None,
) -> Processes:
    """Starts joined processes that call a function; see `run_processes`.

    Args:
      results: a directory for their results: process i writes i.json.
    """
    if isinstance(arguments, Mapping) or not arguments:
        arguments = [dict(arguments)] * processes
    address = f"127.0.0.1:{free_port()}" if processes > 1 else ""
    commands = [
        [
            *("-m", "tests.train.processes", function, json.dumps(arguments[number])),
            *(str(results / f"{number}.json"), address, str(processes), str(number)),
        ]
        for number in range(processes)
    ]
    return Processes(commands, child_environment(devices, **(environment or {})))


def run_processes(
    function: str,
    arguments: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (),
    *,
    processes: int = 2,
    devices: int = 1,
    timeout: float = 180,
    environment: Mapping[str, str] | None = None,
) -> list[Any]:
    """Returns what a function returns in each of several joined processes.

    Args:
      function: "module:function"; importable from the root of the repository.
      arguments: keyword arguments for all, or a list of them, one for each process.
      processes: how many; a single one is not joined to anything.
      devices: virtual CPU devices of each.
      timeout: seconds.
      environment: further environment variables, such as JAX_COMPILATION_CACHE_DIR.

    Raises:
      AssertionError: one of them failed, or they were not done in time; shows what they wrote.
    """
    with TemporaryDirectory() as directory:
        results = Path(directory)
        with start_processes(
            function,
            arguments,
            processes=processes,
            devices=devices,
            results=results,
            environment=environment,
        ) as running:
            codes = running.wait(timeout)
            if any(codes):
                raise AssertionError(f"Exit codes {codes}.\n{running.transcript()}")
        return [json.loads((results / f"{number}.json").read_text()) for number in range(processes)]


def _child(argv: Sequence[str]) -> None:
    function, arguments, result, address, processes, number = argv
    if address:
        from perceiver_jax.train import distributed

        distributed.initialize(
            coordinator_address=address,
            num_processes=int(processes),
            process_id=int(number),
            timeout=100,
        )
    module, _, name = function.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(**json.loads(arguments))
        Path(result).write_text(json.dumps(value))
    except BaseException:
        # At its usual end JAX would wait for the other processes.
        import traceback

        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)


if __name__ == "__main__":
    _child(sys.argv[1:])
