"""MixUp and CutMix: two images and their labels make one example, on the device, in the step.

The released ImageNet recipe (Perceiver IO, App. A.1) mixes half of every batch by MixUp (Zhang et
al. 2018) and the other half by CutMix (Yun et al. 2019). From images a and b with the ratio r:

    MixUp    image = r * a + (1 - r) * b,          r ~ Beta(alpha, alpha)
    CutMix   image = a, with a box out of b in it, r = the share of the pixels that are a's

and the target of both is r * onehot(label of a) + (1 - r) * onehot(label of b). CutMix's box has
a uniform area: with u ~ U(0, 1) its sides are sqrt(u) of the image's. Its centre is uniform over
the image, and what lies beyond the border is cut off, so that r is 1 - u or more.

Neighbours in the batch are mixed, 2i with 2i + 1, so that no image leaves its device. What is drawn
for a pair is a function of the key and of i: the same for any number of devices and processes.
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.errors import ConfigError

READS = 2  # Examples that make one.

Kind = Literal["mixup", "cutmix"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixConfig:
    """How pairs of images become one. The defaults are the released recipe's."""

    kinds: tuple[Kind, ...] = ("mixup", "cutmix")  # Pairs take turns: even ones the first kind.
    mixup_alpha: float = 0.2  # MixUp's ratio is drawn from Beta(mixup_alpha, mixup_alpha).

    def __post_init__(self) -> None:
        known = {"mixup", "cutmix"}
        if not self.kinds or not known.issuperset(self.kinds):
            raise ConfigError(
                f"task.mixing.kinds={self.kinds} must be mixup, cutmix, or both; without mixing, "
                "task.mixing is none."
            )
        if len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"task.mixing.kinds={self.kinds} names one of them twice.")
        if not 0 < self.mixup_alpha < math.inf:
            raise ConfigError(
                f"task.mixing.mixup_alpha={self.mixup_alpha} must be a number above 0; to leave "
                "MixUp out, give task.mixing.kinds=cutmix."
            )

    def kind(self, pair: int) -> Kind:
        """Returns what a pair is mixed by: the kinds take turns, whatever else is drawn."""
        return self.kinds[pair % len(self.kinds)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draws:
    """All that is random about P pairs; each pair uses what its kind needs."""

    is_cutmix: jax.Array  # [P] bool: which kind a pair is mixed by.
    mixup_ratio: jax.Array  # [P] float32 in [0, 1]: share of a, by MixUp.
    area: jax.Array  # [P] float32 in [0, 1): of CutMix's box, before the border cuts it.
    centre: jax.Array  # [P, 2] float32 in [0, 1): of the box, from the top and from the left.

    @classmethod
    def of(cls, config: MixConfig, key: jax.Array, num_pairs: int) -> "Draws":
        """Draws for `num_pairs` pairs; what is drawn for the first few does not depend on it."""

        def draw(pair: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            ratio, area, centre = jax.random.split(jax.random.fold_in(key, pair), 3)
            return (
                jax.random.beta(ratio, config.mixup_alpha, config.mixup_alpha, dtype=jnp.float32),
                jax.random.uniform(area, dtype=jnp.float32),
                jax.random.uniform(centre, (2,), dtype=jnp.float32),
            )

        is_cutmix = np.array([config.kind(pair) == "cutmix" for pair in range(num_pairs)], bool)
        return cls(jnp.asarray(is_cutmix), *jax.vmap(draw)(jnp.arange(num_pairs)))

    def box(self, height: int, width: int) -> tuple[jax.Array, jax.Array]:
        """Returns the box's pixels: the first ones [P, 2], and those one past the last [P, 2].

        Rows come before columns. Sides are rounded to whole pixels; a box may be empty.
        """
        size = jnp.asarray([height, width], jnp.float32)
        half = jnp.sqrt(self.area)[:, None] * size / 2
        centre = self.centre * size
        first, past = jnp.round(centre - half), jnp.round(centre + half)
        return jnp.clip(first, 0, size).astype(jnp.int32), jnp.clip(past, 0, size).astype(jnp.int32)

    def mask(self, height: int, width: int) -> jax.Array:
        """Returns CutMix's mask [P, height, width]: True where the image is a's, not the box's."""
        first, past = (edges[:, :, None] for edges in self.box(height, width))  # [P, 2, 1]
        rows, columns = jnp.arange(height), jnp.arange(width)
        in_rows = (first[:, 0] <= rows) & (rows < past[:, 0])  # [P, height]
        in_columns = (first[:, 1] <= columns) & (columns < past[:, 1])  # [P, width]
        return ~(in_rows[:, :, None] & in_columns[:, None, :])

    def ratio(self, height: int, width: int) -> jax.Array:
        """Returns the share of a [P] float32: by CutMix the mean of the mask, border and all."""
        first, past = self.box(height, width)
        cut = jnp.prod(past - first, axis=-1).astype(jnp.float32)  # [P] pixels, whole numbers
        kept = height * width - cut
        # Not over the constant: XLA would multiply by its inverse, which rounds twice.
        return jnp.where(self.is_cutmix, kept / (kept + cut), self.mixup_ratio)


def mix_images(
    images: jax.Array,  # [2P, y, x, c]
    draws: Draws,  # Of P pairs.
) -> jax.Array:  # [P, y, x, c]
    """Mixes images 2i and 2i + 1, in whatever scale they are.

    Computed in float32 and returned in the images' type; integers come back as float32.
    """
    height, width = images.shape[1:3]
    first, second = of_pairs(images)
    a, b = first.astype(jnp.float32), second.astype(jnp.float32)
    ratio = draws.mixup_ratio[:, None, None, None]
    blended = ratio * a + (1 - ratio) * b
    # where, not products with the mask: what is not shown may be infinite.
    cut = jnp.where(draws.mask(height, width)[..., None], a, b)
    mixed = jnp.where(draws.is_cutmix[:, None, None, None], cut, blended)
    return mixed.astype(images.dtype) if jnp.issubdtype(images.dtype, jnp.floating) else mixed


def of_pairs(array: jax.Array) -> tuple[jax.Array, jax.Array]:  # [2P, ...] -> two of [P, ...]
    """Returns the first and the second of every pair of neighbours.

    By a reshape: the compiler then sees that both lie where their pair lies.
    """
    paired = array.reshape(array.shape[0] // READS, READS, *array.shape[1:])
    return paired[:, 0], paired[:, 1]
