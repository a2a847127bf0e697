"""The flags of all tasks that read clouds of points, and what they do."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from perceiver_jax.infer.commands.inputs import (
    IMAGE_FLAGS,
    list_inputs,
    refuse_flags,
    with_class_names,
)

if TYPE_CHECKING:
    import numpy as np

    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel


_FEWEST = 16  # Points; fewer are no shape that anybody could tell.


def define_flags() -> None:
    """Defines the flags that say how meshes and files of points are read."""
    flags.DEFINE_integer(
        "num_points",
        None,
        "How many points of a mesh are sampled, and how many of a file of points are read at most; "
        "without it, as many as the model was made for.",
        lower_bound=1,
    )
    flags.DEFINE_integer("seed", 0, "Of the points that are drawn.", lower_bound=0)


def prepare(
    loaded: "LoadedModel",
    report: "Report",
) -> tuple["LoadedModel", Callable[[Path], "np.ndarray"]]:
    """Returns a model with the flags applied, and what reads a file for it as [points, 3].

    Raises:
      ConfigError: there are flags about images.
      ModelError: the model does not take that many points.
      DataError: the class names cannot be read. So does the reader, for a file that is no cloud.
    """
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import clouds

    refuse_flags(IMAGE_FLAGS, "images", "clouds of points")
    natural = clouds.natural_number(loaded.config)
    number = flags.FLAGS.num_points or natural
    clouds.check_number(loaded.config, number)

    def read(path: Path) -> "np.ndarray":
        cloud = clouds.read_cloud(path, number, flags.FLAGS.seed)
        if len(cloud) < number:
            if not clouds.takes_any_number(loaded.config):
                raise DataError(
                    f"{path}: it has {len(cloud):,} points, and this model reads exactly "
                    f"{number:,}."
                )
            if len(cloud) < _FEWEST:
                raise DataError(
                    f"{path}: it has {len(cloud):,} points, too few to show a shape: {_FEWEST} are "
                    "needed."
                )
            asked = "--num_points asks" if flags.FLAGS.num_points else "the model was made"
            report.note(f"{path}: it has {len(cloud):,} points of the {number:,} that {asked} for.")
        return cloud

    return with_class_names(loaded), read


def find_clouds(inputs: list[str], report: "Report") -> list[Path]:
    """Lists the files at `inputs`; what is missing or has none is a failure of its own."""
    from perceiver_jax.infer import clouds

    return list_inputs(inputs, report, clouds.find_clouds)
