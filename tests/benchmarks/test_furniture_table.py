"""The table of furniture: its parts, on shapes made here."""

import numpy as np
import pytest

from benchmarks import furniture_table
from benchmarks.furniture_table import Clouds, Row

RNG = np.random.default_rng(0)


def clouds(count: int) -> Clouds:
    """Towers (label 0) and plates (label 1), facing anywhere and of any size."""
    labels = np.arange(count) % 2
    sizes = np.where(labels[:, None] == 0, [0.5, 0.4, 2.0], [1.5, 1.0, 0.1])
    points = RNG.uniform(-1, 1, (count, 300, 3)) * sizes[:, None]
    angles = RNG.uniform(0, 2 * np.pi, count)
    turned = points.copy()
    turned[..., 0] = (points[..., 0].T * np.cos(angles) - points[..., 1].T * np.sin(angles)).T
    turned[..., 1] = (points[..., 0].T * np.sin(angles) + points[..., 1].T * np.cos(angles)).T
    return Clouds(turned * RNG.uniform(0.1, 1, (count, 1, 1)), labels)


def test_the_forest_sees_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture_table, "NUM_TREES", 30)
    row = furniture_table.forest(clouds(20), clouds(10), [0, 1])
    assert row == Row(None, (1.0, 1.0))


def test_features_by_hand() -> None:
    """Eight corners of a box 2 x 4 x 3."""
    corners = np.array([[x, y, z] for x in (0, 2) for y in (0, 4) for z in (0, 3)], float)
    found = furniture_table.features(corners)
    assert found.shape == (48,)
    np.testing.assert_allclose(found[:5], [1, 0.5, 0.75, 0.5, 0.75])
    # Half of the points are at the bottom, half at the top; all are as far from the axis.
    np.testing.assert_allclose(found[5:15], [0.5, *[0] * 8, 0.5])
    np.testing.assert_allclose(found[15:25], [*[0] * 9, 1])
    assert found[25:41].sum() == pytest.approx(1)
    # Variances of eight values, four at either end: 8 / 7 of the half side squared.
    np.testing.assert_allclose(found[41:44], 8 / 7 * np.square([0.5, 0.75, 1]))
    np.testing.assert_allclose(found[44:], [8 / 7 * 0.75**2, 0, 0.75**2, 0], atol=1e-12)
    # Which way it faces, where it is and how large it is are not seen.
    other = furniture_table.features(7 * corners[:, [1, 0, 2]] - 5)
    np.testing.assert_allclose(other, found, atol=1e-12)


def test_the_table() -> None:
    rows = {
        "random forest": Row(None, (0.6, 0.62)),
        "`perceiver`": Row(12345, (0.7, 0.75)),
    }
    assert furniture_table.render(rows, 2).splitlines() == [
        "| model | parameters | test accuracy, mean of 2 | lowest | highest |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| random forest | – | 61.0% | 60.0% | 62.0% |",
        "| `perceiver` | 12,345 | 72.5% | 70.0% | 75.0% |",
    ]
    one, other = clouds(4), Clouds(np.zeros((5, 1, 3)), np.array([1, 1, 0, 1, 0]))
    assert furniture_table.describe(one, other, ["tower", "plate"]) == (
        "4 examples to train on, 5 to test on, of an artist of whom nothing was trained on; "
        "2 classes. One example is 20.0%. Always 'plate': 60.0%."
    )
