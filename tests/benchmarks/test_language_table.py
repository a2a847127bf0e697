"""The table of languages: its parts, on sounds made here."""

import numpy as np
import pytest

from benchmarks import language_table
from benchmarks.language_table import Row, Sounds

RATE = 48_000


def tone(hertz: float, seconds: float) -> np.ndarray:
    at = np.arange(int(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * hertz * at)).astype(np.int16)


def test_features_are_of_what_is_heard() -> None:
    """A tone is loudest in its own band; silence around it, and being soft, change little."""
    found = language_table.features(tone(1000, 0.5))
    assert found.shape == (160,) and np.isfinite(found).all()
    filters = language_table.MEL
    power = filters.power(tone(1000, 0.5)[: 480 * 40] / 2**15).mean(axis=0)
    assert found[:40].argmax() == power.argmax()
    assert found[:40].argmax() < language_table.features(tone(2000, 0.5))[:40].argmax()
    # Deviations: a steady tone has none in its band, two in turn have.
    steady, both = (
        found[80:],
        language_table.features(np.concatenate([tone(1000, 0.5), tone(2000, 0.5)]))[80:],
    )
    band = int(found[:40].argmax())
    assert both[band] > 0.5 > 5 * steady[band]
    silent = language_table.features(np.pad(tone(1000, 0.5), (RATE, RATE)))
    np.testing.assert_allclose(silent[band], found[band], atol=0.1)
    for short in (np.zeros(0, np.int16), tone(500, 0.001)):
        assert np.isfinite(language_table.features(short)).all()


def test_the_forest_hears_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_table, "NUM_TREES", 30)
    rng = np.random.default_rng(0)

    def sounds(count: int) -> Sounds:
        labels = np.arange(count) % 3
        pitches = 300 * (labels + 1) * rng.uniform(0.9, 1.1, count)
        return Sounds(np.stack([language_table.features(tone(each, 0.1)) for each in pitches]),
                      labels)  # fmt: skip

    row = language_table.forest(sounds(30), sounds(12), [0, 1])
    assert row == Row(None, (1.0, 1.0), (1.0, 1.0))


def test_the_table() -> None:
    rows = {
        "random forest": Row(None, (0.9, 0.92), (0.8, 0.84)),
        "`audio_mel`": Row(12345, (0.96, 0.97), (0.9, 0.94)),
    }
    assert language_table.render(rows, 2).splitlines() == [
        "| model | parameters | mAP, mean of 2 | from – to | accuracy, mean of 2 | from – to |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| random forest | – | 91.0% | 90.0% – 92.0% | 82.0% | 80.0% – 84.0% |",
        "| `audio_mel` | 12,345 | 96.5% | 96.0% – 97.0% | 92.0% | 90.0% – 94.0% |",
    ]
    one = Sounds(np.zeros((1004, 1)), np.zeros(1004, int))
    other = Sounds(np.zeros((5, 1)), np.array([1, 1, 0, 1, 0]))
    assert language_table.describe(one, other, ["English", "French"]) == (
        "1,004 prompts to train on, 5 to test on, of which nothing was trained on in any language; "
        "2 languages. One prompt is 20.00%. Always 'French': 60.0%."
    )
