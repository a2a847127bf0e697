"""Clouds normalised, and changed at random: what each change keeps, and how large it is."""

from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.points.transforms import RandomChanges, about, anyhow, normalize
from perceiver_jax.errors import ConfigError


def _cloud(count: int = 500, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return normalize(rng.standard_normal((count, 3)) * (3.0, 1.0, 2.0))


def _changed(points: np.ndarray, seed: int = 0, **changes: Any) -> np.ndarray:
    """What a single change makes of a cloud; the paper's scaling is off."""
    return RandomChanges(**{"scale_points": 0.0} | changes)(points, np.random.default_rng(seed))


def test_normalize_centres_and_fits_the_cube() -> None:
    # By hand: the mean is (2, 0, 10); the farthest coordinate lies 4 from it.
    points = np.array([[0.0, 0.0, 11.0], [0.0, -1.0, 9.0], [6.0, 1.0, 10.0]])
    expected = np.array([[-0.5, 0.0, 0.25], [-0.5, -0.25, -0.25], [1.0, 0.25, 0.0]])
    found = normalize(points)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-7)
    # Neither where a mesh lies nor its unit matters, nor does doing it twice.
    np.testing.assert_allclose(normalize(points * 25.4 + 1e4), expected, atol=1e-6)
    np.testing.assert_allclose(normalize(found), found, atol=1e-6)


def test_a_cloud_of_one_place_is_no_division_by_zero() -> None:
    for place in (0.0, 0.1, -12345.678):
        np.testing.assert_array_equal(normalize(np.full((7, 3), place)), np.zeros((7, 3)))


def test_the_papers_scaling_is_a_factor_for_each_point() -> None:
    points = _cloud(4000)
    found = RandomChanges()(points, np.random.default_rng(0))
    factors = np.linalg.norm(found, axis=1) / np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(found, points * factors[:, None], atol=1e-6)  # Along its own ray.
    assert 0.99 <= factors.min() < 0.9905 and 1.0095 < factors.max() <= 1.01
    assert factors.std() == pytest.approx(0.02 / 12**0.5, rel=0.05)  # Uniform.


def test_the_papers_translation_moves_each_point() -> None:
    points = _cloud(4000)
    moved = _changed(points, translate_points=0.02) - points
    assert np.abs(moved).max() <= 0.02
    np.testing.assert_allclose(moved.std(axis=0), 0.04 / 12**0.5, rtol=0.05)
    assert np.abs(np.corrcoef(moved.T) - np.eye(3)).max() < 0.06


@pytest.mark.parametrize("up", [0, 1, 2])
def test_turning_about_an_axis(up: int) -> None:
    points = _cloud()
    found = _changed(points, rotate="up", up_axis=up)
    np.testing.assert_allclose(found[:, up], points[:, up], atol=1e-6)
    np.testing.assert_allclose(found @ found.T, points @ points.T, atol=1e-5)
    one, other = (up + 1) % 3, (up + 2) % 3
    # Right-handed: by the angle, from the next axis to the one after.
    matrix = about(up, np.random.default_rng(3))
    angle = np.random.default_rng(3).uniform(0, 2 * np.pi)
    np.testing.assert_allclose(matrix[:, one], np.eye(3)[one] * np.cos(angle)
                               + np.eye(3)[other] * np.sin(angle), atol=1e-12)  # fmt: skip


def test_turning_anyhow_is_uniform_over_all_rotations() -> None:
    rng = np.random.default_rng(0)
    matrices = np.stack([anyhow(rng) for _ in range(4000)])
    identity = np.broadcast_to(np.eye(3), matrices.shape)
    np.testing.assert_allclose(matrices @ matrices.swapaxes(1, 2), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0)
    # Uniform (Haar): entries have mean 0 and variance 1/3, and none leans on another.
    flat = matrices.reshape(-1, 9)
    assert np.abs(flat.mean(axis=0)).max() < 0.04
    np.testing.assert_allclose(flat.var(axis=0), 1 / 3, atol=0.02)
    # A coordinate of a point that is uniform on the sphere is uniform in [-1, 1].
    counts, _ = np.histogram(matrices[:, 0, 0], bins=10, range=(-1, 1))
    assert ((counts - 400) ** 2 / 400).sum() < 28  # Chi-squared, 9 degrees: 0.999.


def test_axes_are_scaled_each_by_itself() -> None:
    points, found = _cloud(), []
    for seed in range(200):
        factors = _changed(points, seed, scale_axes=0.25) / points
        np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-5)
        found.append(factors[0])
    assert np.min(found) >= 1 / 1.25 and np.max(found) <= 1.25
    assert abs(np.log(found).mean()) < 0.02  # As often smaller as larger.


@pytest.mark.parametrize("up", [0, 1, 2])
def test_every_other_cloud_is_mirrored(up: int) -> None:
    points, mirrored = _cloud(), 0
    for seed in range(100):
        found = _changed(points, seed, mirror=True, up_axis=up)
        np.testing.assert_array_equal(found[:, up], points[:, up])
        np.testing.assert_array_equal(np.abs(found), np.abs(points))
        mirrored += int((found != points).any())
        assert (found != points).any(axis=0).sum() <= 1  # One axis: handedness changes.
    assert 30 < mirrored < 70


def test_jitter_and_dropped_points() -> None:
    points = _cloud(4000)
    noise = _changed(points, jitter=0.05) - points
    assert noise.std() == pytest.approx(0.05, rel=0.03)
    shares = []
    for seed in range(40):
        found = _changed(points, seed, drop=0.5)
        gone = (found != points).any(axis=1)
        assert len(np.unique(found[gone], axis=0)) <= 1
        shares.append(gone.mean())
    assert max(shares) < 0.53 and np.mean(shares) == pytest.approx(0.25, abs=0.08)


def test_wrong_sizes_are_refused() -> None:
    for changes, message in (
        ({"scale_points": 1.0}, r"scale_points=1.0 must lie in \[0, 1\)"),
        ({"drop": -0.1}, "drop=-0.1 must lie"),
        ({"jitter": -1.0}, "jitter=-1.0 must not be negative"),
        ({"rotate": "z"}, "rotate='z' must be 'none', 'up' or 'any'"),
        ({"up_axis": 3}, "up_axis=3 must be 0, 1 or 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            RandomChanges(**changes)  # type: ignore[arg-type]
