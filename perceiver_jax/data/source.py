"""What a data set is: a sequence of examples that can be read in any order."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

Example = Mapping[str, Any]  # Arrays and numbers by name.


@runtime_checkable
class Source(Protocol):
    """Random access to examples; reading one must not depend on what was read before."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Example:
        """Returns example `index`, 0 <= index < len(self)."""


@runtime_checkable
class DataConfig(Protocol):
    """A data set's config: a frozen dataclass that knows how to open the data set."""

    def make_source(self, split: str) -> Source:
        """Opens a split.

        Raises:
          DataError: no such split, or a missing file or package, with the mend.
        """

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns a training example changed at random; all randomness comes from `rng`."""
