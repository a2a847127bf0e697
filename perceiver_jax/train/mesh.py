"""The mesh of devices, and where arrays lie on it.

One program runs on one CPU, eight GPUs or a slice of a pod: `jax.jit` over arrays that carry a
`NamedSharding`. The axes are

  data    copies of the model, each with a part of the batch
  fsdp    splits the batch too, and the parameters that a rule names
  tensor  splits single layers that a rule names

Axis types are Auto: the compiler places what the rules leave open. (Explicit, the default of
`jax.make_mesh`, wants a sharding for every intermediate, and fails in the models.)
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import MeshConfig

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))  # The first axis of every array of a batch.
REPLICATED = PartitionSpec()

# (pattern, spec): the first pattern found in the path of an array of the training state decides
# where it lies. Paths look like "params/perceiver_encoder/~/cross_attention/attention/linear/w",
# and end the same way for the optimiser's moments.
Rules = Sequence[tuple[str, PartitionSpec]]
DEFAULT_RULES: Rules = ((r"", REPLICATED),)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over all devices (or those given).

    Raises:
      ConfigError: the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: getattr(config, axis) for axis in AXES}
    free = [axis for axis, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    wrong = len(free) > 1 or fixed < 1 or len(devices) % fixed
    if not wrong and free:
        sizes[free[0]] = len(devices) // fixed
    if wrong or math.prod(sizes.values()) != len(devices):
        raise ConfigError(
            f"trainer.mesh asks for {config.data} x {config.fsdp} x {config.tensor} devices "
            f"(data x fsdp x tensor), and there are {len(devices)}. The three must multiply to "
            f"{len(devices)}; one of them may be -1, which takes what the others leave."
        )
    return jax.make_mesh(
        tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )


def check_batch_size(mesh: Mesh, batch_size: int, name: str) -> None:
    """Raises a `ConfigError` unless the devices can share a batch equally."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        below, above = batch_size // parts * parts, -(-batch_size // parts) * parts
        raise ConfigError(
            f"{name}={batch_size} cannot be shared by {parts} devices. Use a multiple of {parts}, "
            f"such as {' or '.join(str(size) for size in (below, above) if size)}."
        )


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a path of `jax.tree_util` as text: "params/linear/w"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def shardings(abstract: Any, mesh: Mesh, rules: Rules = DEFAULT_RULES) -> Any:
    """Returns a tree like `abstract` (of shapes) with the sharding of each array.

    Raises:
      ConfigError: no rule fits, a rule has more axes than the array, or does not divide it.
    """

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        name = path_name(path)
        spec = next((spec for pattern, spec in rules if re.search(pattern, name)), None)
        if spec is None:
            raise ConfigError(f"No sharding rule fits {name}; end the rules with ('', P()).")
        for size, axes in zip(leaf.shape, spec, strict=False):
            axes = (axes,) if isinstance(axes, str) else (axes or ())
            parts = math.prod(mesh.shape[axis] for axis in axes)
            if size % parts:
                raise ConfigError(
                    f"The sharding rule {spec} splits {name} {leaf.shape} in {parts} parts, "
                    f"which do not divide {size}."
                )
        if len(spec) > len(leaf.shape):
            raise ConfigError(f"The sharding rule {spec} has more axes than {name} {leaf.shape}.")
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, abstract)


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Returns this process's part of a batch as global arrays, split over data and fsdp."""
    sharding = NamedSharding(mesh, BATCH)
    arrays = jax.tree.map(
        lambda array: np.asarray(array, dtype=jax.dtypes.canonicalize_dtype(array.dtype)),
        dict(batch),
    )
    if jax.process_count() == 1:
        return jax.device_put(arrays, sharding)  # The same, in less time.
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, array), arrays
    )
