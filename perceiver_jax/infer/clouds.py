"""Files of meshes and of points to the clouds that a model reads, as in its evaluation.

A mesh is sampled on its surface, as many points as the model was made for; of a file of points as
many are taken. Both are normalised by the function that training uses too
(perceiver_jax/data/points/transforms.py). What a mesh calls up stays up: a model knows chairs the
way round in which it has seen them, in ModelNet40 with z up.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.data.points import meshes, point_files
from perceiver_jax.data.points.transforms import normalize
from perceiver_jax.errors import DataError, ModelError
from perceiver_jax.infer.files import find_files

SUFFIXES = (*meshes.MESH_SUFFIXES, *point_files.POINT_SUFFIXES)


def reads_clouds(config: zoo.ModelConfig) -> bool:
    """Whether a model reads clouds of points, and nothing else."""
    if isinstance(config, zoo.BaselineConfig):
        return config.of_points
    return isinstance(config.preprocessor, zoo.PointsConfig)


def natural_number(config: zoo.ModelConfig) -> int:
    """How many points a model was made for.

    Raises:
      ModelError: it reads no clouds of points.
    """
    if isinstance(config, zoo.BaselineConfig) and config.of_points:
        return config.shape[0] * config.shape[1]
    if not isinstance(config, zoo.BaselineConfig):
        if isinstance(config.preprocessor, zoo.PointsConfig):
            return config.preprocessor.num_points
    raise ModelError("this model reads no clouds of points.")


def takes_any_number(config: zoo.ModelConfig) -> bool:
    """Whether a model takes clouds of any number of points; baselines arrange them in a grid."""
    return not isinstance(config, zoo.BaselineConfig)


def check_number(config: zoo.ModelConfig, num_points: int) -> None:
    """Checks that a model takes clouds of so many points.

    Raises:
      ModelError: it takes but one number, and another one than this.
    """
    wanted = natural_number(config)
    if not takes_any_number(config) and num_points != wanted:
        raise ModelError(
            f"this model arranges points in a grid, and reads exactly {wanted:,} of them; got "
            f"--num_points={num_points}."
        )


def find_clouds(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Lists files of meshes and points; see `files.find_files`.

    In folders, text files that do not begin with numbers, such as README.txt, are skipped.

    Raises:
      DataError: something does not exist, or a folder has none of them.
    """
    return find_files(paths, SUFFIXES, "mesh or file of points", "meshes or files of points", _fits)


def _fits(path: Path) -> bool:
    return path.suffix.lower() in meshes.MESH_SUFFIXES or point_files.looks_like_points(path)


def read_cloud(
    path: str | Path, num_points: int, seed: int = 0
) -> np.ndarray:  # [points, 3], float32, in [-1, 1]
    """Reads a file as a model is evaluated on it.

    Args:
      path: a mesh (.off, .obj, .ply, .stl), whose surface is sampled; or points (.npy; .ply of
        vertices alone; or text with three or more numbers a line: .txt, .xyz, .csv).
      num_points: how many of a mesh; of a file of points, so many at most, drawn at random and in
        random order where it has more. One that has no more is taken as it is.
      seed: of the points that are drawn.

    Raises:
      DataError: the file is missing or damaged, holds no surface or no points, or points that are
        all the same, or is of neither kind by its name; the message names it.
      UserError: trimesh is not installed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a mesh or a file of points.")
    points: meshes.Mesh | np.ndarray
    if suffix == ".ply":
        points = meshes.read_ply(path)
    elif suffix in meshes.MESH_SUFFIXES:
        points = meshes.read_mesh(path)
    elif suffix in point_files.POINT_SUFFIXES:
        points = point_files.read_points(path)
    else:
        raise DataError(
            f"{path} is neither a mesh ({', '.join(meshes.MESH_SUFFIXES)}) nor a file of points "
            f"({', '.join(point_files.POINT_SUFFIXES)}) by its name."
        )
    if isinstance(points, meshes.Mesh):
        return normalize(meshes.sample(points, num_points, seed))
    if (points == points[0]).all():
        raise DataError(
            f"{path}: it has no extent: {points[0].tolist()} is its only place, of "
            f"{len(points):,} {'point' if len(points) == 1 else 'points'}."
        )
    if len(points) > num_points:
        points = meshes.draw(points, num_points, seed)
    return normalize(points)
