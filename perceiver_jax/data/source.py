"""What a data set is: a sequence of examples that can be read in any order."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from perceiver_jax.errors import DataError

Example = Mapping[str, Any]  # Arrays and numbers by name; mappings of them by modality.


class CorruptExample(DataError):
    """The stored bytes of one example are damaged; the example is left out, and counted.

    Only this error means that. Any other that comes out of a source or an augmentation ends the
    run: a bug must not be taken for a million damaged files. A source raises it itself, or puts
    the one call that decodes a file under `decoding`.
    """


@contextlib.contextmanager
def decoding(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns what a decoder raises at damaged bytes into `CorruptExample`.

        with decoding(path, OSError, ValueError):
            image = decode(data)

    Only the call that decodes belongs inside: reading comes before, since a file that is missing
    or a disk that fails is no damaged example, and so does everything that may hold a bug.

    Args:
      what: what is decoded, for the message: a path, or a path and a record number.
      *errors: the errors by which the decoder says that it cannot make sense of the bytes.
    """
    try:
        yield
    except errors as error:
        raise CorruptExample(f"{what}: {str(error) or type(error).__name__}") from error


@runtime_checkable
class Source(Protocol):
    """Random access to examples; reading one must not depend on what was read before.

    Several threads read at once. To be read by processes, a source must be picklable. A source
    may also have `describe(index) -> str`, which says where an example is stored: messages about
    the example then name it.
    """

    def __len__(self) -> int:
        """Number of examples."""

    def __getitem__(self, index: int) -> Example:
        """Returns example `index`, 0 <= index < len(self).

        Raises:
          CorruptExample: what is stored of it is damaged.
        """


@runtime_checkable
class KnowsIds(Protocol):
    """A `Source` of a set of which nobody has the same examples, and that can say which it has."""

    def ids_digest(self) -> str:
        """Returns a hash of the examples' ids, whatever their order: belongs to every result."""


def ids_digest(source: Source) -> dict[str, str]:
    """Returns {"ids": hash} for a source that has one, to stand beside its number of examples.

    Raises:
      DataError: the ids cannot be read.
    """
    return {"ids": source.ids_digest()} if isinstance(source, KnowsIds) else {}


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


@runtime_checkable
class HasTrainingSource(Protocol):
    """A `DataConfig` whose `augment` takes other examples than `make_source` gives.

    Such as images before they are cropped, where `make_source` gives the crops of the evaluation.
    """

    def make_training_source(self) -> Source:
        """Opens the split "train" as `augment` takes it.

        Raises:
          DataError: see `DataConfig.make_source`.
        """


def training_source(data: DataConfig) -> Source:
    """Opens the examples to train on: only what `data.augment` makes of them goes into a batch.

    Raises:
      DataError: see `DataConfig.make_source`.
    """
    if isinstance(data, HasTrainingSource):
        return data.make_training_source()
    return data.make_source("train")
