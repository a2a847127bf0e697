"""Reads one checkpoint, and notices damage.

Every process reads its own part, without waiting for the others: one that finds damage must be
able to say so, and not leave the others waiting at a barrier.
"""

from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from perceiver_jax.checkpoints.checksums import checksums, equal, replicated_like
from perceiver_jax.checkpoints.failures import first_line
from perceiver_jax.checkpoints.processes import Processes, first_given
from perceiver_jax.checkpoints.quiet import mute

T = TypeVar("T")

STATE = "state"
CONFIG = "config"
ARRAYS = "arrays"
CHECKSUMS = "checksums"


class Unreadable(Exception):
    """A checkpoint cannot be read, or does not add up."""


class Reader:
    """Reads the checkpoints of a store."""

    def __init__(self, processes: Processes):
        mute()
        self._processes = processes
        here = jax.process_index()
        options = ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})
        self._checkpointer = ocp.Checkpointer(
            ocp.CompositeCheckpointHandler(
                composite_options=ocp.CompositeOptions(multiprocessing_options=options),
                **{
                    STATE: ocp.StandardCheckpointHandler(multiprocessing_options=options),
                    CONFIG: ocp.JsonCheckpointHandler(multiprocessing_options=options),
                },
            ),
            multiprocessing_options=options,
        )

    def state(self, path: Path, abstract: T) -> T:
        """Returns the arrays of the checkpoint in the directory `path`.

        Args:
          path: DIR/STEP.
          abstract: the tree of `jax.ShapeDtypeStruct` with shardings that is expected.

        Raises:
          Unreadable: one of the processes cannot read it, or an array has changed.
        """
        expected = {
            ARRAYS: abstract,
            CHECKSUMS: jax.ShapeDtypeStruct(
                (len(jax.tree.leaves(abstract)),), jnp.uint32, sharding=replicated_like(abstract)
            ),
        }
        problem = restored = None
        try:
            restored = self._checkpointer.restore(
                path, args=ocp.args.Composite(**{STATE: ocp.args.StandardRestore(expected)})
            )[STATE]
        except Exception as error:  # Orbax, TensorStore and JSON fail in many ways.
            problem = f"{type(error).__name__}: {first_line(error)}"
        problem = first_given(self._processes.agree(problem))
        if problem is not None:
            raise Unreadable(problem)
        assert restored is not None
        if not equal(checksums(restored[ARRAYS]), restored[CHECKSUMS]):
            raise Unreadable("an array does not agree with its checksum")
        return restored[ARRAYS]

    def abstract(self, path: Path) -> Any:
        """Returns what lies in a checkpoint, as nested dicts of shapes on one device here."""
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        try:
            with ocp.StandardCheckpointer() as reader:
                metadata = reader.metadata(path / STATE)
            return jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
                metadata.item_metadata.tree[ARRAYS],
            )
        except Exception as error:
            raise Unreadable(first_line(error)) from None

    def config(self, path: Path) -> dict[str, Any]:
        """Returns the JSON values of a checkpoint."""
        try:
            return self._checkpointer.restore(
                path, args=ocp.args.Composite(**{CONFIG: ocp.args.JsonRestore()})
            )[CONFIG]
        except Exception as error:
            raise Unreadable(first_line(error)) from None

    def remarks(self, path: Path) -> dict[str, Any]:
        """Returns what was noted about a checkpoint when it was saved; {} if that is damaged."""
        try:
            return dict(self._checkpointer.metadata(path).custom_metadata or {})
        except Exception:
            return {}

    def close(self) -> None:
        """Frees what Orbax holds."""
        self._checkpointer.close()
