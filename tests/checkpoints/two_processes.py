"""One of two processes that save and restore together.

    python -m tests.checkpoints.two_processes PORT RANK DIRECTORY

Prints one JSON line of what it found.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from perceiver_jax.checkpoints.checksums import checksums
from perceiver_jax.checkpoints.processes import GivenProcesses
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.errors import CheckpointError
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.mesh import make_mesh


class Exchange:
    """Agreement by files."""

    def __init__(self, directory: Path, rank: int):
        self._directory, self._rank, self._count = directory, rank, 0
        directory.mkdir(exist_ok=True)

    def __call__(self, value: Any) -> Sequence[Any]:
        self._count += 1
        paths = [self._directory / f"{self._count}-{rank}" for rank in range(2)]
        writing = paths[self._rank].with_suffix(".tmp")
        writing.write_text(json.dumps(value))
        writing.rename(paths[self._rank])
        while not all(path.exists() for path in paths):
            time.sleep(0.005)
        return [json.loads(path.read_text()) for path in paths]


def values(step: int) -> dict[str, np.ndarray]:
    """The same on both."""
    rng = np.random.default_rng(step)
    return {
        "split": rng.normal(size=(8, 13)).astype(np.float32),
        "whole": rng.normal(size=(5,)).astype(np.float32),
        "step": np.int32(step),
    }


def main() -> None:
    """See above."""
    port, rank, root = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)
    mesh = make_mesh(MeshConfig())
    place = {
        "split": NamedSharding(mesh, PartitionSpec("data")),
        "whole": NamedSharding(mesh, PartitionSpec()),
        "step": NamedSharding(mesh, PartitionSpec()),
    }

    def state(step: int) -> Any:
        arrays = values(step)
        return {
            name: jax.make_array_from_callback(
                arrays[name].shape, place[name], lambda index, name=name: arrays[name][index]
            )
            for name in arrays
        }

    abstract = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=place[name])
        for name, array in values(0).items()
    }

    def same(found: Any, step: int) -> bool:
        return all(
            np.array_equal(np.asarray(shard.data), values(step)[name][shard.index])
            for name, array in found.items()
            for shard in array.addressable_shards
        )

    lines: list[str] = []
    agree = Exchange(root / "exchange", rank)
    store = CheckpointStore(
        root / "checkpoints",
        keep=lambda steps: steps[-3:],
        report=lines.append,
        processes=GivenProcesses(primary=rank == 0, agree=agree),
    )
    result: dict[str, Any] = {"processes": jax.process_count()}
    result["nothing"] = store.restore_latest(abstract) is None
    for step in (1, 2, 3, 4):
        store.save(step, state(step), {"step": step})
    store.wait()
    agree(None)
    result["steps"] = store.steps()
    result["restored"] = same(store.restore(4, abstract), 4)
    alone = jax.jit(lambda: checksums(values(4)))()
    result["checksums"] = np.array_equal(np.asarray(checksums(state(4))), np.asarray(alone))

    # A failure of the second process alone is a failure of both, and the next save works.
    def refuse() -> None:
        if rank == 1:
            raise OSError(28, "No space left on device")

    store.save(5, state(5), {}, before=refuse)
    store.save(6, state(6), {})
    store.wait()
    agree(None)
    result["after a failure"] = store.steps()
    result["told"] = list(lines)

    # What only the second process cannot read is given up by both.
    if rank == 0:
        for path in (root / "checkpoints/6/state/ocdbt.process_1").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
        for path in (root / "checkpoints/6/state/d").glob("*"):
            path.write_bytes(path.read_bytes()[:100])
    agree(None)
    found = store.restore_latest(abstract)
    assert found is not None
    result["fell back"] = [found[0], same(found[1], found[0])]
    agree(None)
    result["damaged"] = sorted(path.name for path in (root / "damaged").iterdir())

    # Gone: both say so.
    if rank == 0:
        (root / "checkpoints").rename(root / "moved")
    agree(None)
    try:
        store.save(7, state(7), {})
    except CheckpointError as error:
        result["vanished"] = "has vanished" in str(error)
    store.close()
    print(json.dumps(result))
    jnp.zeros(()).block_until_ready()
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
