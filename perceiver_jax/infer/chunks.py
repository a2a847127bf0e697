"""Output points in chunks that one compiled program can take, one after another."""

import numpy as np

from perceiver_jax.errors import ModelError


def chunks_of(num_points: int, chunk_size: int) -> list[np.ndarray]:
    """Splits 0, 1, ..., num_points - 1 into chunks of one length, as one program needs them.

    Chunks have at most `chunk_size` points, and about equally many; the last one is filled up by
    repeating its last point.
    """
    if chunk_size < 1:
        raise ModelError(f"chunk_size must be at least 1; got {chunk_size}.")
    num_chunks = -(-num_points // chunk_size)
    length = -(-num_points // num_chunks)
    points = np.minimum(np.arange(num_chunks * length, dtype=np.int32), num_points - 1)
    return np.split(points, num_chunks)
