"""The benchmark of reading clouds: its stages are the pipeline, and its table adds up."""

import numpy as np
import pytest

from benchmarks import cloud_pipeline
from benchmarks.cloud_pipeline import Result
from perceiver_jax.data.points.config import PointCloudsConfig
from tests.data.points.stored import InMemory


def test_stages_make_what_the_pipeline_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PointCloudsConfig(points=InMemory(), num_points=150)
    result = cloud_pipeline.measure(config, repeats=1)
    assert list(result.stages) == [
        "read", "draw", "normalise", "change", "normalise again", "batch",
    ]  # fmt: skip
    assert (result.clouds, result.num_points, result.repeats) == (12, 150, 1)
    assert min(*result.stages.values(), result.loader) > 0
    # `measure` compares them itself, point by point.
    monkeypatch.setattr(cloud_pipeline, "normalize", lambda points: np.asarray(points))
    with pytest.raises(RuntimeError, match="do not make what the pipeline makes"):
        cloud_pipeline.measure(config, repeats=1)


def test_the_table_adds_up() -> None:
    result = Result({"read": 6e-5, "draw": 2e-5, "batch": 2e-5}, 1.25e-4, 4000, 2048, 7)
    text = cloud_pipeline.render(result, markdown=True)
    assert "4,000 clouds of 2,048 points, median of 7 rounds" in text
    assert "| read | 60 | 16,667 | 60% |" in text
    assert "| all stages | 100 | 10,000 | 100% |" in text
    assert "| as the trainer calls it | 125 | 8,000 |  |" in text
