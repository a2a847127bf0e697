"""A directory that has to stay where it is while it is written to.

Libraries that make parents as needed would make a deleted or unmounted directory anew, on whatever
disk is there now, and a week of checkpoints would lie where nobody looks. An open descriptor keeps
the directory's inode from being given away, so that "the same directory" can be told, and gives a
path that leads to this directory and to no other.
"""

import os
from pathlib import Path

from perceiver_jax.errors import CheckpointError


class Anchor:
    """Holds a directory by an open descriptor, and tells when it is not at its path any more."""

    def __init__(self, path: Path):
        """Opens the directory.

        Raises:
          OSError: there is none.
        """
        self.path = path
        self._descriptor: int | None = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    @property
    def inside(self) -> Path:
        """A path to the directory itself, wherever it is now, for what is written inside of it.

        Through it nothing can be made at the old path once the directory is gone, not even in the
        middle of writing. Where the system has no such paths (outside Linux), the plain one.
        """
        through = Path(f"/proc/self/fd/{self._descriptor}")
        return through if through.exists() else self.path

    def lost(self) -> str | None:
        """Returns what happened to the directory, as a sentence; None if it is where it was."""
        assert self._descriptor is not None
        try:
            held = os.fstat(self._descriptor)
            there = os.stat(self.path)
        except FileNotFoundError:
            happened = "it was deleted, moved or unmounted"
        except OSError as error:
            happened = (error.strerror or str(error)).lower()
        else:
            if held.st_nlink and os.path.samestat(held, there):
                return None
            happened = "another directory lies in its place (was it deleted, or unmounted?)"
        return (
            f"The directory {self.path} has vanished: {happened}. Nothing more of this run can be "
            "saved. Bring it back, or choose another --workdir, and run the same command again."
        )

    def check(self) -> None:
        """Raises a `CheckpointError` if the directory is not where it was."""
        message = self.lost()
        if message is not None:
            raise CheckpointError(message)

    def close(self) -> None:
        """Lets the directory go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
