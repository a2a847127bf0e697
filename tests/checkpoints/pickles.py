"""Small pickles for the tests of the reader, as Haiku and NumPy write them, and how it refuses."""

import pathlib
import pickle
import tracemalloc
from collections.abc import Mapping
from typing import Any

import haiku as hk
import numpy as np
import pytest

from perceiver_jax.checkpoints import deepmind
from perceiver_jax.errors import CheckpointError

# The reader may hold this much beside the arrays of a file.
MEMORY = 4 << 20


def small_params() -> dict[str, dict[str, np.ndarray]]:
    """Parameters of two modules."""
    return {
        "linear": {"w": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "b": np.ones(3, "f4")},
        "norm/~/scale": {"offset": np.float32([[-1.5]])},
    }


def small_state() -> dict[str, dict[str, np.ndarray]]:
    """State of one module, with the counter that batch normalisation has."""
    return {"norm/~/mean_ema": {"counter": np.array(3, np.int32), "hidden": np.float32([2, -2])}}


def flat(tree: Mapping[str, Any]) -> Any:
    """A Haiku mapping of `tree`, as the released files have."""
    return hk.data_structures.to_immutable_dict(tree)


def as_in_2021(data: bytes) -> bytes:
    """A pickle of protocol 2 or 3 with the name that NumPy 1 had for one of its functions."""
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def small_files() -> list[bytes]:
    """Whole checkpoints of all forms, about a kilobyte each."""
    both = {"params": flat(small_params()), "state": flat(small_state())}
    return [
        as_in_2021(pickle.dumps(both, 3)),
        as_in_2021(pickle.dumps(flat(small_params()), 3)),
        as_in_2021(pickle.dumps(both, 2)),
        pickle.dumps(both, 4),
        pickle.dumps({"params": small_params(), "state": small_state(), "step": 7}, 4),
    ]


def refusal(directory: pathlib.Path, data: bytes, memory: int = MEMORY) -> str:
    """The message, of one line, with which a file is refused; little memory is used for that."""
    path = directory / "file.pystate"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            deepmind.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 600
    assert peak < memory
    return message
