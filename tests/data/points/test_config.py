"""PointCloudsConfig: which points, in which order what is done to them, with which errors."""

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.data.points import views
from perceiver_jax.data.points.config import PointCloudsConfig
from perceiver_jax.data.points.transforms import RandomChanges, normalize
from perceiver_jax.data.shown import NamesClasses, ShowsPictures, ShowsPoints
from perceiver_jax.data.source import DataConfig, HasTrainingSource, Source, training_source
from perceiver_jax.errors import ConfigError, DataError
from tests.data.points.stored import CLASSES, InMemory


def _config(**fields: Any) -> PointCloudsConfig:
    return PointCloudsConfig(**{"points": InMemory(), "num_points": 150} | fields)


def test_protocols() -> None:
    config = _config()
    for protocol in (DataConfig, HasTrainingSource, NamesClasses, ShowsPictures, ShowsPoints):
        assert isinstance(config, protocol)
    source = config.make_source("test")
    assert isinstance(source, Source)
    assert len(source) == 6 and source.describe(4) == "long_0004.off"
    assert len(config.make_source("train")) == len(training_source(config)) == 12
    assert config.class_names() == CLASSES
    example = source[1]
    assert example["points"].dtype == np.float32 and example["label"] == 1
    np.testing.assert_array_equal(config.cloud(example), example["points"])
    assert pickle.loads(pickle.dumps(source))[1]["label"] == 1  # For reader processes.


def test_evaluation_takes_the_first_points_and_normalises_them() -> None:
    config = _config()
    stored = InMemory().open("test")[2]["points"]
    found = config.make_source("test")[2]["points"]
    np.testing.assert_array_equal(found, normalize(stored[:150]))
    assert np.abs(found).max() == 1 and np.abs(found.mean(axis=0)).max() < 1e-6


def test_training_draws_points_anew_in_random_order() -> None:
    config = _config(augmentation=None)
    raw = training_source(config)[0]
    stored, drawn = raw["points"], []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(200)[:150]
        found = config.augment(raw, np.random.default_rng(seed))
        np.testing.assert_array_equal(found["points"], normalize(stored[order]))
        assert found["label"] == raw["label"]
        drawn.append(order)
    # Each of the 200 is among the 150 as often as any other: in 30 of 40.
    counts = np.bincount(np.concatenate(drawn), minlength=200)
    assert 18 <= counts.min() and counts.max() <= 40 and counts.mean() == 30


def test_training_normalises_before_and_after_the_changes() -> None:
    seen = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Noted(RandomChanges):
        def __call__(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            seen.append(points)
            return 7.0 * points + 3.0

    config = _config(augmentation=Noted())
    raw = training_source(config)[4]
    found = config.augment(raw, np.random.default_rng(0))["points"]
    order = np.random.default_rng(0).permutation(200)[:150]
    np.testing.assert_array_equal(seen[0], normalize(raw["points"][order]))
    np.testing.assert_allclose(found, seen[0], atol=1e-6)
    # The paper's scaling leaves a cloud that is nearly, but not quite, the evaluation's.
    found = _config(num_points=200).augment(raw, np.random.default_rng(0))["points"]
    order = np.random.default_rng(0).permutation(200)
    difference = np.abs(found - normalize(raw["points"])[order])
    assert 1e-3 < difference.max() < 0.03


def test_fewer_points_than_asked_for_are_refused_by_name() -> None:
    config = _config(num_points=201)
    with pytest.raises(DataError, match=r"'modelnet40' have 200 points, fewer than data.num_points="
                       "201. Prepare them anew with --num_points=201"):  # fmt: skip
        config.make_source("test")[0]
    with pytest.raises(DataError, match="--config.data.num_points=200"):
        config.augment(training_source(config)[0], np.random.default_rng(0))
    with pytest.raises(ConfigError, match="num_points=0 must be at least 1"):
        _config(num_points=0)


def test_fields_are_changed_by_name_and_saved() -> None:
    config = PointCloudsConfig()
    changed = config_lib.override(
        config, {"augmentation.rotate": "up", "augmentation.translate_points": "0.02"}
    )
    assert changed.augmentation == RandomChanges(rotate="up", translate_points=0.02)
    assert config_lib.override(config, {"augmentation": "none"}).augmentation is None
    assert config_lib.from_dict(config_lib.to_dict(changed)) == changed


@pytest.mark.parametrize(("up_axis", "up"), [(2, "z"), (1, "y"), (0, "x")])
def test_pictures_show_the_axis_up_that_training_turns_about(up_axis: int, up: views.Axis) -> None:
    config = _config(augmentation=RandomChanges(up_axis=up_axis))
    example = config.make_source("test")[2]
    np.testing.assert_array_equal(config.picture(example), views.three(example["points"], up=up))
    assert _config(augmentation=None).up() == "z"
