"""Layouts of arrays: ours, and Hugging Face's of the same numbers."""

from typing import Literal

import numpy as np

from perceiver_jax.checkpoints import aligned

# What becomes of an array on its way to Hugging Face:
#   'same'    nothing;
#   'matrix'  [in, out] -> [out, in];
#   'kernel'  [y, x, in, out] -> [out, in, y, x];
#   'vector'  [1, 1, 1, c] -> [c];
#   'count'   a scalar, int32 -> int64.
Layout = Literal["same", "matrix", "kernel", "vector", "count"]

# Where a stem's kernel lies: as DeepMind's was published by Hugging Face, with height and width
# exchanged, or as torch reads it.
KernelLayout = Literal["published", "torch"]


def to_hf(array: np.ndarray, layout: Layout) -> np.ndarray:
    """An array of ours as Hugging Face has it."""
    if layout == "matrix":
        array = array.T
    elif layout == "kernel":
        array = array.transpose(3, 2, 0, 1)
    elif layout == "vector":
        array = array.reshape(array.shape[-1])
    elif layout == "count":
        return np.asarray(array, np.int64)
    return np.ascontiguousarray(array)


def from_hf(array: np.ndarray, layout: Layout, kernel: KernelLayout = "torch") -> np.ndarray:
    """An array of Hugging Face's as we have it: a copy, that JAX takes over as it is.

    Args:
      array: theirs.
      layout: see `Layout`.
      kernel: where the kernel of a stem lies.
    """
    if layout == "matrix":
        array = array.T
    elif layout == "kernel":
        array = array.transpose() if kernel == "published" else array.transpose(2, 3, 1, 0)
    elif layout == "vector":
        array = array.reshape(1, 1, 1, -1)
    elif layout == "count":
        return np.asarray(array, np.int32)
    return aligned.copy(array)


def shape_from_hf(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Our shape of an array of Hugging Face's; one of the wrong rank stays as it is."""
    if layout == "matrix":
        return shape[::-1]
    if layout == "kernel" and len(shape) == 4:
        return (shape[2], shape[3], shape[1], shape[0])
    return (1, 1, 1, *shape) if layout == "vector" else shape
