"""How the processes of a run agree on something small.

For one process everything here returns at once, without a device. Several exchange a few integers:
each puts its own on all of its devices, and a jitted maximum over all devices of the run gives
every process the same result. Like every collective, a call must be made by all processes, in the
same order among all that they compute; none of these may stand behind a condition that is not
itself agreed on.

`jax.experimental.multihost_utils` would do as well, and may change without notice.
"""

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from perceiver_jax import errors
from perceiver_jax.errors import UserError

T = TypeVar("T")


def gather(value: Any) -> list[Any]:
    """Returns every process's `value`, in the order of the processes, on all of them.

    Args:
      value: anything that `json` writes and reads back as it was.
    """
    count, index = jax.process_count(), jax.process_index()
    if count == 1:
        return [value]
    data = json.dumps(value).encode()
    lengths = np.zeros(count, np.int32)
    lengths[index] = len(data)
    lengths = _maximum(lengths)
    # A power of two, so that few programs are compiled. The zeros of the others leave the bytes as
    # they are.
    padded = np.zeros((count, 1 << max(int(lengths.max()) - 1, 0).bit_length()), np.int32)
    padded[index, : len(data)] = np.frombuffer(data, np.uint8)
    rows = _maximum(padded.reshape(-1)).reshape(padded.shape).astype(np.uint8)
    return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]


def broadcast(value: Any) -> Any:
    """Returns process 0's `value` on every process; what the others give is ignored.

    Args:
      value: see `gather`.
    """
    return gather(value if jax.process_index() == 0 else None)[0]


class AllProcesses:
    """The processes of this run, as `checkpoints` wants to know them: see `Processes` there."""

    @property
    def primary(self) -> bool:
        """Whether this is process 0, which writes all that is not an array."""
        return jax.process_index() == 0

    @property
    def agree(self) -> Callable[[Any], list[Any]]:
        """See `gather`."""
        return gather


def on_process_zero(call: Callable[[], T]) -> T:
    """Calls `call` on process 0 alone, and returns its result on all.

    For what only one process may do, such as claiming a directory or reading what stands in it.

    Args:
      call: takes nothing; its result must be as for `broadcast`.

    Raises:
      UserError: `call` raised it on process 0; all raise the same, so that all end in words.
      RuntimeError: `call` raised something else, on the processes where it was not called.
    """
    if jax.process_count() == 1:
        return call()
    encoded = ""
    raised: Exception | None = None
    if jax.process_index() == 0:
        try:
            encoded = json.dumps({"value": call()})
        except Exception as error:
            raised = error
            encoded = json.dumps({"kind": type(error).__name__, "message": str(error)})
    outcome = json.loads(broadcast(encoded))
    if raised is not None:
        raise raised
    if "kind" in outcome:
        kind = getattr(errors, outcome["kind"], None)
        if isinstance(kind, type) and issubclass(kind, UserError):
            raise kind(outcome["message"])
        raise RuntimeError(f"Process 0 failed: {outcome['kind']}: {outcome['message']}")
    return outcome["value"]


class StopAgreement:
    """Stops all processes at the same step, though only some of them are asked to.

    A scheduler that takes one host away signals that host alone. In every step each process gives
    its vote, and learns what the votes of the step before came to: reading a result that late
    costs no waiting, because the step before is over by then. So all processes stop one step after
    the first of them was asked; a process on its own stops at once.
    """

    def __init__(self) -> None:
        self.agreed: int | None = None  # The signal's number, the same on all processes.
        self._pending: jax.Array | None = None  # [1] int32: the last votes' result.
        # One array for each signal, most often for "none" alone: making one costs more than
        # the rest.
        self._votes: dict[int, jax.Array] = {}

    def vote(self, requested: int | None) -> int | None:
        """Returns the signal that all processes have agreed to stop for, or None.

        Called by all processes after the same steps (and batches of an evaluation), once the step
        has been dispatched, until it says stop or the run is done. The answer does not change any
        more once it is not None. Where processes were sent different signals, the highest number
        counts.

        Args:
          requested: the signal that this process has received, None for none.
        """
        if self.agreed is not None:
            return self.agreed
        if jax.process_count() == 1:
            self.agreed = requested
            return self.agreed
        before = self._pending
        number = requested or 0
        if number not in self._votes:
            self._votes[number] = _global_array(np.array([number], np.int32))
        self._pending = _program()(self._votes[number])
        if before is not None:
            self.agreed = int(before[0]) or None
        return self.agreed


@functools.cache
def _sharding() -> NamedSharding:
    """All devices of the run along one axis, those of a process side by side."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = jax.make_mesh((len(devices),), ("all",), axis_types=(AxisType.Auto,), devices=devices)
    return NamedSharding(mesh, PartitionSpec("all"))


@functools.cache
def _program() -> Any:
    """Returns the compiled maximum over devices: [devices, n] -> [n], the same everywhere."""
    everywhere = NamedSharding(_sharding().mesh, PartitionSpec())
    return jax.jit(lambda values: jnp.max(values, axis=0), out_shardings=everywhere)


def _global_array(values: np.ndarray) -> jax.Array:
    """Returns [devices, n]; the rows of this process's devices are `values` [n]."""
    rows = np.broadcast_to(values, (jax.local_device_count(), *values.shape))
    return jax.make_array_from_process_local_data(_sharding(), np.ascontiguousarray(rows))


def _maximum(values: np.ndarray) -> np.ndarray:
    """Returns the elementwise maximum [n] of all processes' `values` [n] int32."""
    return np.asarray(_program()(_global_array(values)))
