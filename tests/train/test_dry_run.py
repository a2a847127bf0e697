"""The papers' models at the papers' batches: 64 devices, and what they send each other."""

from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.dry_run import collectives, dry_run
from perceiver_jax.train.mesh import make_mesh
from tests.train.equivalent import experiment
from tests.train.processes import run_processes

# Variant, mesh, and the batch that its paper declares (AudioSet's declares none: ours).
FULL_SIZE = {
    "perceiver_imagenet": ({"data": 8, "fsdp": 8}, 1024),
    "io_fourier": ({"data": 8, "fsdp": 4, "tensor": 2}, 1024),
    "modelnet40": ({"data": 64}, 512),
    "audioset_raw_video": ({"data": 1, "fsdp": 64}, 512),
}


@pytest.fixture(scope="module")
def full_size() -> dict[str, dict[str, Any]]:
    runs = [[name, mesh] for name, (mesh, _) in FULL_SIZE.items()]
    (found,) = run_processes(
        "tests.train.jobs_dry_run:all_needs", {"runs": runs}, processes=1, devices=64, timeout=900,
        environment={"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},
    )  # fmt: skip
    return dict(zip(FULL_SIZE, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_steps_of_the_papers_models_on_64_devices(
    name: str, full_size: dict[str, dict[str, Any]]
) -> None:
    mesh, batch_size = FULL_SIZE[name]
    found = full_size[name]
    fsdp, tensor = mesh.get("fsdp", 1), mesh.get("tensor", 1)
    assert found["batch_size"] == batch_size
    assert found["devices"] == 64 and found["platforms"] == ["cuda", "tpu"]

    # Parameters, and two moments of each, are shared out; what is too small or odd to be is little.
    whole = 4 * found["num_params"]
    assert whole / (fsdp * tensor) <= found["parameters"] <= whole / fsdp * 1.05 + 2**23
    assert found["optimizer"] == pytest.approx(2 * found["parameters"], rel=1e-3)
    assert found["activations"] > 2**30 > found["batch"] > 0

    # Gradients are summed over all that share the batch, parameters gathered over fsdp, and
    # activations summed over tensor. Nothing else is sent.
    sent = {
        (each["kind"], tuple(each["axes"])): each["bytes"]
        for each in found["collectives"]
        if each["shapes"] != [[]]  # Norms, which are sums over the same devices, too.
    }
    shares = tuple(axis for axis in ("data", "fsdp") if mesh.get(axis, 1) > 1)
    expected = {("all-reduce", shares)}
    expected |= {("all-gather", ("fsdp",))} if fsdp > 1 else set()
    expected |= {("all-reduce", ("tensor",))} if tensor > 1 else set()
    assert set(sent) == expected
    # Gradients: each once, but for those that add up from a loop and from outside of it. Were
    # activations among them, it would be a hundred times as much.
    assert whole / tensor * 0.5 <= sent["all-reduce", shares] <= 3 * whole
    if fsdp > 1:  # Parameters: each once, whole but for what tensor splits.
        assert whole / tensor * 0.5 <= sent["all-gather", ("fsdp",)] <= whole * 1.01


@pytest.mark.core
@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (MeshConfig(data=8), {("all-reduce", ("data",))}),
        (MeshConfig(data=1, fsdp=8), {("all-reduce", ("fsdp",)), ("all-gather", ("fsdp",))}),
        (
            MeshConfig(data=2, fsdp=2, tensor=2),
            {
                ("all-reduce", ("data", "fsdp")),
                ("all-reduce", ("tensor",)),
                ("all-gather", ("fsdp",)),
            },
        ),
    ],
)
@pytest.mark.usefixtures("quick_compilation")
def test_only_the_collectives_one_expects(
    layout: MeshConfig, expected: set[tuple[str, tuple[str, ...]]]
) -> None:
    found = dry_run(assemble(experiment(layout)))
    sent = {(each.kind, each.axes) for each in found.collectives if each.shapes != ((),)}
    assert sent == expected


def test_groups_are_read_in_every_form() -> None:
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    lines = {
        # A range, reshaped; transposed; rows of a mesh of the compiler's; lists; pairs; none.
        "%a = f32[4,2]{1,0} all-reduce(%x), replica_groups=[4,2]<=[8], x": ("tensor",),
        "%a = f32[4]{0} all-reduce(%x), replica_groups=[4,2]<=[4,2]T(1,0), x": ("fsdp",),
        "%a = f32[4]{0} all-reduce(%x), replica_groups=[2,4]<=[2,4]T(1,0), x": ("data", "tensor"),
        "%a = f32[4]{0} all-reduce(%x), replica_groups=mesh['axis_0'=2,'axis_1'=4], "
        "device_ids=([2,2,2]T(1,0,2)) {'axis_0'}, x": ("fsdp",),
        "%a = f32[4]{0} all-reduce(%x), replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, x": (
            "data", "fsdp",
        ),
        "%a = f32[4]{0} all-reduce(%x), replica_groups={{0,4},{1,5},{2,6},{3,7}}, x": ("data",),
        "%a = f32[4]{0} collective-permute(%x), source_target_pairs={{0,2},{2,0}}, x": ("fsdp",),
        "%a = f32[4]{0} all-reduce(%x), x": ("data", "fsdp", "tensor"),
    }  # fmt: skip
    for line, axes in lines.items():
        (found,) = collectives(line, mesh)
        assert found.axes == axes, line


def test_sizes_are_those_of_the_results() -> None:
    mesh = make_mesh(MeshConfig())
    text = """
      %all-reduce.1 = (f32[16,11]{1,0}, bf16[3]{0}, f32[]) all-reduce(%a, %b, %c), x
      %all-gather.2 = s32[5]{0} all-gather-start(%p), x
      %fusion = f32[100]{0} fusion(%all-reduce.1), x
      %all-reduce.3 = pred[7]{0} all-reduce(%d), x
    """
    found = {each.kind: each for each in collectives(text, mesh)}
    assert found["all-reduce"].count == 2
    assert found["all-reduce"].bytes == 16 * 11 * 4 + 3 * 2 + 4 + 7
    assert found["all-reduce"].shapes == ((), (3,), (7,), (16, 11))
    assert found["all-gather"].bytes == 20


def test_bytes_of_a_device() -> None:
    one = dry_run(assemble(experiment(ema_decay=0.9), devices=jax.devices()[:1]))
    params, _ = assemble(experiment()).model.abstract_params()
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
    assert one.parameters == 2 * 4 * count  # with the averages
    assert one.optimizer == 2 * 4 * count + 8  # and two counters
    assert one.batch == 16 * (64 * 4 + 4)
    assert one.collectives == []
    assert one.total == one.parameters + one.optimizer + one.batch + one.activations
