"""Joining the processes of a launch into one program, before any device is touched.

`jax.distributed.initialize` either returns, or raises, or ends the process from C++ with SIGABRT:
so it does with JAX 0.10 when its own timeout is over, and when two processes have the same id.
Three things turn each of these into words: the call runs in a thread, whose end is waited for a
little less long than JAX would; what JAX raises goes into a `UserError` with a checklist; and
while it runs, a small second process watches, that prints the checklist if this one is gone.

Once joined, processes live and die together. One that fails must not take the ordinary way out:
there it would wait for the others at JAX's shutdown, and they for it in a collective. It leaves at
once instead (`leave_on_failure`), and JAX ends the others within its heartbeat timeout.
"""

import atexit
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from perceiver_jax.errors import EXIT_USER_ERROR, ConfigError, UserError, print_user_error
from perceiver_jax.train.join_failures import JoinError, checklist, obituary, timed_out
from perceiver_jax.train.launchers import find_launch

# How much longer JAX may wait than we do, so that it is us who give up, in words.
_JAX_WAITS_LONGER = 60
# The coordinator leaves a little later: others that fail in the same way can say so, before JAX
# notices that it is gone and ends them.
_COORDINATOR_LINGERS = 5.0

# (processes, this one's number) once joined through `initialize`.
_joined: tuple[int, int] | None = None


def define_flags() -> None:
    """Defines the flags of every entry point that can run as several processes."""
    from absl import flags

    flags.DEFINE_enum(
        "distributed",
        "auto",
        ["auto", "on", "off"],
        "Whether to join other processes: auto does where Slurm, Open MPI, Cloud TPU or Kubernetes "
        "launched several; on always does; off never.",
    )
    flags.DEFINE_string(
        "coordinator_address",
        None,
        "HOST:PORT where process 0 can be reached by all; with --num_processes and --process_id, "
        "where no launcher is found.",
    )
    flags.DEFINE_integer("num_processes", None, "How many processes there are.")
    flags.DEFINE_integer("process_id", None, "Which one this is, from 0.")
    flags.DEFINE_integer(
        "distributed_timeout", 300, "Seconds to wait for the other processes to come."
    )


def initialize_from_flags() -> None:
    """Calls `initialize` with the flags of `define_flags`."""
    from absl import flags

    arguments = flags.FLAGS
    initialize(
        arguments.distributed,
        coordinator_address=arguments.coordinator_address,
        num_processes=arguments.num_processes,
        process_id=arguments.process_id,
        timeout=arguments.distributed_timeout,
    )


def initialize(
    mode: str = "auto",
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: int = 300,
) -> None:
    """Joins this process with the others of its launch, if there are others.

    Says on stderr what it waits for, and what came of it; says nothing for a process on its own.

    Args:
      mode: "auto", "on" or "off".
      coordinator_address: "host:port" of process 0; with the next two, or none of them.
      num_processes: how many processes there are.
      process_id: which one this is, from 0.
      timeout: seconds to wait.

    Raises:
      ConfigError: the arguments do not fit together.
      JoinError: the others did not come, or JAX could not join them. The process can only end.
    """
    given = (coordinator_address, num_processes, process_id)
    _check_arguments(mode, given, timeout)
    launch = find_launch()
    if mode == "off":
        if launch is not None and launch.certain:
            _say(
                f"{launch.found_by} launched {launch.num_processes or 'several'} processes, and "
                "with --distributed=off each of them works alone: give each a --workdir of its own."
            )
        return
    import jax

    if jax.distributed.is_initialized():
        return
    if coordinator_address is not None:
        # The flags say all: no launcher is asked, and all devices of this host are this process's.
        _join(
            _sentence("flags", num_processes, process_id, coordinator_address, timeout),
            {
                "coordinator_address": coordinator_address,
                "num_processes": num_processes,
                "process_id": process_id,
                "cluster_detection_method": "deactivate",
            },
            timeout,
        )
    elif launch is not None and not launch.obstacle:
        _join(
            _sentence(launch.found_by, launch.num_processes, launch.process_id, None, timeout),
            {},
            timeout,
        )
    elif mode == "on":
        if launch is not None:
            raise JoinError(f"{launch.found_by}: {launch.obstacle}")
        _join(_sentence("JAX's own search", None, None, None, timeout), {}, timeout)
    elif launch is not None and launch.certain:
        raise JoinError(
            f"{launch.found_by} launched {launch.num_processes} processes, which cannot be joined. "
            f"{launch.obstacle} With --distributed=off each works alone."
        )
    elif launch is not None:
        _say(f"{launch.found_by}: this process works alone. {launch.obstacle}")


