"""Mel spectrograms, held to librosa's; and how they are cut into values and covered."""

import numpy as np
import pytest

from perceiver_jax.data.audioset.mel import MelSpectrogram, filters, from_mel, to_mel
from perceiver_jax.data.audioset.spec_augment import SpecAugment
from perceiver_jax.errors import ConfigError
from tests.data.audioset.sounds import CASES, sound


@pytest.mark.parametrize("name", CASES)
def test_the_power_is_librosas(name: str) -> None:
    size, hop, window, num_bands, lowest, highest = CASES[name]
    mel = MelSpectrogram(
        hop=hop, window=window, num_bands=num_bands, lowest=lowest, highest=highest
    )
    golden = np.load("tests/golden/mel_librosa.npz")[name]
    found = mel.power(sound(size))
    assert found.shape == golden.shape == (size // hop, num_bands)
    assert golden.max() > 1
    np.testing.assert_allclose(found, golden, rtol=1e-5, atol=1e-9)
    if name == "audioset":
        assert mel == MelSpectrogram() and golden.size == 4800


def test_values_are_decibels_from_the_floor_on() -> None:
    mel = MelSpectrogram(floor=-50.0, mean=-10.0, stddev=4.0)
    silence = mel(np.zeros(61_440, np.float32))
    np.testing.assert_allclose(silence, (-50 + 10) / 4)
    assert silence.dtype == np.float32 and silence.shape == (60, 80)
    # A tone ten times as loud has 20 dB more; it is loudest in the band around its frequency.
    tone = np.sin(2 * np.pi * 3000 * np.arange(61_440) / 48_000).astype(np.float32)
    loud, soft = mel(0.5 * tone)[30], mel(0.05 * tone)[30]
    band = int(loud.argmax())
    np.testing.assert_allclose(4 * (loud[band] - soft[band]), 20, atol=1e-4)
    corners = np.linspace(to_mel(50.0), to_mel(16_000.0), 82)
    assert from_mel(corners[band]) < 3000 < from_mel(corners[band + 2])
    noise = 0.1 * np.random.default_rng(0).standard_normal(61_440)
    assert MelSpectrogram()(noise).mean() == pytest.approx(0.7, abs=0.05)
    assert MelSpectrogram()(np.zeros(61_440)).max() == -2


def test_a_hop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="hop=1024 does not divide the 57,600 samples of a clip"):
        MelSpectrogram().num_frames(30 * 1920)
    assert MelSpectrogram(hop=960).num_frames(30 * 1920) == 60
    for changes, message in (
        ({"window": 1000}, "window=1000 must be hop=1024 or longer"),
        ({"lowest": 20_000.0}, "lowest=20000 and highest=16000 must be"),
        ({"highest": 30_000.0}, "from 0 to 24000 Hz"),
        ({"stddev": 0.0}, "stddev=0 must be above 0"),
        ({"num_bands": 0}, "num_bands=0 must be at least 1"),
        ({"num_bands": 400}, "num_bands=400 are too many .*=2048, .* 23.4 Hz apart: none lies bet"),
    ):
        with pytest.raises(ConfigError, match=message):
            MelSpectrogram(**changes)


@pytest.mark.parametrize(("window", "lowest"), [(2048, 50.0), (1024, 0.0), (1200, 20.0)])
def test_as_many_bands_as_hear_something(window: int, lowest: float) -> None:
    """Those that are refused have a filter of nothing, and no others have."""
    accepted = []
    for num_bands in range(60, 420, 7):
        try:
            MelSpectrogram(num_bands=num_bands, window=window, lowest=lowest)
            accepted.append(True)
        except ConfigError:
            accepted.append(False)
        heard = filters(num_bands, window, lowest, 16_000.0).sum(axis=1)
        assert bool((heard > 0).all()) == accepted[-1]
    assert True in accepted and False in accepted


def test_spec_augment_covers_stretches_of_all_widths() -> None:
    spectrogram = np.ones((60, 80), np.float32)
    rows, columns = [], []
    only_time = SpecAugment(num_time_masks=1, num_frequency_masks=0)
    only_bands = SpecAugment(num_time_masks=0, num_frequency_masks=1)
    for seed in range(400):
        covered = only_time(spectrogram, np.random.default_rng(seed)) == 0
        assert (covered.all(axis=1) == covered.any(axis=1)).all()
        rows.append(covered.all(axis=1))
        covered = only_bands(spectrogram, np.random.default_rng(seed)) == 0
        assert (covered.all(axis=0) == covered.any(axis=0)).all()
        columns.append(covered.all(axis=0))
    # Of 60 frames at most 12, of 80 bands at most 16, in one piece; every width as often.
    for masks, most in ((np.array(rows), 12), (np.array(columns), 16)):
        widths = masks.sum(axis=1)
        assert set(widths) == set(range(most + 1))
        assert widths.mean() == pytest.approx(most / 2, abs=0.06 * most)
        starts = np.diff(masks.astype(int), axis=1, prepend=0) == 1
        assert (starts.sum(axis=1) == (widths > 0)).all()
        assert masks[:, 0].any() and masks[:, -1].any()
    assert (spectrogram == 1).all()  # It is the copy that is covered.
    both = SpecAugment()(spectrogram, np.random.default_rng(5)) == 0
    assert both.all(axis=0).any() and both.all(axis=1).any()
    with pytest.raises(ConfigError, match=r"longest=2 must lie in \[0, 1\]"):
        SpecAugment(longest=2)
    with pytest.raises(ConfigError, match="num_time_masks=-1 must not be negative"):
        SpecAugment(num_time_masks=-1)
