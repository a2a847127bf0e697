"""stub"""

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
CLIPS = 4  # Of a prompt, in evaluation; most are shorter than one.

# What is other than on AudioSet.
CHANGES: Mapping[str, Any] = {
    "paper": None,
    "data.recordings": RecordingsConfig(name="languages", data_dir="data"),
    "data.eval_clips": CLIPS,
    "data.sound_changes": SoundChanges(),
    "model.encoder.num_latents": 32,
    "model.encoder.latent_channels": 96,
    "model.encoder.self_attends_per_block": 2,
    "model.encoder.cross_attend_heads": 4,
    "model.encoder.self_attend_heads": 4,
    "model.encoder.qk_channels": 96,  # Wider than an input, for the heads.
    "model.encoder.v_channels": 96,
    "model.decoder.num_classes": CLASSES,
    "task.num_classes": CLASSES,
    "task.clips": CLIPS,
    "schedule": ConstantCosine(base_lr=4e-3),
    "trainer.num_epochs": None,
    "trainer.num_steps": 2000,
    "trainer.batch_size": 64,
    "trainer.eval_batch_size": 64,
    "trainer.ema_decay": 0.99,
    "trainer.log_every": 50,
    "trainer.eval_every": 500,
    "trainer.checkpoint_every": 500,
}
MEL: Mapping[str, Any] = {
    "data.audio.num_bands": 40,
    "data.audio.highest": 4_000.0,  # The prompts are of 8,000 samples a second.
    "model.preprocessor.shape": (60, 40),
    "model.preprocessor.prep": "patches",
    "model.preprocessor.spatial_downsample": 4,
    "model.preprocessor.position.num_bands": 6,
    "model.preprocessor.position.max_resolution": (15, 10),
}
RAW: Mapping[str, Any] = {
    "model.preprocessor.samples_per_patch": 512,
    "model.preprocessor.position.num_bands": 8,
    "model.preprocessor.position.max_resolution": (120,),
}


def languages(variant: str, changes: Mapping[str, Any]) -> ExperimentConfig:
    """A variant of experiments/audioset.py in small."""
    base = load_experiment(f"{AUDIOSET}:{variant}")
    return override(base, {**CHANGES, **changes, "name": f"languages_{variant}"})


VARIANTS: dict[str, Callable[[], ExperimentConfig]] = {
    "audio_mel": partial(languages, "audio_mel", MEL),
    "audio_raw": partial(languages, "audio_raw", RAW),
}
