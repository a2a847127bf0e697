"""Random examples of any shape: for dry runs and benchmarks of a model without its data set.

They cost next to nothing, so that what is measured is the model: every example is a window into one
buffer of random values, and copied once, into its batch. There is nothing to learn from them.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_jax.data.source import Example
from perceiver_jax.errors import ConfigError, DataError

_SPLITS = ("train", "test")
_WINDOWS = 4099  # Different places for a window to start at; a prime, so that none is favoured.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """One array of an example."""

    shape: tuple[int, ...]  # Without the batch.
    dtype: str = "float32"  # Floats are normally distributed, mean 0, deviation 1.
    num_values: int = 256  # Integers are drawn from 0 to num_values - 1.

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise ConfigError(f"shape={self.shape} of a synthetic array must be of sizes above 0.")
        try:
            kind: str = np.dtype(self.dtype).kind
        except TypeError:
            kind = "?"
        if kind not in "fiu":
            raise ConfigError(
                f"dtype={self.dtype!r} of a synthetic array must be a type of floats or integers "
                "that NumPy has, such as float32, int32 or uint8."
            )
        if not 1 <= self.num_values <= (np.iinfo(self.dtype).max + 1 if kind != "f" else math.inf):
            raise ConfigError(
                f"num_values={self.num_values} of a synthetic array is more than {self.dtype} "
                "can tell apart, or less than 1."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Random examples. Splits: "train" and "test". An example is a function of its index.

    An example is {name: array} for `arrays`, and "label": an int32 class, or, with `multi_label`,
    [num_classes] float32 of 0 and 1.
    """

    arrays: Mapping[str, ArrayConfig]  # By name.
    group: str | None = None  # All arrays in one dict of this name, as inputs by modality come.
    num_classes: int = 10  # Labels are drawn uniformly.
    multi_label: bool = False  # Several independent labels for each example.
    labels_per_example: int = 2  # How many of them, if there are several.
    num_examples: int = 1024  # Of "train".
    num_test_examples: int = 256  # Of "test".

    def __post_init__(self) -> None:
        if not self.arrays:
            raise ConfigError("data.arrays must hold at least one array.")
        if self.group is None and "label" in self.arrays:
            raise ConfigError("data.arrays must not hold 'label': that is where the labels are.")
        for name in ("num_classes", "num_examples", "num_test_examples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"data.{name}={getattr(self, name)} must be at least 1.")
        if not 0 <= self.labels_per_example <= self.num_classes:
            raise ConfigError(
                f"data.labels_per_example={self.labels_per_example} must lie in "
                f"[0, {self.num_classes}], the number of classes."
            )

    @classmethod
    def for_inputs(cls, inputs: Any, *, name: str, **settings: Any) -> "SyntheticConfig":
        """Returns a config for a model's inputs.

        Args:
          inputs: one of `Model.example_inputs()`: a shape and dtype with the batch first, or a
            dict of them by modality.
          name: what the input is called in a batch (the task's `input_key`).
          **settings: the other fields.
        """
        if not isinstance(inputs, Mapping):
            return cls(arrays={name: _array_like(inputs)}, **settings)
        arrays = {modality: _array_like(each) for modality, each in inputs.items()}
        return cls(arrays=arrays, group=name, **settings)

    def make_source(self, split: str) -> "SyntheticSource":
        """Opens a split.

        Raises:
          DataError: a split other than "train" and "test".
        """
        if split not in _SPLITS:
            raise DataError(
                f"Synthetic data have no split {split!r}; they have: {', '.join(_SPLITS)}."
            )
        return SyntheticSource(self, _SPLITS.index(split))

    def augment(self, example: Example, rng: np.random.Generator) -> Example:
        """Returns the example as it is."""
        return example


@dataclasses.dataclass(frozen=True)
class SyntheticSource:
    """Random examples; see `SyntheticConfig`. Their arrays must not be written to."""

    config: SyntheticConfig
    split: int  # The number of the split, which makes its examples different.

    def __len__(self) -> int:
        return self.config.num_test_examples if self.split else self.config.num_examples

    def __getitem__(self, index: int) -> Example:
        config = self.config
        rng = np.random.default_rng((self.split, index))
        arrays: dict[str, Any] = {
            name: _window(array, int(rng.integers(_WINDOWS)))
            for name, array in config.arrays.items()
        }
        if config.group is not None:
            arrays = {config.group: arrays}
        if not config.multi_label:
            return {**arrays, "label": np.int32(rng.integers(config.num_classes))}
        label = np.zeros(config.num_classes, np.float32)
        label[rng.choice(config.num_classes, config.labels_per_example, replace=False)] = 1.0
        return {**arrays, "label": label}


def _array_like(struct: Any) -> ArrayConfig:
    return ArrayConfig(shape=tuple(struct.shape[1:]), dtype=np.dtype(struct.dtype).name)


def _window(array: ArrayConfig, start: int) -> np.ndarray:
    size = math.prod(array.shape)
    values = _values(size, array.dtype, array.num_values)[start : start + size]
    return values.reshape(array.shape)


@functools.lru_cache(maxsize=16)
def _values(size: int, dtype: str, num_values: int) -> np.ndarray:  # [size + _WINDOWS]
    """The buffer that the windows are of; a process makes it once."""
    rng, total = np.random.default_rng(size), size + _WINDOWS
    if np.dtype(dtype).kind == "f":
        values = rng.standard_normal(total, np.float32).astype(dtype)
    else:
        values = rng.integers(num_values, size=total).astype(dtype)
    values.flags.writeable = False
    return values
