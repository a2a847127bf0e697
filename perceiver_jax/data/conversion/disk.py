"""Room on disks, and how it is told."""

import shutil
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """Returns how many bytes are free where a folder is, or will be."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def size(number: float) -> str:
    """Returns "6.3 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} bytes" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
