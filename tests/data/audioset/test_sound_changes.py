"""Sound that is changed at random: where a clip may lie, how loud it is, and with what it goes."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from perceiver_jax.data.audioset.config import AudiosetConfig, RawAudio
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.sound_changes import SoundChanges, spread
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.errors import ConfigError
from tests.data.audioset.stored import InMemory, recording

PLACED = SoundChanges(gain=0.0, flip=False)
FRAME = 1920


@pytest.mark.parametrize("size", [5, 12])
def test_every_place_is_as_likely(size: int) -> None:
    """Shorter than a clip of 8 samples by 3, and longer by 4."""
    samples = (1000 * np.arange(1, size + 1)).astype(np.int16)
    padded = np.pad(samples, 3 if size == 5 else 0) / 2**15
    expected = {tuple(padded[k : k + 8].astype(np.float32)) for k in range(abs(size - 8) + 1)}
    rng = np.random.default_rng(0)
    clips = [tuple(PLACED(samples, 0, 8, rng)) for _ in range(500)]
    assert set(clips) == expected
    counts = np.array([clips.count(clip) for clip in expected])
    assert (np.abs(counts - 500 / len(expected)) < 50).all()


def test_loudness_and_sign() -> None:
    changes = SoundChanges(anywhere=False, gain=6.0)
    rng = np.random.default_rng(0)
    samples = np.full(50, 2**13, np.int16)  # 0.25
    clips = np.stack([changes(samples, 10, 8, rng) for _ in range(1000)])
    assert clips.dtype == np.float32 and np.ptp(clips, axis=1).max() == 0
    decibels = 20 * np.log10(np.abs(clips[:, 0]) / 0.25)
    assert -6 < decibels.min() < -5.9 and 5.9 < decibels.max() < 6
    assert abs(decibels.mean()) < 0.3  # Its deviation is 0.11.
    assert 450 < np.sum(clips[:, 0] > 0) < 550
    # What is as loud as it can be stays within [-1, 1].
    loud = [changes(np.full(50, 2**15 - 1, np.int16), 0, 8, rng) for _ in range(100)]
    assert np.abs(loud).max() == 1
    # Where the clip begins is as it was asked for.
    assert list(SoundChanges(anywhere=False, gain=0.0, flip=False)(
        np.arange(50, dtype=np.int16), 10, 3, rng) * 2**15) == [10, 11, 12]  # fmt: skip


@pytest.mark.parametrize("audio", [RawAudio(), MelSpectrogram(num_bands=20)])
def test_training_alone_is_changed(audio: Any) -> None:
    """An example is the changed clip as `audio` reads it; what is evaluated is not changed."""
    plain = AudiosetConfig(
        recordings=InMemory(), audio=audio, video=None, num_frames=8, eval_clips=3
    )
    changed = AudiosetConfig(
        recordings=InMemory(), audio=audio, video=None, num_frames=8, eval_clips=3,
        sound_changes=SoundChanges(gain=3.0),
    )  # fmt: skip
    example = recording(frames=None, samples=12 * FRAME)
    found = changed.augment(example, np.random.default_rng(3))["inputs"]
    assert found.shape == plain.augment(example, np.random.default_rng(3))["inputs"].shape
    if isinstance(audio, RawAudio):
        # Steps of 1,000 at each frame of 1,920 samples, from any sample on.
        steps = np.flatnonzero(np.diff(found[:, 0]))
        assert len(set(steps % FRAME)) == 1 and (steps[0] + 1) % FRAME
    np.testing.assert_array_equal(
        changed.evaluated(example)["inputs"], plain.evaluated(example)["inputs"]
    )
    # Without a track there is silence as before.
    silent = {"id": "abcdefghijk", "label": example["label"]}
    assert not changed.augment(silent, np.random.default_rng(0))["inputs"].any()


def test_clips_that_are_evaluated_lie_all_over() -> None:
    samples = (1000 * np.arange(1, 13)).astype(np.int16)
    longer = np.stack(spread(samples, 8, 3)) * 2**15 / 1000
    np.testing.assert_array_equal(longer[:, 0], [1, 3, 5])
    shorter = np.stack(spread(samples[:4], 8, 3)) * 2**15 / 1000
    np.testing.assert_array_equal(shorter, [
        [0, 0, 0, 0, 1, 2, 3, 4], [0, 0, 1, 2, 3, 4, 0, 0], [1, 2, 3, 4, 0, 0, 0, 0],
    ])  # fmt: skip
    assert shorter.dtype == np.float32
    (middle,) = spread(samples[:4], 8, 1)
    np.testing.assert_array_equal(middle * 2**15 / 1000, shorter[1])
    # As a config evaluates them; where clips do not begin anywhere, as without changes.
    config = AudiosetConfig(
        recordings=InMemory(), video=None, num_frames=8, eval_clips=3, sound_changes=PLACED
    )
    example = recording(frames=None, samples=5 * FRAME)
    found = config.evaluated(example)["inputs"][..., 0]
    np.testing.assert_array_equal(found, spread(example["audio"], 8 * FRAME, 3))
    still = dataclasses.replace(config, sound_changes=SoundChanges(anywhere=False))
    for clip in still.evaluated(example)["inputs"][..., 0]:
        np.testing.assert_array_equal(clip, found[2])
    silent = {"id": "abcdefghijk", "label": example["label"]}
    assert not config.evaluated(silent)["inputs"].any()


def test_refused() -> None:
    sound = {"recordings": InMemory(), "sound_changes": SoundChanges()}
    with pytest.raises(ConfigError, match=r"config\.data\.sound_changes=none"):
        AudiosetConfig(**sound, audio=RawAudio(), video=VideoConfig())
    with pytest.raises(ConfigError, match="must stay with its frames"):
        AudiosetConfig(**sound, audio=None, video=VideoConfig())
    with pytest.raises(ConfigError, match="gain=-1 must not be negative"):
        SoundChanges(gain=-1)
