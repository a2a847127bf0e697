"""What commands that make sets have in common: names, Ctrl-C, and what they say at the end."""

import contextlib
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from absl import flags

from perceiver_jax.data.conversion.parts import LeftOut, has_parts
from perceiver_jax.data.stored import as_text
from perceiver_jax.errors import EXIT_INTERRUPTED, ConfigError

_SHOWN = 20  # So many that were left out are printed; the file has all.


def check_arguments(argv: Sequence[str], *required: str) -> None:
    """Refuses a command line that has what is no flag, or has not what it needs.

    Args:
      argv: what absl left of it.
      required: flags that must be given; what stands there alone is probably the first's.

    Raises:
      ConfigError: names the flag.
    """
    if len(argv) > 1:
        raise ConfigError(
            f"unexpected argument {argv[1]!r}; did you mean --{required[0]}={argv[1]}?"
        )
    for name in required:
        if not flags.FLAGS[name].value:
            raise ConfigError(f"--{name} is missing: {flags.FLAGS[name].help}")


def check_name(name: str) -> None:
    """Refuses what TFDS cannot call a set.

    Raises:
      ConfigError: says what names are like.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"--name={name} must be made of small letters, digits and underscores, and begin with "
            "a letter."
        )


@contextlib.contextmanager
def making(
    data_dir: str, name: str | None, part_pattern: str, part: str = "part"
) -> Iterator[None]:
    """While a set is made, Ctrl-C ends the program at once, and says that nothing is lost.

    Args:
      data_dir: where to.
      name: of the set; None: it is not known yet.
      part_pattern: what the names of its parts look like.
      part: what is kept, and less is not, in words: "part (of 32 clips or more)".
    """

    def interrupted(number: int, frame: FrameType | None) -> NoReturn:
        root = Path(data_dir).expanduser()
        _interrupted(
            any(has_parts(each, part_pattern) for each in root.glob(f"{name or '*'}.parts")), part
        )

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    except KeyboardInterrupt:  # A process met it before this one.
        interrupted(signal.SIGINT, None)


def _interrupted(kept: bool, part: str) -> NoReturn:
    text = f"No {part} was complete: the same command begins anew."
    if kept:
        text = "What is converted is kept: the same command goes on from there."
    # Not print: it may have been print that was interrupted.
    os.write(2, f"\nInterrupted. {text}\n".encode())
    for process in multiprocessing.active_children():  # Where only this process was told to stop.
        process.kill()
    os._exit(EXIT_INTERRUPTED)


def show_rate(converted: int, seconds: float, workers: int) -> None:
    """Prints how fast it was, if anything was done."""
    if converted and seconds:
        print(
            f"Converted {converted:,} in {seconds:,.1f} s on {workers} "
            f"{'core' if workers == 1 else 'cores'}: {converted / seconds:,.1f}/s."
        )


def show_left_out(left_out: Sequence[LeftOut], path: Path) -> None:
    """Prints the first of what was left out, and where the whole list is."""
    for each in left_out[:_SHOWN]:
        name = as_text(each.name)
        named = each.reason if name in each.reason else f"{name}: {each.reason}"
        print(f"left out    from {each.split}: {named}")
    if len(left_out) > _SHOWN:
        print(f"            and {len(left_out) - _SHOWN:,} more: {path}")
