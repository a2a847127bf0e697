"""The input pipeline's benchmark: its stages are the pipeline, and its table adds up."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import input_pipeline
from benchmarks.input_pipeline import Result
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.folder import FolderConfig


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ImagesConfig:
    """Three files of noise, small ones."""
    rng = np.random.default_rng(0)
    photos = {
        "grey": rng.integers(256, size=(60, 90), dtype=np.uint8),
        "colour": rng.integers(256, size=(80, 70, 3), dtype=np.uint8),
        "too small": rng.integers(256, size=(30, 70), dtype=np.uint8),
    }
    monkeypatch.setattr(input_pipeline, "load_photos", lambda: photos)
    monkeypatch.setattr(input_pipeline, "SIZE", (50, 38))
    folder = input_pipeline.write_images(tmp_path, 3, quality=90)
    return ImagesConfig(images=folder, size=(19, 19))


def test_files_are_as_announced(small: ImagesConfig) -> None:
    assert isinstance(small.images, FolderConfig)
    files = sorted(Path(small.images.path).glob("train/*/*.JPEG"))
    assert [file.parent.name for file in files] == ["colour", "grey", "grey"]
    pictures = [Image.open(file) for file in files]
    assert all(each.size == (50, 38) and each.mode == "RGB" for each in pictures)
    # The quality is told from the quantisation tables.
    written = Image.open(files[0]).quantization  # type: ignore[attr-defined]
    other = files[0].with_name("other.JPEG")
    pictures[0].save(other, quality=90)
    assert Image.open(other).quantization == written  # type: ignore[attr-defined]
    assert np.abs(np.asarray(pictures[1], float) - np.asarray(pictures[2], float)).mean() > 5


def test_stages_make_what_the_pipeline_makes(small: ImagesConfig) -> None:
    """`measure` compares them itself, pixel by pixel."""
    result = input_pipeline.measure(small, repeats=2, quality=90)
    assert list(result.stages) == [
        "read", "decode", "crop and flip", "RandAugment", "resize", "normalise", "batch",
    ]  # fmt: skip
    assert (result.images, result.repeats) == (3, 2)
    assert all(seconds > 0 for seconds in (*result.stages.values(), result.whole, result.pillow))


def test_stages_that_are_not_the_pipeline_are_noticed(
    small: ImagesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_pipeline, "normalize", lambda image, mean, stddev: image)
    with pytest.raises(RuntimeError, match="do not make what the pipeline makes"):
        input_pipeline.measure(small, repeats=1, quality=90)


def test_the_table_adds_up() -> None:
    result = Result(
        stages={"read": 0.001, "decode": 0.004, "resize": 0.003, "RandAugment": 0.002},
        whole=0.0125,
        pillow=0.005,
        images=8,
        repeats=3,
        file_size=61_400.0,
        quality=90,
    )
    assert result.total == pytest.approx(0.01)
    assert result.share("decode", "resize") == pytest.approx(0.7)
    text = input_pipeline.render(result, markdown=True)
    assert "| decode | 4.00 | 250 | 40% |" in text
    assert "| all stages | 10.00 | 100 | 100% |" in text
    assert "| as the trainer calls it | 12.50 | 80 |  |" in text
    assert "| Pillow's decoder alone | 5.00 | 200 | 50% |" in text
    assert "61 kB" in text and "take 70% of the time; the target of at least 60% is reached" in text
    slow = Result({**result.stages, "RandAugment": 0.01}, 0.02, 0.005, 8, 3, 61_400.0, 90)
    assert "take 39% of the time; the target of at least 60% is missed" in (
        input_pipeline.render(slow, markdown=False)
    )
