"""experiments/languages.py is experiments/audioset.py with the values that it lists."""

import numpy as np
import pytest

from perceiver_jax.config import diff, load_experiment
from perceiver_jax.data.audioset.asterisk import LANGUAGES
from tests.data.audioset.stored import recording


@pytest.mark.parametrize("variant", ["audio_mel", "audio_raw"])
def test_what_differs_from_audioset(variant: str) -> None:
    real = load_experiment(f"experiments/audioset.py:{variant}")
    small = load_experiment(f"experiments/languages.py:{variant}")
    changed = {path for path, _, _ in diff(real, small)}
    data = {path for path in changed if path.startswith("data.")}
    of_mel = {"data.audio.num_bands", "data.audio.highest"}
    of_raw = {"data.audio.mean_of", "data.audio.stddev"}
    assert data == {
        "data.recordings.name", "data.recordings.data_dir", "data.sound_changes",
        *(of_mel if variant == "audio_mel" else of_raw),
    }  # fmt: skip
    assert not any(path.startswith("optimizer") for path in changed)
    assert small.paper is None and small.data.video is None
    assert small.task.clips == small.data.eval_clips
    assert small.model.decoder.num_classes == small.task.num_classes == len(LANGUAGES)


@pytest.mark.parametrize("variant", ["audio_mel", "audio_raw"])
def test_the_model_reads_what_the_data_gives(variant: str) -> None:
    config = load_experiment(f"experiments/languages.py:{variant}")
    found = config.data.augment(recording(frames=None), np.random.default_rng(0))["inputs"]
    clips = config.data.evaluated(recording(frames=None))["inputs"]
    preprocessor = config.model.preprocessor
    if variant == "audio_mel":
        expected: tuple[int, ...] = (*preprocessor.shape, preprocessor.channels)
    else:
        expected = (preprocessor.num_samples, 1)
    assert found.shape == expected and clips.shape == (config.task.clips, *expected)
    assert preprocessor.position.max_resolution == preprocessor.index_dims
