"""The one fixed permutation of inputs (Perceiver, Sec. 4.1: the same for every example)."""

import numpy as np


def fixed_permutation(seed: int, num_elements: int) -> np.ndarray:  # [num_elements] int
    """Returns where each element comes from: element i is element `order[i]` of the grid.

    All models that are compared on permuted inputs must be given the same one.
    """
    return np.random.RandomState(seed).permutation(num_elements)
