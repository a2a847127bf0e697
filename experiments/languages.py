"""Five languages by ear: AudioSet's experiment in miniature, on real speech.

    python -m perceiver_jax.train --config=experiments/languages.py:audio_mel --workdir=DIR

2,745 prompts of the telephone exchange Asterisk, in English, Spanish, French, Italian and Russian:
2,085 (93 minutes) to train on and 660 (32 minutes) to test on. What is said in a test prompt is
trained on in no language. Half of the prompts are shorter than 1.4 s, which is about a clip. Debian
packages ship them; whose work they are is in perceiver_jax/data/audioset/asterisk.py:

    apt-get download asterisk-core-sounds-{en,es,fr,it,ru}-wav
    for file in asterisk-core-sounds-*.deb; do dpkg -x $file asterisk; done
    python -m perceiver_jax.data.audioset.asterisk \\
        --source=asterisk/usr/share/asterisk/sounds --out=data/languages_clips
    python -m perceiver_jax.data.audioset.prepare --clips=data/languages_clips/clips \\
        --segments=data/languages_clips/train.csv --eval_segments=data/languages_clips/eval.csv \\
        --classes=data/languages_clips/class_labels_indices.csv --store=none --name=languages \\
        --data_dir=data

The code is AudioSet's: the variants are those of experiments/audioset.py with other values, each
named below. As there: clips of 1.28 s, raw or as a mel spectrogram with SpecAugment, the mean of
the probabilities of 16 clips in evaluation, sigmoid cross-entropy, LAMB. What differs: the model is
small and reads the sound once; the prompts were recorded with 8,000 samples a second, so there is
nothing above 4 kHz, raw sound is as many values, read in patches of 8 ms, and a spectrogram is read
in patches of 4 x 4; clips are moved and made louder or quieter, since each prompt is seen many
times. In evaluation too a short prompt lies at several places, one for each of its clips.

One voice speaks each language, and English and Spanish are the same speaker's: what is learned is
to tell these voices by any sound that they make, and those two by language.

How these values were chosen, and what of the test prompts was seen before, is in docs/reproduce.md.
There is a part of the training prompts to choose others on, in all languages:

    python -m perceiver_jax.data.audioset.prepare --clips=data/languages_clips/clips \\
        --segments=data/languages_clips/fit.csv --eval_segments=data/languages_clips/valid.csv \\
        --classes=data/languages_clips/class_labels_indices.csv --store=none --name=valid \\
        --data_dir=data
    python -m benchmarks.language_table --set=valid --seeds=0 --workdir=runs/language_valid

Variants:
  audio_mel   a mel spectrogram
  audio_raw   raw samples

`python -m benchmarks.language_table` trains both with three seeds, beside a random forest.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.sound_changes import SoundChanges
from perceiver_jax.train.config import ConstantCosine, ExperimentConfig

AUDIOSET = Path(__file__).with_name("audioset.py")
CLASSES = 5

# What is other than on AudioSet.
CHANGES: Mapping[str, Any] = {
    "paper": None,
    "data.recordings": RecordingsConfig(name="languages", data_dir="data"),
    "data.sound_changes": SoundChanges(),
    "model.encoder.num_latents": 32,
    "model.encoder.latent_channels": 64,
    "model.encoder.self_attends_per_block": 2,
    "model.encoder.num_cross_attends": 1,
    "model.encoder.cross_attend_heads": 8,
    "model.encoder.self_attend_heads": 4,
    "model.encoder.qk_channels": 64,  # Not those of an input, for the heads.
    "model.encoder.v_channels": 64,
    "model.decoder.num_classes": CLASSES,
    "task.num_classes": CLASSES,
    "schedule": ConstantCosine(base_lr=5e-3),  # Constant for half of the steps.
    "trainer.num_epochs": None,
    "trainer.batch_size": 32,
    "trainer.ema_decay": 0.99,
    "trainer.log_every": 50,
    "trainer.eval_every": 500,
    "trainer.checkpoint_every": 500,
}
MEL: Mapping[str, Any] = {
    "data.audio.num_bands": 40,
    "data.audio.highest": 4_000.0,  # There is nothing above.
    "model.preprocessor.shape": (60, 40),
    "model.preprocessor.prep": "patches",  # 150 inputs of 4 x 4 values.
    "model.preprocessor.spatial_downsample": 4,
    "model.preprocessor.position.num_bands": 6,
    "model.preprocessor.position.max_resolution": (15, 10),
    "trainer.num_steps": 4000,
}
RAW: Mapping[str, Any] = {
    "data.audio.mean_of": 6,  # 8,000 values a second, as recorded.
    "data.audio.stddev": 0.1,
    "model.preprocessor.num_samples": 10_240,
    "model.preprocessor.samples_per_patch": 64,  # 160 inputs of 8 ms.
    # Few, since inputs are normalised, and sound is soft beside positions.
    "model.preprocessor.position.num_bands": 2,
    "model.preprocessor.position.max_resolution": (160,),
    "trainer.num_steps": 5000,
}


def languages(variant: str, changes: Mapping[str, Any]) -> ExperimentConfig:
    """A variant of experiments/audioset.py in small."""
    base = load_experiment(f"{AUDIOSET}:{variant}")
    return override(base, {**CHANGES, **changes, "name": f"languages_{variant}"})


VARIANTS: dict[str, Callable[[], ExperimentConfig]] = {
    "audio_mel": partial(languages, "audio_mel", MEL),
    "audio_raw": partial(languages, "audio_raw", RAW),
}
