"""Errors that a user can mend, and how the entry points show them.

A `UserError` is a mistake in what the user gave: a config key, a file, a folder, a missing package.
Its message is complete: it names the thing, what was expected, and the mend. The entry points
print that message without a traceback and exit with code 2. Everything else is a bug of ours (or a
machine that fails), and keeps its traceback.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TextIO

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it.
EXIT_UNREAD = 141  # 128 + SIGPIPE: nobody reads what is printed.
EXIT_RESUME = 75  # EX_TEMPFAIL of sysexits.h: stopped from outside; the same command goes on.


class UserError(Exception):
    """A mistake of the user's. The message says what is wrong, what was expected, and the mend."""


class ConfigError(UserError):
    """A config or a flag: unknown key, wrong type, impossible value, unknown experiment."""


class DataError(UserError):
    """A data set: missing file or package, wrong layout, too few examples."""


class CheckpointError(UserError):
    """A checkpoint or a work directory: missing, damaged, or of another experiment."""


class ModelError(UserError):
    """A model: unknown name, or inputs that it cannot take."""


def require(package: str, *, purpose: str, pip_name: str | None = None) -> None:
    """Raises a `UserError` with the pip command if `package` cannot be imported.

    Args:
      package: the name to import, such as "sklearn".
      purpose: what needs it, as the subject of a sentence: "The digits data set".
      pip_name: the name to install, where it differs from the name to import.
    """
    import importlib

    try:
        importlib.import_module(package)
    except ImportError as error:
        name = pip_name or package
        raise UserError(
            f"{purpose} needs the package {name!r}, which cannot be imported here ({error}). "
            f"Install it:\n\n    {sys.executable} -m pip install {name}\n"
        ) from error


def exit_on_interrupt() -> None:
    """Makes Ctrl-C end the process at once, with one line instead of a traceback.

    For entry points, before their heavy imports. The usual KeyboardInterrupt gets lost in callbacks
    of the garbage collector, and comes out of a half-done import as some other error. No tidying is
    left out that matters: what is on disk survives a kill as well. The training loop, which does
    have something to save, puts its own handler in this one's place while it runs.
    """
    # A signal that the parent has us ignore (nohup, a shell's background job) stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_now)


def resume_after_termination() -> None:
    """Makes SIGTERM end the process with the status that means "start me again".

    For the trainer, while it has nothing to save: before its loop, which has a handler of its own,
    and after it.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit_to_be_resumed)


def _exit_to_be_resumed(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nSIGTERM: there is nothing to save; start the same command again.\n")
    os._exit(EXIT_RESUME)


def _exit_now(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted.\n")  # Not print: it may have been print that was interrupted.
    os._exit(EXIT_INTERRUPTED)


def print_user_error(error: UserError) -> int:
    """Prints the message of an error that a user can mend; returns the exit code."""
    sys.stdout.flush()
    print(f"\nerror: {error}", file=sys.stderr)
    return EXIT_USER_ERROR


@contextlib.contextmanager
def quiet_when_unread() -> Iterator[None]:
    """Ends the program without a word where whoever read its output has gone, as `| head` does.

    Python ignores SIGPIPE, so that it is an exception; and one more when it ends and writes what
    is left. Pipes to other processes are not meant: what goes wrong there is told.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _unread(stream)]
        if not unread:
            raise
        for stream in unread:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(EXIT_UNREAD)


def _unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe from which nobody reads."""
    if not hasattr(select, "poll"):  # Windows.
        return stream is sys.stdout
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # It is no file.
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _like_a_flag(arguments: Sequence[str], flag: str) -> str:
    """Returns a hint for a file whose name is like an unknown flag, "" if there is none."""
    for argument in arguments:
        if argument.startswith("-") and argument.lstrip("-").startswith(flag):
            if os.path.lexists(argument):
                return f". If the file is meant, write ./{argument}."
    return ""


def run_main(
    main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None
) -> None:
    """Runs an entry point under absl, turning a `UserError` into a message and exit code 2.

    Args:
      main: takes what absl leaves of the command line (program name first); its return value is
        the exit code, None being 0.
      argv: the command line; `sys.argv` if None.
    """
    exit_on_interrupt()
    from absl import app, flags, logging

    def guarded(rest: Sequence[str]) -> int | None:
        if not flags.FLAGS["verbosity"].present:
            # Orbax tells absl's log a screen of its inner life for every checkpoint.
            logging.set_verbosity(logging.ERROR)
        try:
            return main(rest)
        except UserError as error:
            return print_user_error(error)
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            return EXIT_INTERRUPTED

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            return flags.FLAGS(arguments)
        except flags.Error as error:
            file = ""
            if isinstance(error, flags.UnrecognizedFlagError):
                file = _like_a_flag(arguments, error.flagname)
            stop = "" if f"{error}{file}".endswith((".", "?")) else "."
            print(f"\nerror: {error}{file}{stop} --help lists the flags.", file=sys.stderr)
            sys.exit(EXIT_USER_ERROR)

    with quiet_when_unread():
        app.run(guarded, argv=None if argv is None else list(argv), flags_parser=parse)


def run_main_with_overrides(
    main: Callable[[Sequence[str], dict[str, str]], int | None], define_flags: Callable[[], None]
) -> None:
    """Runs an entry point that takes `--config.NAME=VALUE`; see `run_main`.

    Args:
      main: takes what absl leaves of the command line, and the overrides as text by dotted name.
      define_flags: defines the entry point's flags.
    """
    exit_on_interrupt()
    from perceiver_jax.config import split_overrides

    try:
        argv, changes = split_overrides(sys.argv)
    except UserError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    define_flags()
    run_main(lambda rest: main(rest, changes), argv)
