"""However training is computed, it computes the same: devices, parts, recomputation."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from perceiver_jax import zoo
from perceiver_jax.data.loader import train_batches
from perceiver_jax.errors import ConfigError
from perceiver_jax.model import routes, streamed
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.mesh import put_batch
from perceiver_jax.train.step import make_gradients
from tests.compiling import quick
from tests.train.equivalent import (
    LAYOUTS,
    STEPS,
    assert_equal,
    experiment,
    first_batch,
    five_steps,
    lamb,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def on_one_device() -> Any:
    with quick():
        return five_steps(assemble(experiment(), devices=jax.devices()[:1]))


@pytest.mark.core
@pytest.mark.parametrize("layout", LAYOUTS)
def test_eight_devices_compute_what_one_does(layout: str, on_one_device: Any) -> None:
    parts = assemble(experiment(LAYOUTS[layout]))
    assert parts.mesh.size == 8
    found = five_steps(parts)
    assert len(set(found[0])) == STEPS  # it does learn
    assert_equal(found, on_one_device)


@pytest.mark.core
@pytest.mark.parametrize("layout", ["2x2x2"])  # Splits what "data=8" and "fsdp=8" split, too.
@pytest.mark.parametrize("route", ["folded", "streamed"])
def test_so_do_they_by_any_route(
    route: str, layout: str, on_one_device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three of the eight rows of pixels at a time, and weights in parts.
    monkeypatch.setitem(routes._INPUT_BYTES, "cpu", 4 * 16 * 8 * 8 * 3)
    monkeypatch.setattr(streamed, "CPU_CHUNK_BYTES", 4 * 8 * 24)
    config = experiment(LAYOUTS[layout])
    model = dataclasses.replace(config.model, attention=route)
    parts = assemble(dataclasses.replace(config, model=model))
    assert_equal(five_steps(parts), on_one_device)


def test_parameters_and_moments_lie_where_the_rules_say() -> None:
    parts = assemble(experiment(LAYOUTS["2x2x2"]))
    state = parts.state.create()
    # latents 8 x 16, columns over tensor and rows over fsdp: a quarter of [16, 16] each
    module = "perceiver_encoder/~/self_attention/mlp/linear"
    for tree in (state.params, state.opt_state[1].mu, state.opt_state[1].nu):
        shards = tree[module]["w"].addressable_shards
        assert {shard.data.shape for shard in shards} == {(8, 8)}
        assert len(shards) == 8


def test_lamb_too(on_one_device: Any) -> None:
    """Its norms run over all devices. Biases of keys, whose gradient is rounding, are left out."""
    one = five_steps(assemble(lamb(experiment()), devices=jax.devices()[:1]))
    eight = five_steps(assemble(lamb(experiment(LAYOUTS["2x2x2"]))))
    for each in (one, eight):
        each[1].update({path: np.zeros(()) for path in each[1] if path.endswith("linear_1/b")})
    assert_equal(eight, one, tolerance=1e-4)
    assert not np.allclose(one[0], on_one_device[0], rtol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"remat": "layers"},
        {"remat": "cross_attends"},
        {"remat": "keep_linear"},
        {"accumulate": 8},
    ],
)
def test_memory_is_saved_without_a_trace(changes: dict[str, Any], on_one_device: Any) -> None:
    parts = assemble(experiment(**changes), devices=jax.devices()[:1])
    assert_equal(five_steps(parts), on_one_device)


def test_parts_and_devices_together(on_one_device: Any) -> None:
    layout = MeshConfig(data=2, fsdp=2, tensor=2)
    assert_equal(
        five_steps(assemble(experiment(layout, accumulate=4, remat="keep_linear"))), on_one_device
    )


def test_parts_weigh_examples_and_not_parts() -> None:
    """Padding in one part only: the mean is over the examples that count."""
    parts = assemble(experiment(), devices=jax.devices()[:1])
    batch = first_batch(parts)
    batch["mask"] = np.asarray([0, 1, 0, 1, 0, 1, 0, 0] + [1] * 8, np.float32)
    found = []
    for accumulate in (1, 4):
        split = assemble(experiment(accumulate=accumulate), devices=jax.devices()[:1])
        state, metrics = split.train_step()(
            split.state.create(), put_batch(batch, split.mesh), np.int32(0)
        )
        found.append((float(metrics["loss"]), float(metrics["gradient_norm"])))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_remat_computes_again() -> None:
    """More products in the program, about a forward pass; with 'keep_linear' attention's only."""
    products = {}
    for remat in ("none", "cross_attends", "layers", "keep_linear"):
        parts = assemble(experiment(remat=remat), devices=jax.devices()[:1])
        batch = {
            "image": jax.ShapeDtypeStruct((16, 8, 8, 1), np.float32),
            "label": jax.ShapeDtypeStruct((16,), np.int32),
        }
        step = jax.ShapeDtypeStruct((), np.int32)
        text = parts.train_step().lower(parts.state.abstract(), batch, step).as_text()
        products[remat] = text.count("stablehlo.dot_general")
    assert products["none"] < products["cross_attends"] < products["layers"]
    assert products["none"] < products["keep_linear"] < products["layers"]


def test_sizes_that_parts_cannot_share() -> None:
    with pytest.raises(ConfigError, match="accumulate=3 parts do not divide .*batch_size=16"):
        experiment(accumulate=3)
    with pytest.raises(ConfigError, match="batch_size=16 .* by 8 devices in 4 parts .* 32"):
        assemble(experiment(accumulate=4))


