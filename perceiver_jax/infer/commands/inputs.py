"""What the tasks for classifiers have in common: files, class names, flags that do not fit."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel

IMAGE_FLAGS = ("image_size", "interpolate_positions", "normalize")
CLOUD_FLAGS = ("num_points", "seed")


def list_inputs(
    inputs: Iterable[str],
    report: "Report",
    find: Callable[[Sequence[str]], tuple[list[Path], list[str]]],
) -> list[Path]:
    """Lists the files at `inputs` by `find`, which takes one or several, and returns notes too.

    What is missing, or has no file of the kind, is a failure of its own.
    """
    from perceiver_jax.errors import DataError

    paths: list[Path] = []
    for each in inputs:
        try:
            found, notes = find([each])
        except DataError as error:
            report.failure(error)
            continue
        for note in notes:
            report.note(note)
        paths += found
    return paths


def with_class_names(loaded: "LoadedModel") -> "LoadedModel":
    """Applies --class_names to a model.

    Raises:
      DataError: the names cannot be read.
    """
    import dataclasses

    from perceiver_jax.infer import class_names

    if flags.FLAGS.class_names is None:
        return loaded
    return dataclasses.replace(loaded, class_names=class_names.read(flags.FLAGS.class_names))


def refuse_flags(names: Iterable[str], about: str, reads: str) -> None:
    """Refuses flags that say nothing about what a model reads.

    Args:
      names: of the flags.
      about: what they are about: "images".
      reads: what the model reads: "clouds of points".

    Raises:
      ConfigError: one of them was given.
    """
    from perceiver_jax.errors import ConfigError

    given = [f"--{name}" for name in names if flags.FLAGS[name].present]
    if given:
        verb = "is" if len(given) == 1 else "are"
        raise ConfigError(
            f"{' and '.join(given)} {verb} about {about}, and this model reads {reads}; leave "
            f"{'it' if len(given) == 1 else 'them'} out."
        )
