"""Clouds of points as pictures: seen from an angle, in parallel projection.

A point is a disc of a few pixels, near ones in front of far ones. Its brightness is how near it is,
or its colour stands for a value, such as how much was read of it. A picture is a function of the
points alone.
"""

from typing import Literal, NamedTuple

import numpy as np

from perceiver_jax.colours import magma, shares_of_most

Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")
SIZE = 112  # Pixels of a view's side.
BACKGROUND = (13, 15, 19)
FAR, NEAR = (40, 50, 74), (238, 244, 253)  # Colours of the points, without values.
# A cloud's darkest colour, as a share of the scale: points of which nothing was read are seen too.
DARKEST = 0.22

_MARGIN = 20  # Of a side, one 20th on each side is free, whole pixels.
_SPARSEST, _DENSEST = 1 / 16, 3  # Diameters of a disc: the largest, of a side; the least, pixels.


class Angle(NamedTuple):
    """Where a cloud is seen from, in degrees. At 0, 0: from the front, the first axis to the right.

    The front is where the axis that goes into the picture is least, as in ModelNet40's frame: x to
    the right, y away from the viewer, z up.
    """

    azimuth: float  # The viewer walks around the cloud, counterclockwise as seen from above ...
    elevation: float  # ... and climbs so far above it.


FRONT, SIDE, ABOVE = Angle(0, 0), Angle(90, 0), Angle(35, 30)


def three(
    points: np.ndarray,  # [n, 3]
    values: np.ndarray | None = None,  # [n], not negative
    *,
    size: int = SIZE,
    up: Axis = "z",
    disc: int | None = None,
) -> np.ndarray:  # [size, 3 * size, 3], uint8
    """Draws a cloud from the front, from the side, and from obliquely above; see `view`."""
    views = [
        view(points, values, angle, size=size, up=up, disc=disc) for angle in (FRONT, SIDE, ABOVE)
    ]
    return np.concatenate(views, axis=1)


def view(
    points: np.ndarray,  # [n, 3]
    values: np.ndarray | None = None,  # [n], not negative
    angle: Angle = ABOVE,
    *,
    size: int = SIZE,
    up: Axis = "z",
    disc: int | None = None,
) -> np.ndarray:  # [size, size, 3], uint8
    """Draws a cloud from one angle, as large as fits whichever way it is turned, and a margin.

    Args:
      points: coordinates, in any unit.
      values: what the colours stand for, dark to bright from 0 to what 1 in 200 exceeds; None:
        brightness stands for nearness.
      angle: where it is seen from.
      size: pixels of a side.
      up: the axis that points up: z in ModelNet40, y in many other meshes.
      disc: pixels of a point's diameter; None: fewer for more points.

    Raises:
      ValueError: other shapes, no points, or coordinates or values that are no numbers.
    """
    points = _checked(points, values)
    count = len(points)
    if disc is None:
        disc = max(min(round(size / count**0.5), round(size * _SPARSEST)), _DENSEST)
    across, upward, nearness = _turned(points, up, angle)
    middle = (size - disc) / 2
    most = max(middle - size // _MARGIN, 0)  # How far from the middle the outermost discs lie.
    left = np.floor(middle + most * across + 0.5).astype(np.int64)
    top = np.floor(middle - most * upward + 0.5).astype(np.int64)

    order = np.argsort(-nearness, kind="stable")  # The nearest point comes first.
    down, right = _disc(disc)
    covered = (top[order, None] + down) * size + left[order, None] + right
    pixels, first = np.unique(covered, return_index=True)
    picture = np.empty((size * size, 3), np.uint8)
    picture[:] = BACKGROUND
    picture[pixels] = _colours(nearness, values)[order[first // len(down)]]
    return picture.reshape(size, size, 3)


def _checked(points: np.ndarray, values: np.ndarray | None) -> np.ndarray:  # [n, 3], float64
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"a cloud is [n, 3], of at least one point; got {points.shape}.")
    if not np.isfinite(points).all():
        raise ValueError("the cloud has coordinates that are no numbers.")
    if values is not None:
        if np.shape(values) != points.shape[:1]:
            raise ValueError(f"{len(points)} points have as many values; got {np.shape(values)}.")
        if not np.isfinite(values).all():
            raise ValueError("the points have values that are no numbers.")
    return points


def _turned(
    points: np.ndarray,  # [n, 3]
    up: str,
    angle: Angle,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [n] each, from -1 to 1
    """Returns how far points lie to the right, up and near, about the middle of their box."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    farthest = np.sqrt((centred**2).sum(axis=1).max())
    x, y, z = (centred / farthest if farthest > 0 else centred).T
    if up == "y":  # Turned by a quarter about x: what was near, z, comes to the front.
        y, z = -z, y
    elif up == "x":  # About y.
        x, z = -z, x
    azimuth, elevation = np.radians(angle)
    across = x * np.cos(azimuth) + y * np.sin(azimuth)
    near = x * np.sin(azimuth) - y * np.cos(azimuth)
    upward = z * np.cos(elevation) - near * np.sin(elevation)
    return across, upward, near * np.cos(elevation) + z * np.sin(elevation)


def _disc(diameter: int) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a disc: rows down, and columns to the right, of the corner of its square."""
    down, right = np.indices((diameter, diameter)).reshape(2, -1)
    middle = (diameter - 1) / 2
    # Up to 3 pixels, the whole square.
    inside = (down - middle) ** 2 + (right - middle) ** 2 < 0.9 * (diameter / 2) ** 2
    return down[inside], right[inside]


def _colours(nearness: np.ndarray, values: np.ndarray | None) -> np.ndarray:  # [n, 3], uint8
    if values is not None:
        return magma(DARKEST + (1 - DARKEST) * shares_of_most(np.asarray(values, np.float64)))
    share = (nearness[:, None] + 1) / 2
    return np.rint(share * np.array(NEAR) + (1 - share) * np.array(FAR)).astype(np.uint8)
