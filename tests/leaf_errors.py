"""How far two trees of arrays are apart, leaf by leaf: small gradients count as much as large."""

from typing import Any

import jax
import numpy as np

# The same is added to all scores of a query: in exact mathematics their gradient is zero.
KEY_BIASES = "attention/linear_1']['b']"


def leaf_errors(found: Any, expected: Any, *, zero: str | None = None) -> dict[str, float]:
    """The largest difference of each leaf, as a share of the leaf's largest value, by its path.

    Args:
      found: a tree.
      expected: a tree of the same structure and shapes.
      zero: how the paths end of leaves that are zero but for rounding: their differences are a
        share of the largest value of the whole tree.

    Returns:
      0 for a leaf without a difference, and infinity for any difference from zeros alone.
    """
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    named, others = jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(expected)
    pairs = [
        (jax.tree_util.keystr(path), np.asarray(x, np.float64), np.asarray(y, np.float64))
        for (path, x), y in zip(named, others, strict=True)
        if x.size or y.size
    ]
    largest = max(float(np.abs(y).max()) for _, _, y in pairs)
    assert largest > 0
    errors = {}
    for path, x, y in pairs:
        assert x.shape == y.shape, path
        assert np.isfinite(x).all() and np.isfinite(y).all(), path
        difference = float(np.abs(x - y).max())
        scale = float(np.abs(y).max())
        if zero is not None and path.endswith(zero):
            scale = largest
        errors[path] = difference / scale if scale else np.inf if difference else 0.0
    return errors


def assert_leaves_close(found: Any, expected: Any, most: float, *, zero: str | None = None) -> None:
    """Fails if a leaf is further off than `most`, as a share of its largest value."""
    errors = leaf_errors(found, expected, zero=zero)
    wrong = {path: error for path, error in errors.items() if not error <= most}
    assert not wrong, wrong
