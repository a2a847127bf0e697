"""The `DataConfig` of labelled clouds of points: which, and what is done to them for a model.

Training: as many of the stored points as the model reads, drawn anew each time and in random order;
normalised, changed at random, normalised again (Perceiver, Sec. 4.3). Evaluation: the first ones,
which are as good as any, since points are stored in random order; normalised.
"""

import dataclasses

import numpy as np

from perceiver_jax.data.evaluated import Evaluated
from perceiver_jax.data.points import views
from perceiver_jax.data.points.modelnet import Clouds, ModelNetConfig
from perceiver_jax.data.points.transforms import RandomChanges, normalize
from perceiver_jax.data.source import Example
from perceiver_jax.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointCloudsConfig:
    """Labelled clouds. Splits: "train", "valid" (held out of train, if asked for) and "test".

    An example is {"points": float32 [num_points, 3] in [-1, 1], "label": int32}.

    Open: how many points ("about 2000"), 2,048; whether clouds are normalised in evaluation as in
    training, where the paper speaks of zero-centring only: yes, or models would see other sizes.
    """

    points: ModelNetConfig = ModelNetConfig()  # Where they come from.
    num_points: int = 2048  # Points of a cloud that the model reads; no more than are stored.
    augmentation: RandomChanges | None = RandomChanges()  # Of training clouds; None: none.

    def __post_init__(self) -> None:
        if self.num_points < 1:
            raise ConfigError(f"data.num_points={self.num_points} must be at least 1.")

    def make_source(self, split: str) -> Evaluated:
        """Opens a split as it is evaluated.

        Raises:
          DataError: no such split, or what is missing, with the mend.
          UserError: a package is missing.
        """
        return Evaluated(self, self.points.open(split))

    def make_training_source(self) -> Clouds:
        """Opens the split "train" as `augment` takes it: all stored points, as they are stored.

        Raises:
          DataError: see `make_source`.
        """
        return self.points.open("train")

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns a stored example with points drawn, changed at random, and normalised."""
        stored = self._enough(example["points"])
        points = stored.take(rng.permutation(len(stored))[: self.num_points], axis=0)
        if self.augmentation is not None:
            points = self.augmentation(normalize(points), rng)
        return {**example, "points": normalize(points)}

    def evaluated(self, example: Example) -> Example:
        """Returns a stored example as it is evaluated: the first points, normalised."""
        points = self._enough(example["points"])[: self.num_points]
        return {**example, "points": normalize(points)}

    def class_names(self) -> tuple[str, ...]:
        """Returns the names of the classes, in the order of the labels.

        Raises:
          DataError: see `make_source`.
        """
        try:
            return self.points.open("test").class_names
        except DataError:  # There may be none, where training is judged on what is held out.
            return self.points.open("train").class_names

    def cloud(self, example: Example) -> np.ndarray:  # [n, 3], float32
        """Returns the points of an example as the model sees them."""
        return np.asarray(example["points"])

    def picture(self, example: Example) -> np.ndarray:
        """Returns an example seen from three sides, uint8 [height, width, 3]."""
        return views.three(example["points"], up=self.up())

    def up(self) -> views.Axis:
        """Returns the axis that pictures show as up: that of the augmentation, z without one."""
        return views.AXES[self.augmentation.up_axis] if self.augmentation else "z"

    def _enough(self, stored: np.ndarray) -> np.ndarray:  # [n, 3]
        if len(stored) < self.num_points:
            raise DataError(
                f"The clouds of {self.points.name!r} have {len(stored):,} points, fewer than "
                f"data.num_points={self.num_points:,}. Prepare them anew with "
                f"--num_points={self.num_points}, or ask for fewer with "
                f"--config.data.num_points={len(stored)}; docs/data.md says how they are prepared."
            )
        return stored
