"""experiments/modelnet40.py and furniture.py: from a folder of meshes to a result and a report."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceiver_jax.config import diff, load_experiment, override
from perceiver_jax.data.points import furniture
from perceiver_jax.data.points.prepare import prepare
from perceiver_jax.train.evaluation import evaluate_checkpoint
from perceiver_jax.train.loop import train

NUM_POINTS = 48
SHAPES = ("ball", "pole")
# Sizes, and where the data is; nothing of what the paper says about data and recipe.
TINY: dict[str, Any] = {
    "model.preprocessor.num_points": NUM_POINTS,
    "model.preprocessor.position.num_bands": 2,
    "model.preprocessor.position.max_resolution": (4, 4, 4),
    "model.encoder.num_latents": 4,
    "model.encoder.latent_channels": 16,
    "model.encoder.self_attends_per_block": 1,
    "model.encoder.self_attend_heads": 2,
    "model.decoder.num_classes": len(SHAPES),
    "task.num_classes": len(SHAPES),
    "task.top_k": None,
    "data.num_points": NUM_POINTS,
    "data.points.name": "shapes",
    "trainer.num_steps": 60,
    "trainer.batch_size": 16,
    "trainer.eval_batch_size": 16,
    "trainer.log_every": 30,
    "trainer.eval_every": 60,
    "trainer.checkpoint_every": 60,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Solids of two kinds in ModelNet40's layout, of all sizes, anywhere; converted."""
    trimesh = pytest.importorskip("trimesh")
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("shapes")
    for label in SHAPES:
        for split, count in (("train", 12), ("test", 6)):
            (root / "meshes" / label / split).mkdir(parents=True)
            for number in range(count):
                if label == "ball":
                    mesh = trimesh.creation.icosphere(1)
                else:
                    mesh = trimesh.creation.cylinder(0.2, 2, sections=8)
                mesh.apply_scale(10 ** rng.uniform(-2, 2) * rng.uniform(0.8, 1.2, 3))
                mesh.apply_translation(rng.uniform(-5, 5, 3))
                mesh.export(root / "meshes" / label / split / f"{label}_{number:04}.off")
    prepared = prepare(
        str(root / "meshes"), str(root), name="shapes", num_points=64, workers=1, report=str
    )
    assert prepared.counts == {"train": 24, "test": 12} and not prepared.left_out
    return root


@pytest.mark.slow
def test_the_whole_way_with_the_real_config_and_other_sizes_only(
    shapes: Path, tmp_path: Path, quick_compilation: None
) -> None:
    real = load_experiment("experiments/modelnet40.py:perceiver")
    changes = {**TINY, "data.points.data_dir": str(shapes)}
    config = override(real, changes)
    assert {path for path, _, _ in diff(real, config)} <= set(changes)
    final = train(config, tmp_path / "run")
    # It tells balls and poles apart, by LAMB and the paper's learning rate.
    assert (final["step"], final["examples"]) == (60, 12)
    assert final["top_1"] > 0.9
    evaluated = evaluate_checkpoint(tmp_path / "run", report=str)
    assert evaluated["top_1"] == final["top_1"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    # Clouds by class, and which of their points the cross-attends read.
    assert "<h2>Examples</h2>" in page
    assert all(f"<h3>{name}, recognised</h3>" in page for name in SHAPES)


def test_furniture_is_modelnet40s_perceiver_with_other_values() -> None:
    real = load_experiment("experiments/modelnet40.py:perceiver")
    small = load_experiment("experiments/furniture.py")
    changed = {path for path, _, _ in diff(real, small)}
    kept = {path for path in changed if path.startswith(("data", "optimizer", "evaluation"))}
    assert kept == {
        "data.points.name", "data.points.data_dir", "data.num_points", "data.augmentation.jitter",
        "data.augmentation.mirror", "data.augmentation.scale_axes",
    }  # fmt: skip
    # The paper's on top of that: LAMB, each point scaled; and no turning, which did not help.
    augmentation = small.data.augmentation
    assert (augmentation.scale_points, augmentation.rotate) == (0.01, "none")
    assert small.model.encoder.num_cross_attends == real.model.encoder.num_cross_attends == 2
    assert small.model.decoder.num_classes == small.task.num_classes == len(furniture.CLASSES)
    assert small.model.preprocessor.num_points == small.data.num_points
    assert small.paper is None and small.data.points.name == "furniture"


def test_mirrored_furniture_still_faces_the_same_way() -> None:
    """Up is z and the front is along y, both for the folder that is made and for the mirror."""
    augmentation = load_experiment("experiments/furniture.py").data.augmentation
    only = dataclasses.replace(augmentation, scale_points=0.0, scale_axes=0.0, jitter=0.0)
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
    found = [only(points, np.random.default_rng(seed)) for seed in range(20)]
    assert {tuple(np.sign((each / points).mean(axis=0))) for each in found} == {
        (1, 1, 1), (-1, 1, 1),
    }  # fmt: skip
