"""The checkpoints that DeepMind released: pickles of {module: {parameter: array}}.

    imagenet_*.pystate                     {"params": the mapping, "state": another one}
    language_*.pickle, optical_flow_*.pystate, video_*.pystate      the mapping of parameters alone

The names in them are the names of this package's modules, so nothing is translated. They are read
by `pickle_reader`, which runs nothing that a file asks for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.checkpoints import pickle_reader
from perceiver_jax.checkpoints.bounded_file import shown
from perceiver_jax.errors import CheckpointError

_EXPECTED = "a released DeepMind checkpoint: a pickle of protocol 2 to 5"
_MAX_KEY = 4  # Numbers of a random key, or of a counter.

# What else people take for a checkpoint, by how it starts.
_OTHER_FILES = {
    b"PK\x03\x04": "It is a zip archive: unpack it first, if the checkpoint is in it.",
    b"\x1f\x8b": "It is compressed with gzip: unpack it first.",
    b"<": "It looks like a web page: the download went wrong; download it again.",
}


def is_pickle(path: Path | str) -> bool:
    """Whether a file starts as a pickle of protocol 2 to 5 does; False if there is no such file."""
    try:
        with Path(path).open("rb") as file:
            return _starts_as_pickle(file.read(9))
    except OSError:
        return False


def _starts_as_pickle(head: bytes) -> bool:
    # A safetensors file starts with the size of its header, eight bytes, which may happen to look
    # like a pickle's first two; but then comes a brace.
    safetensors = head[5:9] == b"\0\0\0{"
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5 and not safetensors


def read(
    path: Path | str,
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, np.ndarray]]]:
    """Reads a released checkpoint, or one that is built like them.

    Beside "params" and "state", a file may have numbers and random keys (a step, an "rng"), which
    are ignored.

    Args:
      path: the file.

    Returns:
      The parameters and the state as {module: {name: array}}; the state is empty where the file has
      none. Floating-point arrays are float32 whatever they are in the file; other arrays keep their
      type (counters are int32).

    Raises:
      CheckpointError: there is no such file, or it is something else, damaged, or hostile.
    """
    path = Path(path)
    _check_is_pickle(path)
    top = pickle_reader.read(path)
    if "params" not in top:
        return _tree(path, top, "the parameters"), {}
    for name, value in top.items():
        small = not isinstance(value, Mapping) and np.size(value) <= _MAX_KEY
        if name not in ("params", "state") and not small:
            raise CheckpointError(
                f"{path} has an entry '{shown(name)}' beside 'params', of which nothing is known "
                "here; a released checkpoint has 'params' and 'state'. Save it with these alone."
            )
    state = top.get("state", {})
    return (
        _tree(path, top["params"], "'params'"),
        _tree(path, state, "'state'") if state != {} else {},
    )


def _tree(path: Path, modules: Any, what: str) -> dict[str, dict[str, np.ndarray]]:
    """Checks that `modules` is {module: {name: array}}, and not empty."""
    if not isinstance(modules, Mapping) or not modules:
        raise CheckpointError(f"{path}: {what} should be a mapping of modules, which is not there.")
    for module, arrays in modules.items():
        if not isinstance(arrays, Mapping):
            raise CheckpointError(
                f"{path}: in {what}, '{shown(module)}' should be a mapping of arrays. A released "
                "checkpoint is {module: {parameter: array}}, or that under 'params'."
            )
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise CheckpointError(
                    f"{path}: in {what}, '{shown(module)}' has '{shown(name)}', which should be "
                    "an array."
                )
    return {module: dict(arrays) for module, arrays in modules.items()}


def _check_is_pickle(path: Path) -> None:
    """Raises an error unless `path` is a file that starts as a pickle does."""
    if not path.exists():
        raise CheckpointError(f"There is no file {path}; {_EXPECTED} is expected there.")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; {_EXPECTED} is expected.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if not head:
        raise CheckpointError(f"{path} is empty; {_EXPECTED} is expected. Download it again.")
    if not _starts_as_pickle(head):
        hints = [hint for start, hint in _OTHER_FILES.items() if head.startswith(start)]
        raise CheckpointError(" ".join([f"{path} is not {_EXPECTED}.", *hints]))