def leave_on_failure(main: Callable[..., int | None]) -> Callable[..., int | None]:
    """Returns `main` such that, in a joined process, a failure ends the process at once.

    Exit codes are those of `errors.run_main`. Ends that all processes come to together, such as a
    stop on request, are ordinary return values of `main` and wait for the others.
    """

    def guarded(*arguments: Any) -> int | None:
        try:
            return main(*arguments)
        except Exception as error:
            if _joined is None:
                raise
            if isinstance(error, UserError):
                code = print_user_error(error)
            else:
                traceback.print_exception(error)
                code = 1
            num_processes, process_id = _joined
            if num_processes > 1:
                _say(f"process {process_id} of {num_processes} has failed, so all of them end.")
            sys.stdout.flush()
            sys.stderr.flush()
            if process_id == 0 and num_processes > 1:
                time.sleep(_COORDINATOR_LINGERS)
            os._exit(code)

    return guarded


def _say(text: str) -> None:
    print(f"distributed: {text}", file=sys.stderr, flush=True)


def _check_arguments(mode: str, given: Sequence[Any], timeout: int) -> None:
    if mode not in ("auto", "on", "off"):
        raise ConfigError(f"--distributed is auto, on or off, not {mode!r}.")
    if timeout < 1:
        raise ConfigError(f"--distributed_timeout={timeout} is too short; give seconds, 1 or more.")
    if all(value is None for value in given):
        return
    names = ("coordinator_address", "num_processes", "process_id")
    missing = [f"--{name}" for name, value in zip(names, given, strict=True) if value is None]
    if missing:
        raise ConfigError(
            "--coordinator_address, --num_processes and --process_id go together, and "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        )
    if mode == "off":
        raise ConfigError(f"--coordinator_address={given[0]} does not go with --distributed=off.")
    address, num_processes, process_id = given
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"--coordinator_address={address} is not HOST:PORT, such as 10.0.0.1:1234."
        )
    if not 0 <= process_id < num_processes:
        raise ConfigError(
            f"--process_id={process_id} does not go with --num_processes={num_processes}: the "
            f"processes are numbered from 0 to {max(num_processes - 1, 0)}."
        )


def _sentence(
    found_by: str, num_processes: int | None, process_id: int | None, address: str | None, wait: int
) -> str:
    which = f"process {process_id}" if process_id is not None else "this process"
    total = f" of {num_processes}" if num_processes is not None else ""
    return (
        f"{which}{total} on {socket.gethostname()}, found by {found_by}; coordinator "
        f"{address or 'chosen by JAX'}; waiting up to {wait} s for the others"
    )


def _join(sentence: str, arguments: dict[str, Any], timeout: int) -> None:
    """Joins, or raises a `JoinError`. `arguments` are those of `jax.distributed.initialize`."""
    global _joined
    import jax

    # JAX would catch SIGTERM from here on, to offer it to programs that ask for it; then it no
    # longer ends a process that has not come to its training loop, which has a handler of its own.
    jax.config.update("jax_enable_preemption_service", False)
    ended: list[Exception | None] = []

    def call() -> None:
        try:
            jax.distributed.initialize(
                **arguments, initialization_timeout=timeout + _JAX_WAITS_LONGER
            )
            ended.append(None)
        except Exception as error:
            ended.append(error)

    _say(sentence)
    started = time.monotonic()
    with obituary(f"\nThe process on {socket.gethostname()} ended while it joined the others; "
                   f"the reason that JAX gave stands above.\n\n{checklist()}\n"):  # fmt: skip
        thread = threading.Thread(target=call, name="join", daemon=True)
        thread.start()
        thread.join(timeout)
    try:
        if not ended:
            raise JoinError(timed_out(arguments, timeout))
        if ended[0] is not None:
            raise JoinError(f"Joining failed. JAX says: {ended[0]}") from ended[0]
        try:
            num_processes, process_id = jax.process_count(), jax.process_index()
            local, everywhere = jax.local_device_count(), jax.device_count()
        except Exception as error:
            raise JoinError(f"Joined, but devices cannot be used. JAX says: {error}") from error
        expected = arguments.get("num_processes", num_processes)
        if num_processes != expected:
            raise JoinError(
                f"This process was given --num_processes={expected}, the coordinator "
                f"{num_processes}."
            )
    except JoinError as error:
        # The usual end would wait for JAX's shutdown, and abort in it.
        atexit.register(_end_now, EXIT_USER_ERROR)
        raise JoinError(f"{error}\n\n{checklist()}") from error.__cause__
    _joined = (num_processes, process_id)
    seconds = time.monotonic() - started
    _say(
        f"process {process_id} of {num_processes} has joined in {seconds:.1f} s; "
        f"{local} of the {everywhere} {jax.default_backend()} devices are its own"
    )


def _end_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
