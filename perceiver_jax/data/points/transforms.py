"""What is done to the coordinates of a cloud: normalisation, and random changes in training.

Random changes are made to a normalised cloud, so that their sizes mean the same for a model of a
cup in millimetres and for one of an aeroplane in feet; it is normalised again behind them. Those
that are on by default are Perceiver's (Sec. 4.3); the others are off, two of them since the paper
tried them and they did not help.
"""

import dataclasses
from typing import Literal

import numpy as np

from perceiver_jax.errors import ConfigError

Turning = Literal["none", "up", "any"]


def normalize(points: np.ndarray) -> np.ndarray:  # [n, 3] -> [n, 3], float32
    """Moves the mean of a cloud to 0, and scales it into the cube [-1, 1] (Perceiver, Sec. 4.3).

    The largest distance from 0 along any axis becomes 1; the shape stays. Open: what the paper's
    "unit cube" is; this one here, over which Fourier features are defined. Points that are all the
    same become 0.
    """
    centred = np.asarray(points, np.float64)  # Meshes may lie far from 0, in any unit.
    centred = centred - centred.T.copy().mean(axis=1)  # Five times as fast along long rows.
    largest = np.abs(centred).max()
    # Below this, all that is left is the rounding of the mean.
    if largest > 1e-12 * np.abs(points).max():
        centred = centred / largest
    else:
        centred = np.zeros_like(centred)
    return centred.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomChanges:
    """How training clouds are changed at random. In the order of the fields; 0 and none: not.

    Sizes are those of a normalised cloud, which reaches from -1 to 1.
    """

    # Perceiver, Sec. 4.3: each point's coordinates times a factor of its own, from 1 ± this.
    scale_points: float = 0.01
    # Each point moved by up to this along each axis. The paper tried 0.02: no help.
    translate_points: float = 0.0
    # Turned as a whole, about the up axis by any angle, or anyhow. The paper tried it: no help.
    rotate: Turning = "none"
    scale_axes: float = 0.0  # Each axis times a factor between 1 / (1 + this) and 1 + this.
    mirror: bool = False  # Every other cloud is mirrored, x for -x, if up is z: not front for back.
    jitter: float = 0.0  # Standard deviation of normal noise on each coordinate.
    # Up to this share of the points, drawn for each cloud, fall onto one point of it.
    drop: float = 0.0
    up_axis: int = 2  # The axis that points up: 2 in ModelNet.

    def __post_init__(self) -> None:
        for name in ("scale_points", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"data.augmentation.{name}={getattr(self, name)} must lie in "
                                  "[0, 1).")  # fmt: skip
        for name in ("translate_points", "scale_axes", "jitter"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"data.augmentation.{name}={getattr(self, name)} must not be negative."
                )
        if self.rotate not in ("none", "up", "any"):
            raise ConfigError(
                f"data.augmentation.rotate={self.rotate!r} must be 'none', 'up' or 'any'."
            )
        if self.up_axis not in (0, 1, 2):
            raise ConfigError(f"data.augmentation.up_axis={self.up_axis} must be 0, 1 or 2.")

    def __call__(
        self,
        points: np.ndarray,  # [n, 3], normalised
        rng: np.random.Generator,
    ) -> np.ndarray:  # [n, 3], not normalised any more
        """Returns a cloud changed at random; all randomness comes from `rng`."""
        count = len(points)
        if self.scale_points:
            points = points * rng.uniform(1 - self.scale_points, 1 + self.scale_points, (count, 1))
        if self.translate_points:
            points = points + rng.uniform(-self.translate_points, self.translate_points, (count, 3))
        if self.rotate != "none":
            turned = about(self.up_axis, rng) if self.rotate == "up" else anyhow(rng)
            points = points @ turned.T
        if self.scale_axes:
            points = points * (1 + self.scale_axes) ** rng.uniform(-1, 1, 3)
        if self.mirror and rng.integers(2):
            points = points.copy()
            points[:, (self.up_axis + 1) % 3] *= -1  # Across the axis on which furniture faces us.
        if self.jitter:
            points = points + self.jitter * rng.standard_normal((count, 3))
        if self.drop:
            gone = rng.random(count) < rng.uniform(0, self.drop)
            points = np.where(gone[:, None], points[rng.integers(count)], points)
        return points


def about(axis: int, rng: np.random.Generator) -> np.ndarray:  # [3, 3]
    """A rotation about an axis, all angles equally likely."""
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[one, one, other, other], [one, other, one, other]] = cos, -sin, sin, cos
    return matrix


def anyhow(rng: np.random.Generator) -> np.ndarray:  # [3, 3]
    """A rotation, all equally likely: that of a random unit quaternion."""
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
