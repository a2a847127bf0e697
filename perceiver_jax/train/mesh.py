"""The mesh of devices, and where batches lie on it; sharding.py says where parameters do.

One program runs on one CPU, eight GPUs or a slice of a pod: `jax.jit` over arrays that carry a
`NamedSharding`. The axes are

  data    copies of the model, each with a part of the batch
  fsdp    splits the batch too, and the parameters
  tensor  splits the layers of the towers

Axis types are Auto: the compiler places what the rules leave open. (Explicit, the default of
`jax.make_mesh`, wants a sharding for every intermediate, and fails in the models.)
"""

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Batch
from perceiver_jax.train.config import AXES, MeshConfig

BATCH = PartitionSpec(("data", "fsdp"))  # The first axis of every array of a batch.
REPLICATED = PartitionSpec()


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over all devices (or those given).

    Raises:
      ConfigError: the axes do not multiply to the number of devices, or `tensor` reaches over
        several processes.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: getattr(config, axis) for axis in AXES}
    free = [axis for axis, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    wrong = len(free) > 1 or fixed < 1 or len(devices) % fixed
    if not wrong and free:
        sizes[free[0]] = len(devices) // fixed
    if wrong or math.prod(sizes.values()) != len(devices):
        if len(free) == 1 and fixed >= 1:
            fixed_axes = " x ".join(f"{axis}={sizes[axis]}" for axis in AXES if axis not in free)
            mend = f"{fixed_axes} does not divide {len(devices)}: make them smaller."
        else:
            mend = (
                f"The three must multiply to {len(devices)}; one of them may be -1, which takes "
                "what the others leave."
            )
        raise ConfigError(
            f"trainer.mesh asks for {config.data} x {config.fsdp} x {config.tensor} devices "
            f"(data x fsdp x tensor), and there are {len(devices)}. {mend}"
        )
    mesh = jax.make_mesh(
        tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )
    check_processes(np.array([device.process_index for device in mesh.devices.flat]), sizes)
    return mesh


def check_processes(processes: np.ndarray, sizes: Mapping[str, int]) -> None:
    """Raises a `ConfigError` unless the devices of every example belong to one process.

    Devices along `tensor` work on the same examples, and each process reads examples of its own:
    with several, every device would see others, without any error.

    Args:
      processes: [devices] the number of the process of each, in the order of the mesh.
      sizes: of the mesh's axes.
    """
    together = processes.reshape(-1, sizes["tensor"])
    if (together != together[:, :1]).any():
        raise ConfigError(
            f"trainer.mesh.tensor={sizes['tensor']} shares the work on an example among several "
            "processes, and each of them reads only examples of its own. Choose a size that "
            f"divides the {int(np.sum(processes == processes[0]))} devices of one process (1 "
            "always fits), and let fsdp or data take the rest."
        )


def check_batch_size(mesh: Mesh, batch_size: int, name: str, accumulate: int = 1) -> None:
    """Raises a `ConfigError` unless the devices can share a batch equally.

    Args:
      mesh: the devices.
      batch_size: examples, over all devices.
      name: of the config field, for the message.
      accumulate: how many parts the batch is computed in, one after the other.
    """
    parts = mesh.shape["data"] * mesh.shape["fsdp"] * accumulate
    if batch_size % parts:
        below, above = batch_size // parts * parts, -(-batch_size // parts) * parts
        times = f" in {accumulate} parts each" if accumulate > 1 else ""
        raise ConfigError(
            f"{name}={batch_size} cannot be shared by {parts // accumulate} devices{times}. Use a "
            f"multiple of {parts}, such as "
            f"{' or '.join(str(size) for size in (below, above) if size)}."
        )


def put_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Returns this process's part of a batch as global arrays, split over data and fsdp."""
    sharding = NamedSharding(mesh, BATCH)

    def put(array: np.ndarray) -> jax.Array:
        array = np.asarray(array, dtype=jax.dtypes.canonicalize_dtype(array.dtype))
        return jax.make_array_from_process_local_data(sharding, array)

    return jax.tree.map(put, dict(batch))


def hand_over(batch: Mapping[str, np.ndarray], mesh: Mesh) -> Batch:
    """Returns a batch as a compiled step takes it, with the least work.

    A step knows from its `in_shardings` where a batch lies. Where one process has all of it, the
    arrays go in as they are: jit's own way to the devices costs a fraction of making arrays first.
    """
    return batch if jax.process_count() == 1 else put_batch(batch, mesh)
