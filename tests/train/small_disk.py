"""A file system of a few MB for a test: a tmpfs, where the tests may mount one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path, megabytes: int):
        self.path = path
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
        self.mounted = True

    def fill(self) -> None:
        """Leaves not a byte free."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            for size in (2**16, 2**10, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        """Takes back `fill`."""
        (self.path / "filler").unlink()

    def set_writable(self, writable: bool) -> None:
        """Mounts it anew, for reading only or for writing too."""
        self._mount("-o", "remount," + ("rw" if writable else "ro"), str(self.path))

    def unmount(self) -> None:
        """Takes it away, though files in it are open."""
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.path)], check=True, capture_output=True)
            self.mounted = False

    @staticmethod
    def _mount(*arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 4 MB; the test is skipped where it may not mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    try:
        disk = SmallDisk(tmp_path / "disk", 4)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here: {error}")
    yield disk
    disk.unmount()
