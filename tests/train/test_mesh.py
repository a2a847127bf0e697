"""The mesh of devices, and random keys."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import mesh as mesh_lib
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.state import step_key


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig(), (8, 1, 1)),
        (MeshConfig(data=2, fsdp=-1), (2, 4, 1)),
        (MeshConfig(data=1, fsdp=4, tensor=2), (1, 4, 2)),
    ],
)
def test_mesh_shapes(config: MeshConfig, shape: tuple[int, ...]) -> None:
    mesh = mesh_lib.make_mesh(config)
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert mesh.devices.shape == shape
    # Explicit axes, the default of make_mesh, break the models.
    assert mesh.axis_types == (AxisType.Auto,) * 3


@pytest.mark.parametrize(
    "config",
    [MeshConfig(data=3), MeshConfig(data=4), MeshConfig(fsdp=-1), MeshConfig(data=-1, tensor=3),
     MeshConfig(data=0, fsdp=8)],
)  # fmt: skip
def test_meshes_that_do_not_fit(config: MeshConfig) -> None:
    with pytest.raises(ConfigError, match="multiply to 8|does not divide 8"):
        mesh_lib.make_mesh(config)


def test_tensor_stays_within_a_process() -> None:
    """Each process reads its own examples, so no example may be worked on by two of them."""
    sizes = {"data": 2, "fsdp": 1, "tensor": 2}
    mesh_lib.check_processes(np.array([0, 0, 1, 1]), sizes)
    mesh_lib.check_processes(np.array([0, 1, 2, 3]), {"data": 2, "fsdp": 2, "tensor": 1})
    with pytest.raises(ConfigError, match=r"tensor=2 shares .* divides the 2 devices of one proc"):
        mesh_lib.check_processes(np.array([0, 1, 0, 1]), sizes)


def test_keys_are_a_function_of_seed_and_step() -> None:
    keys = [jax.random.key_data(step_key(seed, step)) for seed in (0, 1) for step in range(5)]
    assert len({tuple(np.asarray(key)) for key in keys}) == 10
    np.testing.assert_array_equal(keys[3], jax.random.key_data(step_key(0, np.int32(3))))
