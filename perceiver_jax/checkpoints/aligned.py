"""Memory that JAX takes over as it is, so that loading holds every array once.

On a CPU `jax.device_put` takes arrays over that begin at a multiple of 64 bytes, and copies others.
Copies cost more than one array at a time: what NumPy frees is seldom what JAX's allocations fit
into, and a process that copied every array stays as large as if it held all of them twice.
"""

import numpy as np

_ALIGNMENT = 64


def empty(num_bytes: int) -> np.ndarray:  # [num_bytes] uint8
    """Memory that is not yet filled."""
    memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + num_bytes]


def copy(array: np.ndarray) -> np.ndarray:
    """A copy of an array, in C order."""
    copied = empty(array.nbytes).view(array.dtype).reshape(array.shape)
    copied[...] = array
    return copied
