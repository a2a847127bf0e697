"""Pictures of clouds: where a point lands, what hides what, and what colours stand for."""

from typing import Any

import numpy as np
import pytest

from perceiver_jax.colours import magma
from perceiver_jax.data.points import views
from perceiver_jax.data.points.views import BACKGROUND, FAR, NEAR, Angle, three, view

FRONT, SIDE, TOP = Angle(0, 0), Angle(90, 0), Angle(0, 90)
# The ends of an axis each, 2 long, so that the middle is 0 and the scale 1.
ENDS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], float)


def _lit(picture: np.ndarray) -> set[tuple[int, int]]:
    """Rows and columns of the pixels that are not background."""
    return {(int(y), int(x)) for y, x in np.argwhere((picture != BACKGROUND).any(axis=-1))}


def _one_of(axis: int, end: int, angle: Angle, **options: Any) -> tuple[int, int]:
    """Where one of the ends is seen; the picture has 11 pixels a side, and a point is one."""
    values = np.zeros(6)
    values[2 * axis + end] = 1
    picture = view(ENDS, values, angle, size=11, disc=1, **options)
    brightest = picture.astype(int).sum(axis=-1)
    ((y, x),) = np.argwhere(brightest == brightest.max())
    return int(y), int(x)


def test_where_the_axes_point() -> None:
    # From the front: x to the right, z up, and y, into the picture, is in its middle.
    assert _one_of(0, 1, FRONT) == (5, 10) and _one_of(0, 0, FRONT) == (5, 0)
    assert _one_of(2, 1, FRONT) == (0, 5) and _one_of(2, 0, FRONT) == (10, 5)
    assert _one_of(1, 0, FRONT) == (5, 5)  # in front of the other end
    # From the side: y to the right, and the end of x is near.
    assert _one_of(1, 1, SIDE) == (5, 10) and _one_of(2, 1, SIDE) == (0, 5)
    assert _one_of(0, 1, SIDE) == (5, 5)
    # From above, y is up on the picture as on a map.
    assert _one_of(1, 1, TOP) == (0, 5) and _one_of(0, 1, TOP) == (5, 10)
    assert _one_of(2, 1, TOP) == (5, 5)
    # Half way around, and climbing: rows and columns by hand, 5 pixels being 1.
    there = Angle(45, 30)
    assert _one_of(0, 1, there) == (round(5 + 5 * np.sqrt(0.5) * 0.5), round(5 + 5 * np.sqrt(0.5)))
    assert _one_of(2, 1, there) == (round(5 - 5 * np.sqrt(0.75)), 5)


def test_another_axis_up_is_a_turn_of_the_cloud() -> None:
    cloud = np.random.default_rng(0).normal(size=(40, 3))
    x, y, z = cloud.T
    for angle in (FRONT, views.ABOVE):
        upright = view(cloud, angle=angle, size=24)
        # As it stands, written down by somebody who calls the axis that points up y, or x.
        np.testing.assert_array_equal(
            view(np.stack([x, z, -y], axis=1), angle=angle, size=24, up="y"), upright
        )
        np.testing.assert_array_equal(
            view(np.stack([z, y, -x], axis=1), angle=angle, size=24, up="x"), upright
        )
    assert _one_of(1, 1, FRONT, up="y") == (0, 5) and _one_of(2, 1, FRONT, up="y") == (5, 5)


def test_near_points_hide_far_ones() -> None:
    # Two behind each other seen from the front, in either order.
    line = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    for cloud in (line, line[::-1]):
        front = view(cloud, angle=FRONT, size=7, disc=3)
        assert (front[3, 3] == NEAR).all() and len(_lit(front)) == 9
        beside = view(cloud, angle=SIDE, size=7, disc=1)
        assert _lit(beside) == {(3, 0), (3, 6)}
        half = np.rint((np.array(NEAR) + FAR) / 2)
        np.testing.assert_array_equal(beside[3, [0, 6]], [half, half])
    # Discs of 3 pixels, 2 beside each other: of the far one, a column is hidden.
    shifted = np.array([[0.0, -1.0, 0.0], [0.6, 1.0, 0.0]])
    picture = view(shifted, np.array([0.0, 1.0]), FRONT, size=7, disc=3)
    near, far = magma(np.array([views.DARKEST, 1.0]))
    for row in picture[2:5]:
        np.testing.assert_array_equal(np.flatnonzero((row == near).all(axis=-1)), [1, 2, 3])
        np.testing.assert_array_equal(np.flatnonzero((row == far).all(axis=-1)), [4, 5])


def test_values_are_colours_from_nothing_to_the_most() -> None:
    values = np.array([0, 0.25, 0.5, 0.75, 1.0, 1.0])
    picture = view(ENDS, values, Angle(30, 20), size=31, disc=1)
    shown = {tuple(map(int, picture[y, x])) for y, x in _lit(picture)}
    shares = views.DARKEST + (1 - views.DARKEST) * np.array([0, 0.25, 0.5, 0.75, 1])
    assert shown == {tuple(map(int, colour)) for colour in magma(shares)}
    # The scale is the cloud's own; and where nothing was read, all points are still there.
    np.testing.assert_array_equal(view(ENDS, values * 1e-6, size=31), view(ENDS, values, size=31))
    nothing = view(ENDS, np.zeros(6), size=31, disc=1)
    assert len(_lit(nothing)) == 6


def test_one_point_and_equal_points_lie_in_the_middle() -> None:
    for cloud in (np.full((1, 3), 7e8), np.full((5, 3), -3.0)):
        assert _lit(view(cloud, size=9, disc=1)) == {(4, 4)}


def test_pictures_do_not_depend_on_place_size_or_order() -> None:
    cloud = np.random.default_rng(1).normal(size=(50, 3))
    expected = three(cloud, size=40)
    assert expected.shape == (40, 120, 3) and expected.dtype == np.uint8
    np.testing.assert_array_equal(three(cloud * 512 + 128, size=40), expected)
    np.testing.assert_array_equal(three(cloud[::-1], size=40), expected)
    for number, angle in enumerate((views.FRONT, views.SIDE, views.ABOVE)):
        one = view(cloud, angle=angle, size=40)
        np.testing.assert_array_equal(expected[:, 40 * number : 40 * (number + 1)], one)


def test_discs_fit_and_shrink_as_points_grow_in_number() -> None:
    # The outermost points keep a margin of a 20th, and do not cross it.
    for size, margin in ((20, 1), (112, 5)):
        lit = _lit(view(ENDS, angle=FRONT, size=size, disc=4))
        assert {min(y for y, _ in lit), max(y for y, _ in lit)} == {margin, size - 1 - margin}
    areas = []
    for count in (1, 60, 2048):
        cloud = np.zeros((count, 3))
        areas.append(len(_lit(view(cloud, size=112))))
    assert areas[0] == areas[1] > 30 and areas[2] == 9


@pytest.mark.parametrize(
    ("points", "values", "message"),
    [
        (np.zeros((3, 2)), None, r"a cloud is \[n, 3\].*got \(3, 2\)"),
        (np.zeros((0, 3)), None, "at least one point"),
        (np.full((2, 3), np.nan), None, "coordinates that are no numbers"),
        (np.zeros((2, 3)), np.zeros(3), r"2 points have as many values; got \(3,\)"),
        (np.zeros((2, 3)), np.array([0, np.inf]), "values that are no numbers"),
    ],
)
def test_what_is_no_cloud(points: np.ndarray, values: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view(points, values)
