"""A split as it is evaluated: what every set does whose training examples are changed at random."""

import dataclasses
from typing import Protocol

from perceiver_jax.data.source import Example


class Stored(Protocol):
    """Examples as they are stored: a `Source` that says where each of them is."""

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Example:
        """Returns a stored example."""

    def describe(self, index: int) -> str:
        """Says where an example is stored."""


class Evaluates(Protocol):
    """A data set's config, in so far as it prepares examples for evaluation."""

    def evaluated(self, example: Example) -> Example:
        """Returns a stored example as it is evaluated: a function of it alone."""


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A `Source` of examples as they are evaluated: a function of what is stored alone."""

    config: Evaluates
    stored: Stored

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> Example:
        return self.config.evaluated(self.stored[index])

    def describe(self, index: int) -> str:
        """Says where an example is stored."""
        return self.stored.describe(index)
