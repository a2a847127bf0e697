"""Makes the spectrograms that tests/data/audioset/test_mel.py holds ours to, by librosa.

    PYTHONPATH=. python tools/make_mel_golden.py tests/golden/mel_librosa.npz

It needs librosa, which the tests do not: pip install librosa, in an environment of its own.
"""

import pathlib
import sys

import librosa
import numpy as np

from tests.data.audioset.sounds import CASES, RATE, sound


def main(target: pathlib.Path) -> None:
    """Writes the file."""
    arrays = {}
    for name, (size, hop, window, bands, lowest, highest) in CASES.items():
        # Frames around the middles of hops: half a window less half a hop of silence at both ends.
        padded = np.pad(sound(size), (window - hop) // 2)
        power = librosa.feature.melspectrogram(
            y=padded,
            sr=RATE,
            n_fft=window,
            hop_length=hop,
            center=False,
            n_mels=bands,
            fmin=lowest,
            fmax=highest,
        )
        arrays[name] = power.T.astype(np.float32)
    np.savez_compressed(target, version=np.array(librosa.__version__), **arrays)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
