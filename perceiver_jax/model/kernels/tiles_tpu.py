"""Attention in tiles that fit a TPU core's memory: where each lies in its array.

Heads lie side by side in the last axis, [b, index, h * d], where a block picks one. That is the
order in which linear layers write them, so nothing is transposed.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.model.kernels.sizes_tpu import LANES, SUBLANES, fill, round_up, tile_sizes

Array = jax.Array


class Tiled:
    """Queries, keys, values and a mask, filled up to whole tiles; runs kernels on them."""

    def __init__(self, queries: Array, keys: Array, values: Array, mask: Array | None):
        self.batch, self.true_queries, self.heads, _ = queries.shape
        num_keys = keys.shape[1]
        most = tile_sizes(queries.shape[-1], values.shape[-1], queries.dtype.itemsize)
        if most is None:
            raise ValueError(
                f"Heads of {queries.shape[-1]} and {values.shape[-1]} channels do not fit a "
                "kernel's memory; use attention='streamed'."
            )
        self.query_tile, self.num_queries = fill(self.true_queries, most[0], SUBLANES)
        self.key_tile, self.num_keys = fill(num_keys, most[1], LANES)
        if self.num_keys > num_keys and mask is None:
            mask = jnp.ones((self.batch, 1, num_keys), bool)
        self.mask = None
        if mask is not None:
            # One mask a query is as large as all scores, so it has the smallest dtype.
            rows = 1 if mask.shape[1] == 1 else self.num_queries
            missing = ((0, 0), (0, rows - mask.shape[1]), (0, self.num_keys - num_keys))
            self.mask = jnp.pad((mask != 0).astype(jnp.int32 if rows == 1 else jnp.int8), missing)
        self.queries = self.pad(queries, self.num_queries)
        self.keys = self.pad(keys, self.num_keys)
        self.values = self.pad(values, self.num_keys)
        self.qk_width = self.queries.shape[-1] // self.heads
        self.v_width = self.values.shape[-1] // self.heads

    def pad(self, x: Array, length: int) -> Array:  # [b, n, h, d] -> [b, length, h * d']
        """Adds zeros: to the length, and to each head's channels unless there is one head."""
        width = x.shape[-1] if self.heads == 1 else round_up(x.shape[-1], LANES)
        x = jnp.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0), (0, width - x.shape[-1])))
        return x.reshape(self.batch, length, self.heads * width)

    def cut(self, x: Array, length: int, width: int) -> Array:  # the reverse of `pad`
        return x.reshape(self.batch, x.shape[1], self.heads, -1)[:, :length, :, :width]

    def pad_rows(self, x: Array) -> Array:  # [b, h, q] -> [b, h, tiles, 1, q / tiles]
        x = jnp.pad(x, ((0, 0), (0, 0), (0, self.num_queries - self.true_queries)))
        return x.reshape(self.batch, self.heads, -1, 1, self.query_tile)

    def cut_rows(self, x: Array) -> Array:  # the reverse of `pad_rows`
        return x.reshape(self.batch, self.heads, -1)[:, :, : self.true_queries]

    def run(
        self,
        kernel: Any,
        *,
        grid: tuple[str, str],
        inputs: tuple[str, ...],
        arrays: tuple[Array | None, ...],
        outputs: tuple[tuple[str, Any], ...],
        scratch: tuple[tuple[int], ...],
        products: tuple[int, int],
        interpret: Any,
    ) -> tuple[Array, ...]:
        """Runs `kernel` for every example, head and tile of the grid's outer axis.

        Args:
          kernel: the kernel.
          grid: what the tiles of the outer and of the inner axis are of.
          inputs: the kind of block of each of `arrays`.
          arrays: the inputs.
          outputs: the kind of block and the dtype of each output.
          scratch: the widths of the float32 sums, as long as a tile of the outer axis.
          products: matrix products of tiles over or into channels of queries, and of values.
          interpret: see `attend_pallas`.
        """
        tiles = {"queries": self.query_tile, "keys": self.key_tile}
        lengths = {"queries": self.num_queries, "keys": self.num_keys}
        steps = {axis: lengths[axis] // tiles[axis] for axis in grid}

        def tile(axis: str, at: tuple[Any, ...]) -> Any:
            """Which tile of an axis is at a place of the grid."""
            return at[grid.index(axis)]

        def block(kind: str) -> tuple[pl.BlockSpec | None, tuple[int, ...]]:
            """The blocks of an array, and its shape."""
            if kind == "mask":
                if self.mask is None:
                    return None, ()
                one = self.mask.shape[1] == 1
                spec = pl.BlockSpec(
                    (None, 1 if one else tiles["queries"], tiles["keys"]),
                    lambda b, h, *at: (b, 0 if one else tile("queries", at), tile("keys", at)),
                )
                return spec, self.mask.shape
            if kind == "rows":
                spec = pl.BlockSpec(
                    (None, None, None, 1, self.query_tile),
                    lambda b, h, *at: (b, h, tile("queries", at), 0, 0),
                )
                num_tiles = self.num_queries // self.query_tile
                return spec, (self.batch, self.heads, num_tiles, 1, self.query_tile)
            axis, width = {
                "queries": ("queries", self.qk_width),
                "queries_of_v": ("queries", self.v_width),
                "keys": ("keys", self.qk_width),
                "values": ("keys", self.v_width),
            }[kind]
            spec = pl.BlockSpec(
                (None, tiles[axis], width), lambda b, h, *at: (b, tile(axis, at), h)
            )
            return spec, (self.batch, lengths[axis], self.heads * width)

        scores = self.batch * self.heads * self.num_queries * self.num_keys
        out_blocks = [block(kind) for kind, _ in outputs]
        return pl.pallas_call(
            functools.partial(kernel, steps=steps[grid[1]], precision=_precision(self.queries)),
            grid=(self.batch, self.heads, steps[grid[0]], steps[grid[1]]),
            in_specs=[block(kind)[0] for kind in inputs],
            out_specs=[spec for spec, _ in out_blocks],
            out_shape=[
                jax.ShapeDtypeStruct(shape, dtype)
                for (_, shape), (_, dtype) in zip(out_blocks, outputs, strict=True)
            ],
            scratch_shapes=[pltpu.VMEM((tiles[grid[0]], *width), jnp.float32) for width in scratch],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "parallel", "parallel", "arbitrary")
            ),
            cost_estimate=pl.CostEstimate(
                flops=2 * scores * (products[0] * self.qk_width + products[1] * self.v_width),
                transcendentals=scores,
                bytes_accessed=sum(x.nbytes for x in arrays if x is not None),
            ),
            interpret=interpret,
            name=kernel.__name__.strip("_"),
        )(*arrays)


def _precision(x: Array) -> lax.Precision:
    """The precision of products; kernels know but two of `jax_default_matmul_precision`'s."""
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    fast = (None, "default", "bfloat16", "fastest")
    if x.dtype == jnp.float32 and named not in fast:
        return lax.Precision.HIGHEST
    return lax.Precision.DEFAULT
