"""Names of classes, one a line, in the order of the models' outputs.

imagenet.txt     ImageNet-1k: the WordNet lemmas of the 1000 synsets, sorted by synset. Two are
                 both named "crane": 134 is the bird, 517 the machine.
kinetics700.txt  Kinetics-700 (2020): the 700 actions in alphabetical order.
"""

import functools
import re
from importlib import resources
from pathlib import Path

from perceiver_jax.errors import DataError

_WORDNET = re.compile(r"n\d{8}")


@functools.cache
def imagenet() -> tuple[str, ...]:
    """The 1000 names of ImageNet-1k."""
    return _packaged("imagenet.txt")


@functools.cache
def kinetics700() -> tuple[str, ...]:
    """The 700 names of Kinetics-700."""
    return _packaged("kinetics700.txt")


def for_outputs(num_classes: int, given: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Names for the outputs of a model.

    Args:
      num_classes: number of outputs.
      given: names that came with the model, or from the user.

    Returns:
      `given` if it is as long, and more than WordNet's numbers, as ImageNet's folders are called;
      else ImageNet's names for 1000 classes and Kinetics' for 700; else "class 0", "class 1" and
      so on.

    Raises:
      DataError: `given` has another length.
    """
    if given is not None:
        if len(given) != num_classes:
            names = "is 1 class name" if len(given) == 1 else f"are {len(given)} class names"
            classes = "1 class" if num_classes == 1 else f"{num_classes} classes"
            raise DataError(
                f"there {names} for a model of {classes}; give one name a line, in the order of "
                "the model's outputs."
            )
        if not (num_classes == 1000 and all(map(_WORDNET.fullmatch, given))):
            return tuple(given)
    standard = {1000: imagenet, 700: kinetics700}.get(num_classes)
    return standard() if standard else tuple(f"class {index}" for index in range(num_classes))


def read(path: str | Path) -> tuple[str, ...]:
    """Reads names from a text file in UTF-8, one a line; empty lines at the end do not count.

    Raises:
      DataError: the file is missing, is no text, or has no names.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the class names {path} cannot be read: {error}") from error
    if not text.strip():
        raise DataError(f"{path} has no class names; write one a line.")
    return tuple(line.strip() for line in text.rstrip().splitlines())


def _packaged(name: str) -> tuple[str, ...]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return tuple(text.splitlines())
