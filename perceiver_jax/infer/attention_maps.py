"""What latents looked at: the attention of every cross-attend (Perceiver, Fig. 3).

A map is a distribution over input elements, one for each cross-attend, head and latent. Inputs that
form a grid get theirs back as a grid. attention_plots.py draws them.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.infer.loaded import LoadedModel


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The maps of one example."""

    names: tuple[str, ...]  # Of the cross-attends, in the order in which they run.
    weights: np.ndarray  # [cross-attends, heads, latents, *grid], float32; a map sums to 1.
    outputs: Any  # What the model answered, without a batch axis.

    @property
    def grid(self) -> tuple[int, ...]:
        """Size of the grid of input elements."""
        return self.weights.shape[3:]

    @property
    def num_heads(self) -> int:
        return self.weights.shape[1]

    @property
    def num_latents(self) -> int:
        return self.weights.shape[2]

    def mean(self) -> np.ndarray:
        """The mean over heads and latents, [cross-attends, *grid]: what was read at all."""
        return self.weights.mean(axis=(1, 2))


def cross_attends(
    loaded: LoadedModel,
    *inputs: Any,  # As for `LoadedModel.apply`, with one example.
    input_mask: np.ndarray | None = None,  # [1, m]
) -> AttentionMaps:
    """Runs a model on one example and returns the attention of its encoder's cross-attends.

    Self-attention is not kept, nor is the decoder's attention, which reads no inputs.

    Raises:
      ModelError: a model without cross-attends, or inputs that do not fit it.
    """
    config = loaded.config
    if isinstance(config, zoo.BaselineConfig):
        raise ModelError(f"a {config.what} has no cross-attends to show.")
    pattern = f"{config.encoder_name}/*cross_attention*/attention"
    outputs, captured = loaded.capture(*inputs, patterns=(pattern,), input_mask=input_mask)
    keys = sorted(captured, key=_running_order)
    maps = [np.asarray(captured[key]) for key in keys]
    if maps[0].shape[0] != 1:
        raise ValueError(f"attention is shown of one example at a time; got {maps[0].shape[0]}.")
    grid, order = _grid(config, maps[0].shape[-1])
    weights = np.empty((len(maps), *maps[0].shape[1:3], *grid), np.float32)
    for cross_attend, map_ in zip(weights, maps, strict=True):
        flat = cross_attend.reshape(*map_.shape[1:])  # A view.
        flat[..., order] = map_[0]
    names = tuple(f"cross-attend {number}" for number in range(1, len(maps) + 1))
    if isinstance(outputs, dict):
        return AttentionMaps(
            names, weights, {name: np.asarray(each)[0] for name, each in outputs.items()}
        )
    return AttentionMaps(names, weights, np.asarray(outputs)[0])


def restrict(maps: AttentionMaps, length: int) -> AttentionMaps:
    """Drops all but the first `length` elements: padding, of which nothing was read."""
    return dataclasses.replace(maps, weights=maps.weights[..., :length])


def _running_order(key: str) -> tuple[int, int]:
    """Sorts `.../cross_attention_3/attention#2` by number of the module and of the call.

    A module that is called several times shares its weights between all cross-attends after the
    first, so this is the order in which they run.
    """
    found = re.search(r"/cross_attention(?:_(\d+))?/attention#(\d+)$", key)
    assert found is not None, key
    return int(found.group(1) or 0), int(found.group(2))


def _grid(config: zoo.PerceiverConfig, num_elements: int) -> tuple[tuple[int, ...], Any]:
    """The grid of a model's input elements, and where each element lies in it, flat."""
    preprocessor = config.preprocessor
    order: Any = slice(None)
    if isinstance(preprocessor, zoo.ImageConfig | zoo.AudioConfig):
        if preprocessor.permutation_seed is not None:
            order = zoo.fixed_permutation(preprocessor.permutation_seed, num_elements)
        grid = preprocessor.index_dims
        if np.prod(grid) == num_elements:
            return grid, order
    return (num_elements,), order


def choose_latents(num_latents: int, count: int) -> tuple[int, ...]:
    """`count` latents to show, evenly spaced: they have no order, so any choice is as good."""
    count = min(count, num_latents)
    return tuple(int(index) for index in np.linspace(0, num_latents - 1, count).round())


class Row(NamedTuple):
    """A map to show, and what it is called."""

    label: str
    weights: np.ndarray  # [*grid]


def rows(
    maps: AttentionMaps, latents: Sequence[int] = (), *, per_head: bool = False
) -> list[list[Row]]:
    """The maps to show, for each cross-attend or each of its heads.

    Args:
      maps: all maps.
      latents: which latents to show after the mean over all.
      per_head: whether each head comes on its own, or the mean over heads.

    Returns:
      Lists of the mean over all latents and then each of `latents`.
    """
    shown = []
    for name, cross_attend in zip(maps.names, maps.weights, strict=True):
        heads = {name: cross_attend.mean(axis=0)}
        if per_head and maps.num_heads > 1:
            heads = {f"{name}, head {head}": each for head, each in enumerate(cross_attend)}
        for label, each in heads.items():
            shown.append(
                [
                    Row(f"{label}: mean of latents", each.mean(axis=0)),
                    *(Row(f"{label}: latent {latent}", each[latent]) for latent in latents),
                ]
            )
    return shown


def upsample(
    maps: np.ndarray,  # [..., y, x]
    shape: tuple[int, int],
) -> np.ndarray:  # [..., *shape]
    """Enlarges maps of a grid to pixels, each of which takes the value of its element."""
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(int)
        for old, new in zip(maps.shape[-2:], shape, strict=True)
    )
    return maps[..., rows[:, None], columns]
