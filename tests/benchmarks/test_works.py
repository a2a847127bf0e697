"""What is measured of a model, and the examples for it."""

from typing import Any

import numpy as np
import pytest

from benchmarks import models, works
from benchmarks.reference_worker import description
from benchmarks.works import Work
from tests import tiny_models


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in tiny_models.ALL.items():
        monkeypatch.setitem(models.OURS, name, config)


def test_a_description_survives_json() -> None:
    found = description(Work("video_autoencoder", "train", 3))
    assert works.from_json(works.to_json(found)) == found


def test_operations_of_a_classifier_by_hand() -> None:
    # 35 inputs of 11 channels (1 + 2 axes of 2 * 2 + 1), 3 latents of 14; 2 for a multiply-add.
    n, m, c, d = 3, 35, 11, 14
    cross = n * d * c + 2 * m * c * c + 2 * n * m * c + n * c * d + 2 * n * d * d
    tower = 4 * n * d * d + 2 * n * n * d + 2 * n * d * d
    query, classes = 13, 5
    decoder = query * d + 2 * n * d * d + 2 * n * d + d * query + 2 * query**2 + query * classes
    scores = 3 * (n * m + 2 * n * n + n)
    expected = 2 * (cross + tower + decoder) + scores
    found = description(Work("classifier", "forward", 1))
    assert round(found.gflop * 1e9) == expected
    assert round(description(Work("classifier", "train", 2)).gflop * 1e9) == 6 * expected


@pytest.mark.parametrize(
    ("model", "inputs", "targets"),
    [
        ("classifier", {"inputs": (2, 5, 7, 1)}, {"outputs": ((2,), 5)}),
        ("language_model", {"inputs": (2, 11)}, {"outputs": ((2, 11), 262)}),
        ("optical_flow", {"inputs": (2, 2, 3, 5, 3)}, {"outputs": ((2, 3, 5, 2), None)}),
    ],
)
def test_examples(model: str, inputs: dict[str, Any], targets: dict[str, Any]) -> None:
    found = description(Work(model, "forward", 2))
    made, again = found.make_inputs(), found.make_inputs()
    assert {name: array.shape for name, array in made.items()} == inputs
    assert all(np.array_equal(made[name], again[name]) for name in made)
    assert {name: (spec.shape, spec.below) for name, spec in found.targets.items()} == targets
    for name, (_, below) in targets.items():
        array = found.make_targets()[name]
        assert (array.dtype == np.float32) == (below is None)
        assert below is None or (array.min() >= 0 and array.max() < below)
    assert found.num_calls == 1 and found.points(0) == {}


def test_the_released_procedure_computes_every_output() -> None:
    # 2 frames of 4 x 6 pixels, and 5 patches of sound.
    found = description(Work("video_autoencoder", "forward", 1))
    assert found.num_calls == 48
    calls = [found.points(call) for call in range(48)]
    assert sorted({*np.concatenate([call["image"] for call in calls])}) == list(range(48))
    assert sorted({*np.concatenate([call["audio"] for call in calls])}) == list(range(5))
    assert len({len(call["audio"]) for call in calls}) == 1


def test_training_decodes_a_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "TRAIN_POINTS", 7)
    found = description(Work("video_autoencoder", "train", 2))
    assert found.num_calls == 1
    points = found.points(0)
    assert len(set(points["image"])) == 7 and points["image"].max() < 48
    assert sorted(points["audio"]) == list(range(5))
    assert found.targets["image"].shape == (2, 7, 3)
    assert found.targets["label"] == works.ArraySpec((2,), 3)


def test_what_transformers_is_told() -> None:
    changes = {"decoder.query_channels": "14"}
    told = description(Work("classifier", "forward", 1, changes)).huggingface
    assert "refused" in told  # It reads three channels, and 64 bands.
    told = description(Work("mlm", "forward", 1)).huggingface
    assert told["architecture"] == "PerceiverForMaskedLM"
    assert told["fields"]["d_latents"] == 1280
