"""experiments/modelnet40.py: every variant is the model and the recipe that its row says."""

import jax
import numpy as np
import pytest

from perceiver_jax import zoo
from perceiver_jax.config import diff, from_dict, load_experiment, override, to_dict
from perceiver_jax.data.points.config import PointCloudsConfig
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.points.transforms import RandomChanges
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import Constant, Lamb
from perceiver_jax.train.paper import Difference, differences

FILE = "experiments/modelnet40.py"
# Variant: points that it reads, and the paper's accuracy.
ROWS = {
    "perceiver": (2048, 85.7),
    "resnet50": (2048, 66.3),
    "vit_b2": (2048, 78.9),
    "vit_b4": (2048, 73.4),
    "vit_b8": (2048, 65.3),
    "vit_b16": (2048, 59.6),
    "transformer_44": (1936, 82.1),
}


@pytest.mark.parametrize("variant", ROWS)
def test_model_data_training_and_paper(variant: str) -> None:
    config = load_experiment(f"{FILE}:{variant}")
    num_points, percent = ROWS[variant]
    prefix = "" if variant == "perceiver" else "baseline_"
    name = "perceiver_modelnet40" if not prefix else f"baseline_modelnet40_{variant}"
    assert config.name == f"modelnet40_{variant}"
    assert config.model == zoo.get_config(name)
    (points,) = zoo.build(config.model).example_inputs(2)
    assert points == jax.ShapeDtypeStruct((2, num_points, 3), np.float32)
    assert config.data == PointCloudsConfig(points=ModelNetConfig(), num_points=num_points)
    assert config.task == ClassificationConfig(num_classes=40, input_key="points")
    # Sec. 4.3; weight decay and clipping are open.
    assert config.optimizer == Lamb(weight_decay=0.1, max_norm=10.0)
    assert config.schedule == Constant(base_lr=1e-3)
    trainer = config.trainer
    assert (trainer.batch_size, trainer.num_steps) == (512, 50_000)
    assert config.paper.value == pytest.approx(percent / 100)
    assert from_dict(to_dict(config)) == config
    # Nothing else is not as printed, and with the flag nothing at all.
    difference = Difference("evaluation.select", "test", "last")
    assert differences(config, config.paper.recipe) == [difference]
    selected = override(config, {"evaluation.select": "test"})
    assert differences(selected, config.paper.recipe) == []


def test_the_recipe_is_told_by_field() -> None:
    """What a reader of the paper would change makes a difference, and is named."""
    config = load_experiment(FILE)
    assert config.name == "modelnet40_perceiver"
    assert config.data.augmentation == RandomChanges(scale_points=0.01)
    for path, value in (
        ("data.augmentation.translate_points", 0.02),
        ("data.augmentation.rotate", "up"),
        ("data.points.name", "furniture"),
        ("data.points.hold_out", 100),
        ("schedule.base_lr", 4e-3),
        ("trainer.batch_size", 256),
        ("model.preprocessor.position.max_resolution", (224, 224, 224)),
        ("model.encoder.num_cross_attends", 1),
    ):
        changed = override(config, {path: value, "evaluation.select": "test"})
        (difference,) = differences(changed, config.paper.recipe)
        assert (difference.path, difference.here) == (path, value)


def test_smoke_is_the_perceiver_with_other_sizes() -> None:
    smoke = load_experiment(f"{FILE}:smoke")
    changed = {path for path, _, _ in diff(load_experiment(FILE), smoke)}
    assert changed == {
        "name", "paper", "data.points.name", "data.points.data_dir", "data.num_points",
        "model.preprocessor.num_points", "model.preprocessor.position.num_bands",
        "model.preprocessor.position.max_resolution", "model.encoder.num_latents",
        "model.encoder.latent_channels", "model.encoder.self_attends_per_block",
        "model.encoder.self_attend_heads", "model.decoder.num_classes", "task.num_classes",
        "trainer.num_steps", "trainer.batch_size", "trainer.eval_batch_size", "trainer.log_every",
        "trainer.eval_every", "trainer.checkpoint_every",
    }  # fmt: skip


def test_the_dry_run_is_the_perceiver_on_random_clouds() -> None:
    dry_run = load_experiment("experiments/dry_run.py:modelnet40")
    assert {path for path, _, _ in diff(load_experiment(FILE), dry_run)} == {
        "name",
        "data",
        "paper",
    }