def test_bfloat16_is_float32_within_its_rounding() -> None:
    found = []
    for precision in ("float32", "bfloat16"):
        parts = assemble(experiment(precision=precision), devices=jax.devices()[:1])
        state = parts.state.create()
        compute = make_gradients(
            parts.model, parts.config.task, seed=0, placed=parts.placed, mesh=parts.mesh,
            options=parts.options,
        )  # fmt: skip
        gradients, _, means = jax.jit(compute)(state, put_batch(first_batch(parts), parts.mesh))
        found.append((float(means["loss"].value), jax.device_get(gradients)))
    (loss, gradients), (rounded_loss, rounded) = found
    # Eight bits are 0.4 %; gradients have been rounded on the way there and back.
    assert rounded_loss == pytest.approx(loss, rel=4e-3) and rounded_loss != loss
    error = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), gradients, rounded)
    size = jax.tree.map(lambda a: np.sum(a**2), gradients)
    assert sum(jax.tree.leaves(error)) ** 0.5 < 0.02 * sum(jax.tree.leaves(size)) ** 0.5
    assert {leaf.dtype for leaf in jax.tree.leaves(rounded)} == {np.dtype(np.float32)}


def test_bfloat16_keeps_norms_softmax_and_loss_in_float32() -> None:
    parts = assemble(experiment(precision="bfloat16"), devices=jax.devices()[:1])
    batch = {
        "image": jax.ShapeDtypeStruct((16, 8, 8, 1), np.float32),
        "label": jax.ShapeDtypeStruct((16,), np.int32),
    }
    step = jax.ShapeDtypeStruct((), np.int32)
    text = parts.train_step().lower(parts.state.abstract(), batch, step).as_text()
    lines = text.splitlines()
    for operation in ("exponential", "rsqrt", "log"):
        used = [line for line in lines if f"stablehlo.{operation} " in line]
        assert used and not any("bf16" in line for line in used), operation
    products = [line for line in lines if "stablehlo.dot_general" in line]
    # Sums over rows are products with a row of ones on CPUs, in float32.
    products = [line for line in products if ": (tensor<1x" not in line]
    # All but the two last projections, which make the logits, and their gradients.
    assert sum("bf16" in line for line in products) > 0.8 * len(products)


@pytest.mark.core
def test_the_average_follows_its_definition() -> None:
    parts = assemble(experiment(ema_decay=0.4), devices=jax.devices()[:1])
    plain = assemble(experiment(), devices=jax.devices()[:1])
    state, step = parts.state.create(), parts.train_step()
    other, plain_step = plain.state.create(), plain.train_step()
    average = jax.device_get(state.params)
    batches = train_batches(
        parts.config.data, parts.train_source, batch_size=16, seed=0, start_step=0, stop_step=STEPS,
        threads=0,
    )  # fmt: skip
    for number, batch in enumerate(batches):
        state, _ = step(state, put_batch(batch, parts.mesh), np.int32(number))
        other, _ = plain_step(other, put_batch(batch, plain.mesh), np.int32(number))
        decay = min(0.4, (1 + number) / (10 + number))  # 0.1, 2/11, 3/12, 4/13, 5/14
        average = jax.tree.map(
            lambda old, new, decay=decay: decay * old + (1 - decay) * np.asarray(new),
            average,
            other.params,
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.ema, average)
    assert state.evaluated_params is state.ema and other.evaluated_params is other.params
    # It is no part of training.
    jax.tree.map(np.testing.assert_array_equal, state.params, other.params)


@pytest.mark.core
def test_a_step_that_is_not_finite_is_not_taken() -> None:
    parts = assemble(experiment(), devices=jax.devices()[:1])
    step = parts.train_step()
    batch = first_batch(parts)
    before = jax.device_get(parts.state.create())
    broken = dict(batch, image=batch["image"].copy())
    broken["image"][3, 2, 2, 0] = np.nan
    state, metrics = step(parts.state.create(), put_batch(broken, parts.mesh), np.int32(0))
    assert not np.isfinite(float(metrics["loss"]))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), before)
    # The next step, under way already, leaves it alone too: the state is not at its step.
    state, metrics = step(state, put_batch(batch, parts.mesh), np.int32(1))
    assert np.isfinite(float(metrics["loss"]))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), before)
    # At its own step it moves on.
    state, _ = step(state, put_batch(batch, parts.mesh), np.int32(0))
    assert int(state.step) == 1


def test_the_state_is_donated() -> None:
    parts = assemble(dataclasses.replace(experiment()), devices=jax.devices()[:1])
    step = parts.train_step()
    batch = first_batch(parts)
    state = parts.state.create()
    step(state, put_batch(batch, parts.mesh), np.int32(0))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_batch_norm_takes_its_statistics_over_the_whole_batch() -> None:
    """Two examples a device would give others."""
    config = experiment()
    pixels = zoo.ImageConfig(
        (8, 8), channels=1, prep="conv", prep_channels=3, spatial_downsample=4,
        position=zoo.FourierConfig(num_bands=2),
    )  # fmt: skip
    model = dataclasses.replace(config.model, preprocessor=pixels)
    found = []
    for devices in (jax.devices()[:1], jax.devices()):
        parts = assemble(dataclasses.replace(config, model=model), devices=devices)
        batch = put_batch(first_batch(parts), parts.mesh)
        state, _ = parts.train_step()(parts.state.create(), batch, np.int32(0))
        found.append(jax.device_get(state.model_state))
    assert any("batchnorm" in module for module in found[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *found)
