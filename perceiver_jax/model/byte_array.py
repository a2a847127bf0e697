"""The byte array: input elements [b, m, c], held as the parts that they are made of.

An element of an image is a pixel's content and the Fourier features of its row and of its column
(Perceiver, Sec. 3.2 and App. D). Written out, 50,176 pixels of 261 channels are mostly repetition:
258 of the channels are the same for every example, and only 224 + 224 rows of features differ. Kept
apart, an attention can be taken over them for a fraction of the operations (`folded.py`), and they
need never exist whole. `dense` writes them out.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model.routes import Part


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Grid:
    """Elements of one grid, row by row: element i stands in row i // k and column i % k.

    The channels of an element are its content, the features of its row, those of its column, and
    what is the same for all, in the order that `order` says. Elements without such a structure are
    a single column, whose rows may have features or none.
    """

    content: jax.Array  # [b, r, k, c_content]
    rows: jax.Array  # [r, c_rows]
    columns: jax.Array  # [k, c_columns]
    constant: jax.Array  # [c_constant]
    # Channel j of an element is channel order[j] of [content | rows | columns | constant].
    order: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(
        cls,
        content: jax.Array,  # [b, m, c_content]
        rows: jax.Array | None = None,  # [m, c_rows]
        constant: jax.Array | None = None,  # [c_constant]
    ) -> "Grid":
        """A single column of elements, their channels in the order of the arguments."""
        dtype = content.dtype
        rows = jnp.zeros((content.shape[1], 0), dtype) if rows is None else rows
        constant = jnp.zeros((0,), dtype) if constant is None else constant
        channels = content.shape[-1] + rows.shape[-1] + constant.shape[-1]
        columns = jnp.zeros((1, 0), dtype)
        return cls(content[:, :, None], rows, columns, constant, tuple(range(channels)))

    @property
    def num_elements(self) -> int:
        """Number of elements (m)."""
        return self.content.shape[1] * self.content.shape[2]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Channels of content, rows, columns and constant."""
        content, rows, columns, constant = self.content, self.rows, self.columns, self.constant
        return content.shape[-1], rows.shape[-1], columns.shape[-1], constant.shape[-1]

    def dense(self) -> jax.Array:  # [b, m, c]
        """Writes the elements out."""
        batch, rows, columns, _ = self.content.shape
        grid = (batch, rows, columns)
        parts = [
            self.content,
            jnp.broadcast_to(self.rows[None, :, None], (*grid, self.rows.shape[-1])),
            jnp.broadcast_to(self.columns[None, None], (*grid, self.columns.shape[-1])),
            jnp.broadcast_to(self.constant, (*grid, self.constant.shape[-1])),
        ]
        return jnp.concatenate(_reorder(parts, self.order), axis=-1).reshape(
            batch, rows * columns, len(self.order)
        )

    def split(self, x: jax.Array) -> list[jax.Array]:  # [..., c] -> four times [..., c_part]
        """Splits channels, in the elements' order, into those of the four parts."""
        x = x[..., np.argsort(self.order)]
        return jnp.split(x, np.cumsum(self.sizes)[:-1].tolist(), axis=-1)

    def join(self, parts: Sequence[jax.Array]) -> jax.Array:  # the reverse of `split`
        """Joins channels of the four parts in the elements' order."""
        return jnp.concatenate(_reorder(list(parts), self.order), axis=-1)

    def moments(self) -> tuple[jax.Array, jax.Array]:  # twice [b, r, k] float32
        """Mean and variance of every element's channels.

        Both follow from the mean and variance of the parts (Chan et al. 1979), so that nothing
        cancels and no element has to be written out.
        """
        every = (
            self.content,
            self.rows[None, :, None],
            self.columns[None, None],
            self.constant[None, None, None],
        )
        parts = [part.astype(jnp.float32) for part in every if part.shape[-1]]
        channels = len(self.order)
        means = [part.mean(axis=-1) for part in parts]
        mean = sum(part.shape[-1] / channels * own for part, own in zip(parts, means, strict=True))
        assert isinstance(mean, jax.Array)
        variance = sum(
            part.shape[-1] / channels * (part.var(axis=-1) + jnp.square(own - mean))
            for part, own in zip(parts, means, strict=True)
        )
        shape = self.content.shape[:3]
        return jnp.broadcast_to(mean, shape), jnp.broadcast_to(jnp.asarray(variance), shape)

    def with_constant(self, more: jax.Array) -> "Grid":  # [c_more]
        """Adds channels that are the same for all elements, after the others."""
        old = len(self.order)
        return dataclasses.replace(
            self,
            constant=jnp.concatenate([self.constant, more.astype(self.constant.dtype)]),
            order=(*self.order, *range(old, old + more.shape[-1])),
        )

    @property
    def part(self) -> Part:
        """The sizes that costs depend on."""
        content, rows, columns, _ = self.sizes
        num_rows, num_columns = self.content.shape[1:3]
        return Part(num_rows, num_columns, content, rows, columns)

    def take_rows(self, start: int, stop: int) -> "Grid":
        """The elements of some rows."""
        return dataclasses.replace(
            self, content=self.content[:, start:stop], rows=self.rows[start:stop]
        )

    def pieces(
        self, size: int
    ) -> tuple[tuple[jax.Array, jax.Array], "Grid | None"]:  # [n, b, size, k, c], [n, size, c]
        """Content and features of rows in pieces of `size` rows, and the rows that are left."""
        num_rows = self.rows.shape[0]
        whole = num_rows // size * size
        rest = None if whole == num_rows else self.take_rows(whole, num_rows)
        return (stacked(self.content, size, axis=1), stacked(self.rows, size, axis=0)), rest

    def take(self, points: jax.Array) -> "Grid":  # [p] indices of elements
        """Some elements, as a single column."""
        row, column = points // self.content.shape[2], points % self.content.shape[2]
        return dataclasses.replace(
            self,
            content=self.content[:, row, column][:, :, None],
            rows=jnp.concatenate([self.rows[row], self.columns[column]], axis=-1),
            columns=jnp.zeros((1, 0), self.columns.dtype),
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ByteArray:
    """The elements of one grid after those of another; all have equally many channels."""

    grids: tuple[Grid, ...]

    @classmethod
    def of(cls, x: "jax.Array | ByteArray") -> "ByteArray":  # [b, m, c]
        """An array as a byte array of which no structure is known."""
        return x if isinstance(x, ByteArray) else cls((Grid.of(x),))

    @property
    def batch_size(self) -> int:
        """Number of examples (b)."""
        return self.grids[0].content.shape[0]

    @property
    def num_elements(self) -> int:
        """Number of elements (m)."""
        return sum(grid.num_elements for grid in self.grids)

    @property
    def num_channels(self) -> int:
        """Channels of an element (c)."""
        return len(self.grids[0].order)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array if written out, [b, m, c]."""
        return self.batch_size, self.num_elements, self.num_channels

    @property
    def dtype(self) -> jnp.dtype:
        """Dtype of the content."""
        return self.grids[0].content.dtype

    @property
    def parts(self) -> tuple[Part, ...]:
        """The sizes of the grids that costs depend on."""
        return tuple(grid.part for grid in self.grids)

    @property
    def is_shared(self) -> bool:
        """Whether elements are the same for all examples."""
        return not any(grid.content.shape[-1] for grid in self.grids)

    def astype(self, dtype: jnp.dtype) -> "ByteArray":
        """The byte array in another dtype."""
        return jax.tree.map(lambda x: x.astype(dtype), self)

    def map_content(self, function: Callable[[jax.Array], jax.Array]) -> "ByteArray":
        """The byte array of changed content [b, r, k, c]."""
        return self.map_grids(
            lambda grid: dataclasses.replace(grid, content=function(grid.content))
        )

    def dense(self) -> jax.Array:  # [b, m, c]
        """Writes the elements out."""
        return jnp.concatenate([grid.dense() for grid in self.grids], axis=1)

    def map_grids(self, function: Callable[[Grid], Grid]) -> "ByteArray":
        """The byte array of changed grids."""
        return ByteArray(tuple(function(grid) for grid in self.grids))

    def with_masks(
        self, mask: jax.Array | None
    ) -> Iterator[tuple[Grid, jax.Array | None]]:  # [b, m] -> [b, m of the grid]
        """The grids, each with its part of a mask of all elements."""
        start = 0
        for grid in self.grids:
            stop = start + grid.num_elements
            yield grid, None if mask is None else mask[:, start:stop]
            start = stop

    def first(self, num_elements: int) -> "ByteArray":
        """The first elements, which must be whole rows."""
        kept, grids = num_elements, []
        for grid in self.grids:
            columns = grid.content.shape[2]
            take = min(kept, grid.num_elements)
            if take % columns:
                raise ValueError(
                    f"{num_elements} elements end within a row of {columns}; take whole rows."
                )
            grids.append(grid.take_rows(0, take // columns))
            kept -= take
        return ByteArray(tuple(grids))

    def take(self, points: jax.Array) -> "ByteArray":  # [p]
        """Some elements; of several grids they are written out."""
        if len(self.grids) > 1:
            return ByteArray.of(self.dense()[:, points])
        return ByteArray((self.grids[0].take(points),))


def stacked(x: jax.Array, size: int, axis: int) -> jax.Array:  # [..., n * size + rest, ...]
    """Pieces of `size` along an axis, stacked in front [n, ..., size, ...]; not what is left."""
    number = x.shape[axis] // size
    x = jax.lax.slice_in_dim(x, 0, number * size, axis=axis)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], number, size, *x.shape[axis + 1 :]), axis, 0)


def _reorder(parts: list[jax.Array], order: tuple[int, ...]) -> list[jax.Array]:
    """Pieces of `parts` that, one after the other, have the channels in the given order.

    Slices of neighbouring channels instead of a gather, which is slow where elements are many.
    """
    starts = [0, *itertools.accumulate(part.shape[-1] for part in parts)]
    part_of = [i for i, part in enumerate(parts) for _ in range(part.shape[-1])]
    pieces = []
    position = 0
    while position < len(order):
        channel = order[position]
        part = part_of[channel]
        length = 1
        while (
            position + length < len(order)
            and order[position + length] == channel + length
            and part_of[channel + length] == part
        ):
            length += 1
        begin = channel - starts[part]
        pieces.append(parts[part][..., begin : begin + length])
        position += length
    return pieces


def fourier_grid(
    content: jax.Array,  # [b, *index_dims, c_content]
    axes: Sequence[tuple[jax.Array, jax.Array, jax.Array]],  # per axis [size, c]: see below
) -> Grid:
    """A grid whose positions have the same encoding along each axis, whatever the others.

    Args:
      content: what stands at each position.
      axes: for each axis three encodings of its positions. The channels of an element are its
        content, the first encoding of every axis, the second of every axis, and the third.
    """
    batch, *dims, channels = content.shape
    if len(dims) == 1:
        # A column, not a row: parts are taken of rows.
        dims, nothing = [*dims, 1], jnp.zeros((1, 0), content.dtype)
        axes = [*axes, (nothing, nothing, nothing)]
    *leading, num_columns = dims
    num_rows = math.prod(leading)
    tables = [jnp.concatenate(parts, axis=-1) for parts in axes]
    spread = [
        jnp.broadcast_to(
            table.reshape(*(size if i == axis else 1 for i, size in enumerate(leading)), -1),
            (*leading, table.shape[-1]),
        ).reshape(num_rows, table.shape[-1])
        for axis, table in enumerate(tables[:-1])
    ]
    rows = jnp.concatenate([*spread, jnp.zeros((num_rows, 0), content.dtype)], axis=-1)
    # Axis by axis in the tables, kind by kind in the elements.
    start, numbered = channels, []
    for parts in axes:
        widths = [part.shape[-1] for part in parts]
        begins = itertools.accumulate(widths, initial=start)
        numbered.append([range(b, b + w) for b, w in zip(begins, widths, strict=False)])
        start += sum(widths)
    order = [*range(channels)]
    for kind in range(3):
        for axis in numbered:
            order.extend(axis[kind])
    return Grid(
        content.reshape(batch, num_rows, num_columns, channels),
        rows,
        tables[-1],
        jnp.zeros((0,), content.dtype),
        tuple(order),
    )
