"""Checkpoints of a run: written by Orbax in the background, atomic, the last few kept.

    DIR/400/state/...    arrays
    DIR/400/config/...   the experiment's config as JSON, so that a checkpoint explains itself

Orbax writes under a temporary name and renames when all is on the disk, so a directory named by a
number is a whole checkpoint, wherever the process was killed. A checksum of every array is written
beside it, because compressed arrays with a flipped bit can be read without complaint. Where a
checkpoint cannot be read, or does not add up, reading goes on with the one before it, and says so.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from perceiver_jax.errors import CheckpointError

T = TypeVar("T")

_STATE = "state"
_CONFIG = "config"
_ARRAYS = "arrays"
_CHECKSUMS = "checksums"


class _Unreadable(Exception):
    """A checkpoint cannot be read, or does not add up."""


class CheckpointStore:
    """The checkpoints in one directory."""

    def __init__(
        self,
        directory: Path,
        *,
        keep: int | None = None,
        read_only: bool = False,
        report: Callable[[str], None] = print,
    ):
        """Opens a directory of checkpoints.

        Args:
          directory: made when first written to.
          keep: how many checkpoints stay, the newest ones; None keeps all.
          read_only: promises that `save` is not called, and leaves the directory as it is.
          report: takes a line for the user, when a checkpoint is damaged.
        """
        self.directory = Path(directory).absolute()
        self._report = report
        self._read_only = read_only
        self._keep = keep
        self._manager = self._open() if self.directory.exists() or not read_only else None

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if self._read_only else self._keep,
            create=not self._read_only,
            cleanup_tmp_directories=not self._read_only,
            read_only=self._read_only,
        )
        return ocp.CheckpointManager(self.directory, options=options, item_names=(_STATE, _CONFIG))

    def steps(self) -> list[int]:
        """Returns the steps that have a whole checkpoint, in order."""
        return sorted(self._manager.all_steps()) if self._manager else []

    def save(self, step: int, state: Any, config: Mapping[str, Any]) -> None:
        """Begins to write a checkpoint; the arrays may be changed once this returns.

        Args:
          step: its name.
          state: a tree of arrays.
          config: JSON values that stand beside it.
        """
        if self._manager is None or self._read_only:
            raise ValueError("This store was opened read_only.")
        saved = {_ARRAYS: state, _CHECKSUMS: _checksums(state)}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **{_STATE: ocp.args.StandardSave(saved), _CONFIG: ocp.args.JsonSave(dict(config))}
            ),
        )

    def restore(self, step: int, abstract: T) -> T:
        """Reads the checkpoint of one step.

        Args:
          step: which one.
          abstract: the tree of `jax.ShapeDtypeStruct` with shardings that is expected; arrays come
            to lie where these say, on however many devices there are now.

        Raises:
          CheckpointError: there is none for this step, or it cannot be read.
        """
        steps = self.steps()
        if step not in steps:
            have = ", ".join(map(str, steps)) or "no checkpoint"
            raise CheckpointError(f"{self.directory} has no checkpoint {step}; it has: {have}.")
        try:
            return self._read(step, abstract)
        except _Unreadable as error:
            raise CheckpointError(
                f"The checkpoint {self.directory / str(step)} cannot be read: {error}"
            ) from error

    def restore_latest(self, abstract: T) -> tuple[int, T] | None:
        """Reads the newest checkpoint that can be read; None if there is none at all.

        A damaged one is reported and, unless read_only, moved to `DIR/../damaged`, so that its
        step can be written again.

        Raises:
          CheckpointError: there are checkpoints, and none of them can be read.
        """
        failures: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                state = self._read(step, abstract)
            except _Unreadable as error:
                failures[step] = str(error)
                continue
            for damaged, reason in failures.items():
                where = "" if self._read_only else f" (moved to {self._set_aside(damaged)})"
                self._report(
                    f"Checkpoint {damaged} is damaged{where}: {reason}\n"
                    f"Falling back to checkpoint {step}."
                )
            if failures and self._manager and not self._read_only:
                self._manager.reload()
            return step, state
        if failures:
            listed = "\n".join(f"  {step}: {reason}" for step, reason in failures.items())
            raise CheckpointError(
                f"None of the checkpoints in {self.directory} can be read:\n{listed}\n"
                "If the model's code changed since, use the version that wrote them. To start "
                "over, delete the work directory or choose another one."
            )
        return None

    def config(self, step: int) -> dict[str, Any]:
        """Returns the JSON values that were saved beside the checkpoint of a step."""
        assert self._manager is not None
        restored = self._manager.restore(
            step, args=ocp.args.Composite(**{_CONFIG: ocp.args.JsonRestore()})
        )
        return restored[_CONFIG]

    def read_tree(self, step: int | None = None) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Reads a checkpoint without knowing what is in it, on the default device.

        Args:
          step: which one; None is the newest that can be read.

        Returns:
          The step, nested dicts of arrays in place of the containers that were saved, and the
          JSON values beside them.

        Raises:
          CheckpointError: there is no such checkpoint, or it cannot be read.
        """
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            have = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(
                f"{self.directory} has no checkpoint{'' if step is None else f' {step}'}; it has: "
                f"{have}."
            )
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        failures: list[str] = []
        for each in reversed(steps) if step is None else [step]:
            assert self._manager is not None
            try:
                with ocp.StandardCheckpointer() as reader:
                    metadata = reader.metadata(self.directory / str(each) / _STATE)
                abstract = jax.tree.map(
                    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
                    metadata.item_metadata.tree[_ARRAYS],
                )
                tree = self._read(each, abstract)
                config = self.config(each)
            except _Unreadable as error:
                failures.append(f"Checkpoint {each} is damaged: {error}")
            except Exception as error:  # Orbax fails in many ways.
                failures.append(f"Checkpoint {each} is damaged: {_first_line(error)}")
            else:
                for failure in failures:
                    self._report(f"{failure}\nFalling back to checkpoint {each}.")
                return each, tree, config
        raise CheckpointError(
            f"No checkpoint in {self.directory} can be read:\n  " + "\n  ".join(failures)
        )

    def _read(self, step: int, abstract: T) -> T:
        assert self._manager is not None
        leaves = jax.tree.leaves(abstract)
        expected = {
            _ARRAYS: abstract,
            _CHECKSUMS: jax.ShapeDtypeStruct(
                (len(leaves),), jnp.uint32, sharding=_replicated_like(leaves[0])
            ),
        }
        _mute_abandoned_reads()
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(**{_STATE: ocp.args.StandardRestore(expected)})
            )[_STATE]
        except Exception as error:  # Orbax, TensorStore and JSON fail in many ways.
            raise _Unreadable(f"{type(error).__name__}: {_first_line(error)}") from None
        if bool(jnp.all(_checksums(restored[_ARRAYS]) == restored[_CHECKSUMS])):
            return restored[_ARRAYS]
        raise _Unreadable("an array does not agree with its checksum")

    def _set_aside(self, step: int) -> Path:
        aside = self.directory.parent / "damaged"
        aside.mkdir(exist_ok=True)
        target = aside / f"checkpoint-{step}"
        number = 2
        while target.exists():
            target = aside / f"checkpoint-{step}-{number}"
            number += 1
        (self.directory / str(step)).rename(target)
        return target

    def wait(self) -> None:
        """Returns when all that was saved is on the disk."""
        if self._manager:
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and frees the threads."""
        if self._manager:
            self._manager.close()


@jax.jit
def _checksums(tree: Any) -> jax.Array:
    """Returns [number of arrays] uint32, sums of all bits weighted by odd numbers by position.

    Whole numbers that wrap around add up to the same whatever the order, so the result does not
    depend on how arrays are spread over devices; an odd weight lets no changed bit vanish. Arrays
    are in the order of their names, not of the containers that hold them.
    """

    def checksum(leaf: jax.Array) -> jax.Array:
        if leaf.dtype == jnp.bool_:
            leaf = leaf.astype(jnp.uint8)
        unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(leaf.dtype.itemsize, jnp.uint32)
        bits = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32).reshape(-1)
        weights = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1
        return jnp.sum(bits * weights, dtype=jnp.uint32)

    leaves = {_path(keys): leaf for keys, leaf in jax.tree.leaves_with_path(tree)}
    return jnp.stack([checksum(leaves[path]) for path in sorted(leaves)])


def _path(keys: tuple[Any, ...]) -> str:
    """The same for an attribute, a key and an index, as Orbax keeps names and not containers."""
    return jax.tree_util.keystr(keys, simple=True, separator=" ")


def _replicated_like(leaf: jax.ShapeDtypeStruct) -> jax.sharding.Sharding:
    sharding = leaf.sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
        return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return sharding


@functools.cache
def _mute_abandoned_reads() -> None:
    """Keeps quiet, from now on, about reads that Orbax abandons when one of them fails.

    They end whenever the garbage is collected, and each would put a page of its own on the screen.
    The failure itself is raised.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        of_orbax = code is not None and "orbax" in code.co_filename
        of_tensorstore = str(unraisable.exc_value) == "Event loop is closed"
        if not of_orbax and not of_tensorstore:
            before(unraisable)

    sys.unraisablehook = hook


def _first_line(error: BaseException) -> str:
    """Returns the first line of the cause; what Orbax wraps around it fills screens."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip().splitlines() or [""]
    return text[0][:200]
