"""Why a write failed, in words, with the mend.

Orbax and TensorStore wrap the system's error in pages of their own; its number stands somewhere in
the chain of exceptions, or in the text.
"""

import errno
import os
import re
from typing import NamedTuple

_MENDS = {
    errno.ENOSPC: "Free some space there.",
    errno.EDQUOT: "Free some space there, or have the quota raised.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f).",
    errno.EIO: "Check the disk, or the network's file system.",
    errno.EROFS: "Mount it for writing.",
    errno.EACCES: "Change its owner or permissions.",
    errno.EPERM: "Change its owner or permissions.",
    errno.ESTALE: "Mount it again.",
}
# Nothing that comes and goes, as a full disk does: trying again later only loses more work.
_LASTING = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE)

_NUMBER_IN_TEXT = re.compile(r"os_error_code='(\d+)'")  # As TensorStore puts it.


class Failure(NamedTuple):
    """Why a write failed."""

    reason: str  # Without a full stop: "No space left on device".
    mend: str  # A sentence, or "".
    lasting: bool  # Whether trying again is of no use.


def describe(error: BaseException) -> Failure:
    """Says what an exception means, that was raised by a write."""
    number = _errno(error)
    if number is None:
        return Failure(f"{type(error).__name__}: {first_line(error)}", "", False)
    return Failure(os.strerror(number), _MENDS.get(number, ""), number in _LASTING)


def _errno(error: BaseException | None) -> int | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno:
            return error.errno
        found = _NUMBER_IN_TEXT.search(str(error))
        if found:
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """Returns the first line of the cause; what Orbax wraps around it fills screens."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines() or [""]
    return text[0][:200]
