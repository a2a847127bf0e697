"""The words for processes that do not find each other: what is known, and what to check."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from perceiver_jax.errors import UserError


class JoinError(UserError):
    """The processes of a launch could not be joined."""


def timed_out(arguments: dict[str, Any], timeout: int) -> str:
    """Returns what a process that waited in vain can find out.

    Args:
      arguments: those of `jax.distributed.initialize`.
      timeout: how many seconds it waited.
    """
    text = f"After {timeout} s the processes had not joined, and JAX gave no reason."
    address, process_id = arguments.get("coordinator_address"), arguments.get("process_id")
    if address is None:
        return text
    if process_id == 0:
        return (
            f"{text} This process is the coordinator at {address}: at least one of the other "
            f"{arguments['num_processes'] - 1} did not come."
        )
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        return f"{text} Nothing answers at the coordinator's address {address} ({error})."
    return f"{text} The coordinator at {address} answers, so it is another process that is missing."


@contextlib.contextmanager
def obituary(text: str) -> Iterator[None]:
    """While open, a second process prints `text` if this one is ended from C++.

    It stays in this one's process group and keeps the signals' defaults, so that Ctrl-C and a
    launcher's SIGTERM end it silently.
    """
    code = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"
    try:
        watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, text], stdin=subprocess.PIPE
        )
    except OSError:  # No process to spare: one message less.
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            watcher.communicate(b"joined")


def checklist() -> str:
    """Returns what to look at when processes do not find each other."""
    import jax

    return f"""What to check:
  - All processes were started, at about the same time, and none has failed on its own: the first
    error among their logs is the one that counts. --distributed_timeout=SECONDS waits longer.
  - The coordinator (process 0) can be reached by its name and port from every host: no firewall
    between them, no localhost or 127.0.0.1 across hosts, the port free on the coordinator's host.
  - Every process has the same number of processes, and each id from 0 exists exactly once. A
    launcher that starts several copies with one id (a forgotten variable) is the usual mistake.
  - On TPUs there is one process per host, and no other program holds the chips.
  - All hosts run the same versions; here: jax {jax.__version__}, Python {sys.version.split()[0]}.
  - Proxy variables (http_proxy, https_proxy, all_proxy) do not catch the traffic between hosts.
  - A process that should work alone takes --distributed=off."""
