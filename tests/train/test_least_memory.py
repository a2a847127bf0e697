"""What a step takes at least is told before it is compiled, and where that is too much."""

import dataclasses
from pathlib import Path

import pytest

from perceiver_jax.train import least_memory
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.least_memory import LeastMemory
from tests.train.fake import MLP, experiment

_PARAMETERS = 64 * 7 + 7 + 7 * 10 + 10


def test_it_is_of_parameters_gradients_moments_and_inputs() -> None:
    parts = assemble(experiment(trainer__batch_size=24), model=MLP())
    found = least_memory.least_memory(parts)
    # float32: parameters, gradients and LAMB's two moments; the running mean of 64; two counts.
    arrays = 4 * (4 * _PARAMETERS + 64)
    assert arrays < found.state < arrays + 100
    assert found.inputs == 4 * 24 * 64 // parts.mesh.devices.size
    averaged = assemble(experiment(trainer__ema_decay=0.9), model=MLP())
    assert least_memory.least_memory(averaged).state == found.state + 4 * _PARAMETERS


@pytest.mark.parametrize(
    ("limit", "free"),
    [("max\n", 2 * 2**30), ("1073741824\n", 2**30), ("99999999999999", 2 * 2**30)],
)
def test_free_is_what_linux_and_the_container_leave(
    limit: str, free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n")
    (tmp_path / "max").write_text(limit)
    monkeypatch.setattr(least_memory, "_PROC", tmp_path / "meminfo")
    monkeypatch.setattr(least_memory, "_LIMITS", (tmp_path / "none", tmp_path / "max"))
    parts = assemble(experiment(), model=MLP())
    devices = len(parts.mesh.local_devices)  # They share the host's.
    assert least_memory.least_memory(parts).free == free // devices
    monkeypatch.setattr(least_memory, "_PROC", tmp_path / "no such system")
    assert least_memory.least_memory(parts).free is None


def test_too_much_is_told() -> None:
    found = LeastMemory(state=2 * 2**30, inputs=3 * 2**20, free=2 * 2**30)
    assert str(found).startswith(
        "2.0 GiB of parameters, gradients and optimiser, 3.0 MiB of inputs"
    )
    assert found.warning is not None and found.warning.startswith("only 2.0 GiB of memory are free")
    for free in (found.total, None):
        assert dataclasses.replace(found, free=free).warning is None
