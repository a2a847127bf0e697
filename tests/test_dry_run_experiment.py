"""experiments/dry_run.py: every variant fits its model, and one trains."""

from pathlib import Path

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.loader import train_batches
from perceiver_jax.tasks import MultilabelConfig
from perceiver_jax.train.config import Lamb
from perceiver_jax.train.loop import train
from perceiver_jax.train.schedules import make_schedule

_FILE = "experiments/dry_run.py"

# Variant: parameters of the model (None: the paper has no count), batch, steps, peak rate.
# 1,281,167 images are 1,251.1 batches of 1,024; 1.7 million clips 1,660.2.
_EXPECTED = {
    "perceiver_imagenet": (44_912_254, 1024, 150_136, 4e-3),
    "io_fourier": (48_440_627, 1024, 137_625, 2e-3),
    "io_learned": (62_255_848, 1024, 137_625, 2e-3),
    "io_conv": (48_646_522, 1024, 137_625, 2e-3),
    "modelnet40": (None, 512, 50_000, 1e-3),
    "audioset_raw": (None, 1024, 166_015, 2e-3),
    "audioset_mel": (None, 1024, 166_015, 2e-3),
    "audioset_video": (None, 1024, 166_015, 2e-3),
    "audioset_raw_video": (None, 1024, 166_015, 2e-3),
    "audioset_mel_video": (None, 1024, 166_015, 2e-3),
}


def test_the_variants_are_those_expected() -> None:
    with pytest.raises(perceiver_jax.errors.ConfigError) as caught:
        load_experiment(f"{_FILE}:none of them")
    assert f"It has: {', '.join(_EXPECTED)} (" in str(caught.value)


@pytest.mark.parametrize("variant", list(_EXPECTED))
def test_recipe_and_shapes(variant: str) -> None:
    config = load_experiment(f"{_FILE}:{variant}")
    num_params, batch_size, num_steps, rate = _EXPECTED[variant]
    assert config.name == f"dry_run_{variant}"
    assert config.optimizer == Lamb(weight_decay=0.1, max_norm=10.0)
    trainer, source = config.trainer, config.data.make_source("train")
    assert trainer.batch_size == trainer.eval_batch_size == batch_size
    per_epoch = len(source) / batch_size
    steps = trainer.num_steps or trainer.num_epochs * per_epoch
    assert int(steps) == num_steps
    schedule = make_schedule(
        config.schedule, batch_size=batch_size, steps_per_epoch=per_epoch, total_steps=steps
    )
    assert float(schedule(0)) == pytest.approx(rate)
    # What the task takes from a batch is what the model takes, and the outputs are what it judges.
    model = perceiver_jax.build(config.model)
    batch = next(
        train_batches(config.data, source, batch_size=1, seed=0, start_step=0, stop_step=1,
                      threads=0)
    )  # fmt: skip
    shapes = jax.tree.map(lambda each: jax.ShapeDtypeStruct(each.shape, each.dtype), batch)
    inputs = config.task.model_inputs(shapes).inputs
    assert inputs == model.example_inputs(1)
    params, state = model.abstract_params()
    assert num_params is None or zoo.count(params) == num_params
    outputs, _ = jax.eval_shape(
        lambda params, state, *inputs: model.apply(params, state, None, *inputs),
        params, state, *inputs,
    )  # fmt: skip
    means = jax.eval_shape(
        lambda outputs, batch: config.task.measure(outputs, batch, is_training=False),
        outputs, shapes,
    )  # fmt: skip
    if isinstance(config.task, MultilabelConfig):  # The metric is of what is collected.
        collected = jax.eval_shape(config.task.collect, outputs, shapes)
        assert [each.shape for each in collected.values()] == [(1, config.task.num_classes)] * 2
    else:
        assert config.task.headline.metric in means


def test_the_schedule_of_perceiver_on_imagenet() -> None:
    config = load_experiment(f"{_FILE}:perceiver_imagenet")
    schedule = make_schedule(
        config.schedule, batch_size=1024, steps_per_epoch=100, total_steps=12_000
    )
    for epoch, rate in ((83.9, 4e-3), (84.1, 4e-4), (101.9, 4e-4), (102.1, 4e-5), (114.1, 4e-6)):
        assert float(schedule(round(epoch * 100))) == pytest.approx(rate, rel=1e-5)


@pytest.mark.slow
def test_sound_and_video_train_end_to_end(tmp_path: Path, quick_compilation: None) -> None:
    config = override(
        load_experiment(f"{_FILE}:audioset_mel_video"),
        {
            "model.encoder.num_latents": "5",
            "model.encoder.num_blocks": "1",
            "model.encoder.num_cross_attends": "1",
            "model.encoder.latent_channels": "16",
            "model.encoder.self_attends_per_block": "1",
            "model.encoder.self_attend_heads": "2",
            "model.preprocessor.modalities.audio.shape": "6,5",
            "model.preprocessor.modalities.video.shape": "4,16,8",
            "data.arrays.audio.shape": "6,5,1",
            "data.arrays.video.shape": "4,16,8,3",
            "data.num_examples": "20",
            "data.num_test_examples": "11",
            "trainer.num_epochs": "none",
            "trainer.num_steps": "2",
            "trainer.batch_size": "8",
            "trainer.eval_batch_size": "8",
            "trainer.reader_processes": "1",
        },
    )
    final = train(config, tmp_path)
    assert (final["step"], final["examples"]) == (2, 11)
    # The output layer starts at zero and two steps change little: log 2 for every class.
    assert final["loss"] == pytest.approx(np.log(2), abs=0.05) and final["loss"] != np.log(2)
    # Two of 527 labels each: most classes have no positive among 11 examples.
    assert 527 - 22 <= final["classes_without_positives"] < 527
    assert 0 < final["mean_average_precision"] <= 1
