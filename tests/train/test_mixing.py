"""Training on mixed examples: the same however it is computed, and counted right."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.source import Source
from perceiver_jax.report.mesh_needs import as_json, render
from perceiver_jax.tasks import MixConfig
from perceiver_jax.tasks.base import training_batch
from perceiver_jax.tasks.mixing import Draws
from perceiver_jax.train import loop
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.dry_run import collectives, dry_run
from perceiver_jax.train.loop import train
from perceiver_jax.train.mesh import BATCH, make_mesh, put_batch
from perceiver_jax.train.model_flops import step_flops
from perceiver_jax.train.state import batch_key, step_key
from perceiver_jax.train.step import make_batch
from tests.compiling import QUICK
from tests.data.sources import DamagedSource
from tests.train import equivalent, fake
from tests.train.equivalent import LAYOUTS, assert_equal, five_steps, mixing
from tests.train.processes import run_processes

pytestmark = pytest.mark.usefixtures("quick_compilation")

MIXED = {"task__mixing": "MixConfig"}


@pytest.fixture(scope="module")
def on_one_device() -> Any:
    return five_steps(assemble(mixing(), devices=jax.devices()[:1]))


@pytest.mark.core
def test_it_is_another_training(on_one_device: Any) -> None:
    plain = five_steps(assemble(equivalent.experiment(), devices=jax.devices()[:1]))
    assert not np.isclose(on_one_device[0], plain[0], rtol=1e-4).any()


@pytest.mark.core
@pytest.mark.parametrize("layout", ["data=8", "fsdp=8"])
def test_eight_devices_mix_as_one_does(layout: str, on_one_device: Any) -> None:
    assert_equal(five_steps(assemble(mixing(LAYOUTS[layout]))), on_one_device)


def test_so_do_parts(on_one_device: Any) -> None:
    parts = assemble(mixing(accumulate=2), devices=jax.devices()[:1])
    assert_equal(five_steps(parts), on_one_device)


def test_so_do_parts_on_eight_devices(on_one_device: Any) -> None:
    assert_equal(five_steps(assemble(mixing(LAYOUTS["data=8"], accumulate=2))), on_one_device)


@pytest.mark.slow
def test_so_do_two_processes(on_one_device: Any) -> None:
    """Each reads its half of the 32 examples that make 16."""
    both = run_processes(
        "tests.train.jobs_training:mixed_steps", processes=2, devices=2,
        environment=QUICK,
    )  # fmt: skip
    for losses, params in both:
        found = {path: np.asarray(value) for path, value in params.items()}
        assert_equal((losses, found), on_one_device)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_image_leaves_its_device(layout: str) -> None:
    mesh = make_mesh(LAYOUTS[layout])
    task = mixing().task
    spread = NamedSharding(mesh, BATCH)
    read = {
        "image": jax.ShapeDtypeStruct((32, 31, 37, 3), np.float32, sharding=spread),
        "label": jax.ShapeDtypeStruct((32,), np.int32, sharding=spread),
    }
    step = jax.ShapeDtypeStruct((), np.int32)
    compiled = (
        jax.jit(lambda read, step: make_batch(task, read, seed=0, step=step, mesh=mesh))
        .lower(read, step)
        .compile()
    )
    assert compiled.output_shardings["image"].is_equivalent_to(spread, 4)
    program = compiled.as_text()
    here = 32 // (mesh.shape["data"] * mesh.shape["fsdp"])
    assert f"f32[{here},31,37,3]" in program and "f32[32,31,37,3]" not in program
    # The loop that draws ratios may ask whether all devices are done; a word, and nothing more.
    sent = [shape for each in collectives(program, mesh) for shape in each.shapes]
    assert max((int(np.prod(shape)) for shape in sent), default=0) <= 16


@pytest.mark.parametrize("layout", ["data=8", "fsdp=8"])
def test_a_step_sends_what_it_sends_without_mixing(layout: str) -> None:
    sent = []
    for config in (equivalent.experiment(LAYOUTS[layout]), mixing(LAYOUTS[layout])):
        found = dry_run(assemble(config))
        sent.append({
            (each.kind, each.axes, shape)
            for each in found.collectives
            for shape in each.shapes
            if np.prod(shape) > 16
        })  # fmt: skip
    assert sent[0] == sent[1] and sent[0]


def test_keys_are_a_function_of_seed_and_step() -> None:
    keys = [
        jax.random.key_data(key).tolist()
        for seed in (0, 1)
        for step in (0, 1)
        for key in (
            batch_key(seed, step),
            step_key(seed, step),
            *(jax.random.fold_in(step_key(seed, step), part) for part in range(3)),
        )
    ]
    assert len(set(map(tuple, keys))) == 20  # none is that of the model, or of a part
    # The step takes them from the state: the batch it makes is another one at every step.
    parts = assemble(mixing(), devices=jax.devices()[:1])
    read = put_batch(equivalent.first_batch(parts), parts.mesh)
    for step in (0, 3):
        made = make_batch(parts.config.task, read, seed=0, step=np.int32(step), mesh=parts.mesh)
        draws = Draws.of(MixConfig(), batch_key(0, step), 16)
        np.testing.assert_allclose(made["ratio"], draws.ratio(8, 8), rtol=1e-6)


def test_numbers_count_examples_that_are_trained_on() -> None:
    plain, mixed = (
        assemble(fake.experiment(trainer__num_steps="none", trainer__num_epochs="2", **changes),
                 fake.MLP())
        for changes in ({}, MIXED)
    )  # fmt: skip
    assert plain.num_steps == mixed.num_steps == int(2 * 1437 / 8)
    assert plain.num_epochs == mixed.num_epochs == pytest.approx(2, abs=0.01)
    assert (plain.examples_read, mixed.examples_read) == (8, 16)
    read = {
        "image": jax.ShapeDtypeStruct((16, 8, 8, 1), np.float32),
        "label": jax.ShapeDtypeStruct((16,), np.int32),
    }
    counted = step_flops(mixed.model, mixed.config.task, mixed.state.abstract(), read)
    assert counted == 3 * 8 * 2 * (64 * 7 + 7 * 10)
    np.testing.assert_equal(  # the model sees one example as ever
        [leaf.shape for leaf in mixed.state.inputs], [(1, 8, 8, 1)]
    )


def test_a_dry_run_counts_what_is_read() -> None:
    parts = assemble(mixing(), devices=jax.devices()[:1])
    found = dry_run(parts)
    assert found.batch == 32 * (64 * 4 + 4)
    assert "16 examples, 16 a device, each made of 2 that are read\n" in render(parts, found)
    shown = as_json(parts, found)
    assert (shown["batch_size"], shown["examples_read"]) == (16, 32)


def _state(workdir: Path, config: ExperimentConfig) -> Any:
    store = CheckpointStore(workdir / "checkpoints", read_only=True)
    state = store.restore(23, assemble(config, fake.MLP()).state.abstract())
    store.close()
    return jax.device_get(state)


def test_a_run_resumes_to_the_bit_and_is_counted_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With corrupt examples among those that are mixed."""
    whole_source = DigitsConfig.make_source

    def make_source(self: DigitsConfig, split: str) -> Source:
        return DamagedSource(whole_source(self, split), 50)

    monkeypatch.setattr(DigitsConfig, "make_source", make_source)
    monkeypatch.setattr(loop, "draw_run_curves", lambda *_: None)
    meters, sizes, read_batches = [], [], loop.train_batches

    class Meter(loop.Meter):
        def __init__(self, **options: Any):
            meters.append(self)
            self.options = options
            super().__init__(**options)

    def train_batches(*arguments: Any, **options: Any) -> Any:
        for batch in read_batches(*arguments, **options):
            sizes.append(len(batch["label"]))
            yield batch

    monkeypatch.setattr(loop, "Meter", Meter)
    monkeypatch.setattr(loop, "train_batches", train_batches)

    config = fake.experiment(**MIXED)
    final = train(config, tmp_path / "whole", model=fake.MLP())
    told = capsys.readouterr().out
    assert "23 steps of 8 examples (0.1 epochs, the data passed 0.3 times, 2 mixed to 1)" in told
    assert "of train, which is corrupt: digits.bin, record " in told
    assert sizes == [16] * 23
    (meter,) = meters
    assert meter.options["batch_size"] == 8
    assert meter.step_flops == 3 * 8 * 2 * (64 * 7 + 7 * 10)

    with pytest.raises(fake.Crash):
        fake.run(tmp_path / "parts", crash_at=13, **MIXED)
    assert fake.run(tmp_path / "parts", **MIXED) == final
    assert fake.history(tmp_path / "parts") == fake.history(tmp_path / "whole")
    state = _state(tmp_path / "whole", config)
    jax.tree.map(np.testing.assert_array_equal, _state(tmp_path / "parts", config), state)

    # Evaluation mixes nothing: the accuracy of the plain images.
    source = config.data.make_source("test").whole  # type: ignore[attr-defined]
    logits, _ = fake.MLP().apply(state.params, state.model_state, None, source.images)
    right = np.asarray(logits).argmax(-1) == source.labels
    assert final["top_1"] == pytest.approx(np.mean(right[np.arange(360) % 50 > 0]), abs=1e-12)
    assert final["examples"] == 360 and final["left_out"] == 8


def test_drawing_finds_no_fault_in_a_step_that_is_replayed() -> None:
    """`--debug_step` looks for the first value that is not finite, from the raw examples on."""
    task = mixing().task
    batch = {"image": np.ones((8, 5, 7, 1), np.float32), "label": np.zeros(8, np.int32)}
    with jax.debug_nans(True), jax.debug_infs(True), jax.disable_jit():
        found = partial(training_batch, task)(batch, batch_key(0, 0))
    np.testing.assert_allclose(found["image"], 1.0, rtol=1e-6)


def test_mixing_is_another_experiment() -> None:
    from perceiver_jax.config import override
    from perceiver_jax.train.config import changes_trajectory

    assert changes_trajectory("task.mixing.mixup_alpha")
    config = override(equivalent.experiment(), {"task.mixing": "MixConfig"})
    config = override(config, {"task.mixing.kinds": "cutmix", "task.mixing.mixup_alpha": "0.4"})
    assert config.task.mixing == MixConfig(kinds=("cutmix",), mixup_alpha=0.4)
    without = override(config, {"task.mixing": "none"})
    assert without.task == dataclasses.replace(config.task, mixing=None)
