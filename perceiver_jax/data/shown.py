"""What a data set may tell a report about itself. Every method is optional.

A data set's config that has one of these methods gets the parts of the report that need it; one
without goes without them. Nothing is guessed from shapes or names.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from perceiver_jax.data.source import Example


@runtime_checkable
class NamesClasses(Protocol):
    """A data set whose labels have names."""

    def class_names(self) -> Sequence[str]:
        """Returns the names, in the order of the labels."""


def class_names(data: Any, count: int) -> tuple[str, ...]:
    """Returns the names of `count` classes; their numbers where the data do not name them all.

    Args:
      data: the data set's config.
      count: how many there are.
    """
    names = tuple(data.class_names()) if isinstance(data, NamesClasses) else ()
    return names if len(names) == count else tuple(map(str, range(count)))


@runtime_checkable
class ShowsPictures(Protocol):
    """A data set whose examples can be looked at."""

    def picture(self, example: Example) -> np.ndarray:
        """Returns an example as an image, uint8 [y, x, 1] (grey) or [y, x, 3] (RGB).

        Of any size; what is large is scaled down. Where the model reads a grid of pixels or
        patches, the picture shows all of that grid, so that attention maps can stand beside it.
        """


@runtime_checkable
class ExplainsPictures(Protocol):
    """A data set of which a picture does not say itself what is in it."""

    def picture_note(self) -> str:
        """Returns a sentence or two to stand over pictures; "" where there is nothing to say."""


@runtime_checkable
class ShowsPoints(Protocol):
    """A data set whose examples are clouds of points."""

    def cloud(self, example: Example) -> np.ndarray:
        """Returns the points of an example as the model reads them, float32 [n, 3]."""

    def up(self) -> Literal["x", "y", "z"]:
        """Returns the axis of them that points up."""
