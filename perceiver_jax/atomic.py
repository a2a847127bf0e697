"""Files and folders that are whole or not there at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from perceiver_jax.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes its place when the block ends well.

    The temporary name has the same suffix, because writers choose the format by it. If the block
    raises, nothing is left, and what was at `path` before stays as it was.

    Args:
      path: the file to write; its folder is made if need be.

    Yields:
      The path to write to.

    Raises:
      UserError: the file system refuses it: no permission, no space, a file in a folder's place.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        make_readable(temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_readable(path: Path) -> None:
    """Gives a file the permissions that new files have; some writers make theirs private."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


@contextlib.contextmanager
def making_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary folder beside `path`, which gets that name when the block ends well.

    If the block raises, nothing is left but the folders above it.

    Args:
      path: the folder to make; there must be nothing of that name yet.

    Yields:
      The folder to write into.

    Raises:
      UserError: `path` exists, or the file system refuses it.
    """
    path = Path(path)
    if path.exists():
        raise UserError(
            f"{path} exists already, and is left as it is. Delete it to make it anew, or name "
            "another folder."
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
