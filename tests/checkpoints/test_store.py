"""The store: what is saved comes back to the bit, and damage is noticed."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from perceiver_jax.checkpoints.checksums import checksums
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.mesh import make_mesh


def _state(seed: int) -> dict[str, Any]:
    keys = jax.random.split(jax.random.key(seed), 2)
    return {
        "params": {"a/~/b": {"w": jax.random.normal(keys[0], (8, 13))}},
        "half": jax.random.normal(keys[1], (7,)).astype(jnp.bfloat16),
        "step": jnp.asarray(seed, jnp.int32),
        "empty": {},
        "flags": jnp.asarray([True, False]),
    }


def _abstract(spec: P = P()) -> Any:
    mesh = make_mesh(MeshConfig())
    shapes = jax.eval_shape(lambda: _state(0))

    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, spec if leaf.shape == (8, 13) else P())
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, shapes)


def _placed(seed: int, spec: P = P()) -> Any:
    where = jax.tree.map(lambda leaf: leaf.sharding, _abstract(spec))
    return jax.device_put(_state(seed), where)


def test_round_trip_keeps_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c", keep=lambda steps: steps[-2:])
    assert store.steps() == [] and store.restore_latest(_abstract()) is None
    overwrite = jax.jit(lambda tree: jax.tree.map(jnp.zeros_like, tree), donate_argnums=0)
    for step in (3, 5, 11):
        state = _placed(step)
        store.save(step, state, {"name": f"run {step}"})
        jax.block_until_ready(overwrite(state))  # the state's memory is free once save returns
    store.wait()
    assert store.steps() == [5, 11]
    for step in (5, 11):
        restored = store.restore(step, _abstract())
        jax.tree.map(np.testing.assert_array_equal, restored, _state(step))
        dtypes = [[x.dtype for x in jax.tree.leaves(tree)] for tree in (restored, _state(step))]
        assert dtypes[0] == dtypes[1]
        assert store.config(step) == {"name": f"run {step}"}
    found = store.restore_latest(_abstract())
    assert found is not None and found[0] == 11
    with pytest.raises(CheckpointError, match="no checkpoint 3; it has: 5, 11"):
        store.restore(3, _abstract())
    store.close()


@pytest.mark.parametrize(("saved", "wanted"), [(P("data"), P()), (P(), P("data"))])
def test_arrays_come_to_lie_where_they_are_wanted(tmp_path: Path, saved: P, wanted: P) -> None:
    store = CheckpointStore(tmp_path / "c")
    store.save(1, _placed(1, saved), {})
    store.wait()
    restored = store.restore(1, _abstract(wanted))
    w = restored["params"]["a/~/b"]["w"]
    assert w.sharding.is_equivalent_to(_abstract(wanted)["params"]["a/~/b"]["w"].sharding, 2)
    jax.tree.map(np.testing.assert_array_equal, restored, _state(1))
    store.close()


def test_reading_changes_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c")
    store.save(1, _placed(1), {})
    store.save(2, _placed(2), {})
    store.close()
    for path in (tmp_path / "c" / "2").rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    (tmp_path / "c" / "7.orbax-checkpoint-tmp-0").mkdir()
    before = sorted(path for path in tmp_path.rglob("*"))
    lines: list[str] = []
    reader = CheckpointStore(tmp_path / "c", read_only=True, report=lines.append)
    found = reader.restore_latest(_abstract())
    assert found is not None and found[0] == 1
    assert "Checkpoint 2 is damaged" in lines[0] and "Falling back to checkpoint 1" in lines[0]
    with pytest.raises(CheckpointError, match="c/2 cannot be read"):
        reader.restore(2, _abstract())
    reader.close()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert CheckpointStore(tmp_path / "none", read_only=True).steps() == []
    assert not (tmp_path / "none").exists()


def test_another_shape_is_an_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c")
    store.save(1, _placed(1), {})
    store.wait()
    other = _abstract()
    leaf = other["params"]["a/~/b"]["w"]
    narrower = jax.ShapeDtypeStruct((8, 11), leaf.dtype, sharding=leaf.sharding)
    other["params"]["a/~/b"]["w"] = narrower
    with pytest.raises(CheckpointError, match="None of the checkpoints"):
        store.restore_latest(other)
    store.close()


def test_checksums_notice_any_bit_and_ignore_layout() -> None:
    state = _state(3)
    expected = np.asarray(checksums(state))
    np.testing.assert_array_equal(checksums(_placed(3, P("data"))), expected)
    w = np.array(state["params"]["a/~/b"]["w"])
    for bit in (0, 13, 31):
        flipped = w.copy()
        flipped.view(np.uint32)[5, 7] ^= np.uint32(1 << bit)
        state["params"]["a/~/b"]["w"] = jnp.asarray(flipped)
        assert (np.asarray(checksums(state)) != expected).sum() == 1
    state["params"]["a/~/b"]["w"] = jnp.asarray(w[:, ::-1])  # same values, other places
    assert (np.asarray(checksums(state)) != expected).sum() == 1


def test_a_checkpoint_can_be_read_without_knowing_what_is_in_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "c")
    for step in (3, 5):
        store.save(step, _placed(step), {"name": f"run {step}"})
    store.wait()
    step, tree, config = store.read_tree()
    assert step == 5 and config == {"name": "run 5"}
    jax.tree.map(np.testing.assert_array_equal, tree, _state(5))
    assert store.read_tree(3)[2] == {"name": "run 3"}
    with pytest.raises(CheckpointError, match="no checkpoint 4; it has: 3, 5"):
        store.read_tree(4)


def test_checksums_do_not_depend_on_the_container() -> None:
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Reversed:
        z: jax.Array
        a: jax.Array

    values = {"z": jnp.arange(3.0), "a": jnp.ones(2)}
    np.testing.assert_array_equal(checksums(Reversed(**values)), checksums(values))
