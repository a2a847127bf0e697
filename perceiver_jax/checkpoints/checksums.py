"""Checksums of arrays, the same however they are spread over devices and processes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checksums(tree: Any) -> jax.Array:
    """Returns [number of arrays] uint32, sums of all bits weighted by odd numbers by position.

    Whole numbers that wrap around add up to the same whatever the order, so the result does not
    depend on how arrays are spread; an odd weight lets no changed bit vanish. Arrays are in the
    order of their names, not of the containers that hold them. Every process has the whole result.
    """
    return _compiled(replicated_like(tree))(tree)


def equal(one: jax.Array, other: jax.Array) -> bool:
    """Compares two results; both lie on every device."""
    return np.array_equal(np.asarray(one), np.asarray(other))


def replicated_like(tree: Any) -> jax.sharding.Sharding | None:
    """The sharding of an array that lies whole on each of the devices of `tree`.

    Args:
      tree: arrays, or `jax.ShapeDtypeStruct` with shardings.
    """
    found = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(tree)]
    for sharding in found:
        if isinstance(sharding, jax.sharding.NamedSharding):
            return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return found[0] if found else None


@functools.cache
def _compiled(result: jax.sharding.Sharding | None) -> Any:
    return jax.jit(_checksums, out_shardings=result)


def _checksums(tree: Any) -> jax.Array:
    def checksum(leaf: jax.Array) -> jax.Array:
        if leaf.dtype == jnp.bool_:
            leaf = leaf.astype(jnp.uint8)
        unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
        bits = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
        # The position in the flat array, counted up axis by axis: flattening an array would gather
        # the parts of it that lie on different devices.
        position, stride = jnp.zeros(bits.shape, jnp.uint32), 1
        for axis in reversed(range(bits.ndim)):
            step = jnp.uint32(stride % 2**32)
            position += step * jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
            stride *= bits.shape[axis]
        return jnp.sum(bits * (2 * position + 1), dtype=jnp.uint32)

    leaves = {_path(keys): leaf for keys, leaf in jax.tree.leaves_with_path(tree)}
    return jnp.stack([checksum(leaves[path]) for path in sorted(leaves)])


def _path(keys: tuple[Any, ...]) -> str:
    """The same for an attribute, a key and an index, as Orbax keeps names and not containers."""
    return jax.tree_util.keystr(keys, simple=True, separator=" ")
