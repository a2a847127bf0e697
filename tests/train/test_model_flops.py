"""What a step is worth in operations, and what devices could do at best."""

import jax
import jax.numpy as jnp
import pytest

import perceiver_jax
from perceiver_jax.config import load_experiment
from perceiver_jax.report.anatomy import dissect
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.model_flops import devices_peak, step_flops
from perceiver_jax.train.peak import peak_flops
from tests.train.fake import MLP, experiment


def _batch(size: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        "image": jax.ShapeDtypeStruct((size, 8, 8, 1), jnp.float32),
        "label": jax.ShapeDtypeStruct((size,), jnp.int32),
    }


def test_a_step_is_three_forward_passes_of_every_example() -> None:
    parts = assemble(experiment(), MLP())
    state = parts.state.abstract()
    counted = step_flops(parts.model, parts.config.task, state, _batch(8))
    assert counted == 3 * 8 * 2 * (64 * 7 + 7 * 10)


def test_a_perceiver_costs_what_its_anatomy_says() -> None:
    config = load_experiment("experiments/digits.py")
    parts = assemble(config)
    state = parts.state.abstract()
    counted = step_flops(parts.model, config.task, state, _batch(32))
    assert counted == 3 * 32 * dissect(perceiver_jax.build(config.model)).total_flops.total


@pytest.mark.parametrize("route", ["folded", "streamed"])
def test_what_is_counted_is_the_definition_whatever_the_route(route: str) -> None:
    config = load_experiment("experiments/digits.py")
    parts = assemble(config)
    state = parts.state.abstract()
    model = perceiver_jax.build(config.model, attention=route)
    counted = step_flops(model, config.task, state, _batch(32))
    assert counted == step_flops(parts.model, config.task, state, _batch(32))
    assert counted == 3 * 32 * dissect(perceiver_jax.build(config.model)).total_flops.total


class Remat(MLP):
    def apply(self, params, state, rng, *inputs, **options):  # type: ignore[no-untyped-def]
        forward = jax.checkpoint(
            lambda params: MLP.apply(self, params, state, rng, *inputs, **options)
        )
        return forward(params)


class Endless(MLP):
    def apply(self, params, state, rng, *inputs, **options):  # type: ignore[no-untyped-def]
        outputs, state = super().apply(params, state, rng, *inputs, **options)
        w = jnp.eye(10)
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ w, outputs), state


def test_recomputation_counts_for_nothing_and_an_unknown_length_for_none() -> None:
    parts = assemble(experiment(), MLP())
    state = parts.state.abstract()
    plain = step_flops(MLP(), parts.config.task, state, _batch(8))
    assert step_flops(Remat(), parts.config.task, state, _batch(8)) == plain
    assert step_flops(Endless(), parts.config.task, state, _batch(8)) is None


@pytest.mark.parametrize(
    ("kind", "dtype", "precision", "teraflops"),
    [
        ("TPU v2", "bfloat16", None, 23),
        ("TPU v3", "float32", None, 61.5),
        ("TPU v4", "bfloat16", None, 275),
        ("TPU v4 lite", "bfloat16", None, None),  # another chip than v4
        ("TPU v5 lite", "bfloat16", None, 197),
        ("TPU v5e", "bfloat16", None, 197),
        ("TPU v5", "bfloat16", None, 459),
        ("TPU v5p", "float32", "highest", 459),
        ("TPU v6 lite", "bfloat16", None, 918),
        ("TPU v6e", "bfloat16", None, 918),
        ("TPU7x", "bfloat16", None, 1153.5),
        ("Tesla V100-SXM2-16GB", "float16", None, 125),
        ("Tesla V100-PCIE-32GB", "float16", None, 112),
        ("Tesla V100-SXM2-16GB", "float32", None, 15.7),
        ("Tesla V100-SXM2-16GB", "bfloat16", None, None),  # no units for it
        ("Tesla T4", "float16", None, 65),
        ("NVIDIA A100-SXM4-40GB", "bfloat16", None, 312),
        ("NVIDIA A100 80GB PCIe", "float32", None, 156),
        ("NVIDIA A100-SXM4-80GB", "float32", "highest", 19.5),
        ("NVIDIA L4", "bfloat16", None, 121),
        ("NVIDIA L40S", "bfloat16", None, 362),
        ("NVIDIA H100 80GB HBM3", "bfloat16", None, 989.5),
        ("NVIDIA H100 PCIe", "bfloat16", None, 756.5),
        ("NVIDIA H200", "float32", "tensorfloat32", 494.5),
        ("NVIDIA GH200 480GB", "bfloat16", None, 989.5),
        ("NVIDIA B200", "bfloat16", None, 2250),
        ("NVIDIA GB200", "bfloat16", None, 2500),
        ("NVIDIA A10G", "bfloat16", None, None),  # an A10 of another clock
        ("cpu", "float32", None, None),
    ],
)
def test_peaks(kind: str, dtype: str, precision: str | None, teraflops: float | None) -> None:
    found = peak_flops(kind, dtype, precision)
    assert found == (None if teraflops is None else pytest.approx(teraflops * 1e12))


def test_the_peaks_of_all_devices_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_peak() is None  # CPUs

    class Device:
        device_kind = "NVIDIA A100-SXM4-40GB"

    monkeypatch.setattr("jax.devices", lambda: [Device(), Device(), Device()])
    assert devices_peak("bfloat16") == pytest.approx(3 * 312e12)
    assert devices_peak() == pytest.approx(3 * 156e12)
    with jax.default_matmul_precision("highest"):
        assert devices_peak() == pytest.approx(3 * 19.5e12)
