"""Frames of a clip: the same changes for all of them, and colours worked out by hand."""

import numpy as np
import pytest

from perceiver_jax.data.audioset.colour import ColourChanges
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.data.images.crop import RandomCrop
from perceiver_jax.errors import ConfigError

NONE = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


class Draws:
    """In place of a generator: draws what it was told."""

    def __init__(self, *values: float):
        self.values = np.array(values)

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        """Returns the values that it was given."""
        assert (low, high, size) == (-1, 1, 4)
        return self.values


def _changed(pixels: list, draws: tuple[float, ...], **sizes: float) -> np.ndarray:
    frames = np.array(pixels, np.uint8)[None, None]
    return ColourChanges(**{**NONE, **sizes})(frames, Draws(*draws))[0, 0]


def test_colours_by_hand() -> None:
    red, grey = [200, 100, 100], [100, 100, 100]  # Luminances 129.9 and 100.
    found = _changed([red, grey], (1, 0, 0, 0), brightness=0.2)
    np.testing.assert_allclose(found, [[251, 151, 151], [151, 151, 151]], atol=1e-3)
    # Around the clip's mean grey, 114.95: half as far.
    found = _changed([red, grey], (0, -1, 0, 0), contrast=0.5)
    np.testing.assert_allclose(found, [[157.475, 107.475, 107.475], [107.475] * 3], atol=1e-3)
    # Around each pixel's own grey.
    found = _changed([red, grey], (0, 0, -1, 0), saturation=0.5)
    np.testing.assert_allclose(found, [[164.95, 114.95, 114.95], grey], atol=1e-3)
    assert _changed([red], (0, 0, -1, 0), saturation=1.0)[0] == pytest.approx([129.9] * 3, abs=1e-3)
    # Half a circle of hue: the complement, at the same luminance.
    found = _changed([red, grey], (0, 0, 0, 1), hue=0.5)
    np.testing.assert_allclose(found, [[59.8, 159.8, 159.8], grey], atol=0.01)
    # In order: brightness moves the grey that contrast is around.
    found = _changed([red, grey], (1, 1, 0, 0), brightness=0.2, contrast=0.5)
    mean = 114.95 + 51
    np.testing.assert_allclose(found[1], mean + 1.5 * (151 - mean), atol=1e-3)
    np.testing.assert_allclose(_changed([red, grey], (1, 1, 1, 1)), [red, grey], atol=1e-3)


def test_one_draw_for_all_frames_of_a_clip() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (40, 56, 3)).astype(np.uint8)
    video, seen = VideoConfig(size=(16, 16)), []
    for seed in range(6):
        # Copies, since one and the same array is changed once.
        clip = video.augmented([frame, frame.copy(), frame.copy()], np.random.default_rng(seed))
        assert clip.shape == (3, 16, 16, 3) and clip.dtype == np.float32
        assert np.abs(clip).max() <= 1
        np.testing.assert_array_equal(clip[0], clip[1])
        np.testing.assert_array_equal(clip[0], clip[2])
        seen.append(clip[0])
    assert len({each.tobytes() for each in seen}) == 6
    again = video.augmented([frame], np.random.default_rng(5))
    np.testing.assert_allclose(again[0], seen[5], atol=1e-4)


def test_crop_and_flip() -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:, :24] = 255  # Bright on the left.
    video = VideoConfig(size=(28, 28), crop=None, colour=None)
    sides = []
    for seed in range(200):
        (clip,) = video.augmented([frame], np.random.default_rng(seed))
        sides.append(clip[:, 0].mean() > clip[:, -1].mean())
    assert 70 < sum(sides) < 130
    # The middle 28 of 32 rows, and as many columns: no resizing.
    (middle,) = video.evaluated([frame])
    np.testing.assert_array_equal(video.pixels(middle), frame[2:30, 10:38])
    cropped = VideoConfig(size=(8, 8), crop=RandomCrop(area=(0.1, 0.2)), flip=False, colour=None)
    means = [cropped.augmented([frame], np.random.default_rng(seed)).mean() for seed in range(50)]
    assert min(means) == -1 and max(means) == 1  # All of either half.


def test_frames_of_another_size_in_between() -> None:
    frame = np.full((32, 48, 3), 60, np.uint8)
    larger = np.full((64, 96, 3), 60, np.uint8)
    clip = VideoConfig(size=(16, 16)).augmented([frame, larger], np.random.default_rng(1))
    np.testing.assert_allclose(clip[0], clip[1], atol=1e-6)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.video.colour.hue=0.7 must lie in \[0, 0.5\]"):
        ColourChanges(hue=0.7)
    with pytest.raises(ConfigError, match="data.video.eval_crop=0"):
        VideoConfig(eval_crop=0)
    with pytest.raises(ConfigError, match="data.video.size=.* must be a height and a width"):
        VideoConfig(size=(0, 4))
