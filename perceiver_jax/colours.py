"""Numbers as colours: the scale of all pictures of attention."""

import numpy as np

# Twelve colours of Matplotlib's magma (public domain), evenly spaced from none to most.
_MAGMA = np.array([
    (0, 0, 4), (15, 11, 46), (45, 17, 96), (80, 18, 123), (114, 31, 129), (149, 44, 128),
    (184, 55, 121), (218, 70, 107), (243, 104, 93), (252, 148, 105), (254, 196, 140),
    (252, 253, 191),
], np.float64)  # fmt: skip


def magma(shares: np.ndarray) -> np.ndarray:  # [...], from 0 to 1 -> [..., 3]
    """Returns colours, uint8: from near black over purple and orange to pale yellow."""
    at = np.clip(shares, 0, 1) * (len(_MAGMA) - 1)
    grid = np.arange(len(_MAGMA))
    colours = [np.interp(at, grid, _MAGMA[:, channel]) for channel in range(3)]
    return np.rint(np.stack(colours, axis=-1)).astype(np.uint8)


def shares_of_most(weights: np.ndarray) -> np.ndarray:  # [...], not negative
    """Returns weights on a scale from 0 to 1, which is what 1 in 200 of them exceeds.

    Because a few large ones would leave the rest dark. Where there is nothing, all is 0.
    """
    most = np.quantile(weights, 0.995)
    return np.clip(weights / most if most > 0 else weights, 0, 1)
