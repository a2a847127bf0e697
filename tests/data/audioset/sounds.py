"""What the golden spectrograms are of; NumPy alone, since librosa's environment has no more."""

import numpy as np

RATE = 48_000
# Name: samples, hop, window, bands, lowest and highest frequency.
CASES = {
    "audioset": (61_440, 1024, 2048, 80, 50.0, 16_000.0),
    "odd": (5_760, 960, 1200, 20, 0.0, 24_000.0),
}


def sound(size: int) -> np.ndarray:  # [size] in [-1, 1]
    """A rising tone with overtones, a click, and silence at the end."""
    at = np.arange(size) / RATE
    tone = sum(np.sin(2 * np.pi * k * (200 * at + 900 * at**2)) / k for k in (1, 2, 5, 11))
    samples = 0.3 * tone
    samples[size // 3] = 1.0
    samples[size * 9 // 10 :] = 0
    return samples
