"""AudioSet as in both papers: sound, raw or as a mel spectrogram, video, and both together.

    python -m perceiver_jax.data.audioset.prepare --clips=FOLDER --data_dir=DATA \\
        --segments=balanced_train_segments.csv,unbalanced_train_segments.csv \\
        --eval_segments=eval_segments.csv --classes=class_labels_indices.csv
    python -m perceiver_jax.train --config=experiments/audioset.py:audio_video_mel --workdir=DIR \\
        --config.data.recordings.data_dir=DATA
    python -m perceiver_jax.evaluate --workdir=DIR
    python -m perceiver_jax.report --paper_table=audioset --workdirs=DIR,DIR

The data are recordings of 10 s with any of 527 labels: 1.7 million to train on, the balanced and
unbalanced lists together, and the evaluation list of 20,371 to test on (docs/data.md). Nobody has
all of them, and fewer each year: every result has the number of its recordings, and a hash of their
ids. Any set in that layout does as well, of any number of classes:

    --config.data.recordings.name=NAME --config.task.num_classes=12 \\
        --config.model.decoder.num_classes=12

Numbers are mAP in per cent, the mean of the classes' average precisions on the evaluation list.
None of the full-size variants has been trained with this package; `perceiver_jax.report` says of
each what was run. Training takes a clip of 1.28 s from a random place of a recording; evaluation
averages the probabilities of 16 clips that overlap and cover the 10 s.

Perceiver (Jaegle et al., ICML 2021), Table 3
  audio_raw             38.3   480 vectors of 128 samples (the text says 38.4)
  audio_mel             38.4   a mel spectrogram of 4,800 values
  video                 25.8   32 frames of 224 x 224 in patches of 2 x 8 x 8
  audio_video_raw       43.5   both
  audio_video_mel       43.2
  tuned                 44.2   without SpecAugment, the spectrogram left out as well, of one in ten

Perceiver IO (Jaegle et al., ICLR 2022), Table 10; sound and video
  io_perceiver_raw      42.4   the mean of the latents in place of the decoder
  io_raw                43.3
  io_perceiver_mel      43.6
  io_mel                44.9   latents of 1,024 channels, the others of 512

The other rows of Table 3 are quoted from elsewhere.

Small
  small_...             each of the ten, on real recordings that packages ship: minutes on a CPU
  smoke                 small_audio_video_mel

What the papers do not say is most of the recipe. "Open" marks it, and what stands here instead. It
is ours, has been trained nowhere, and is where to begin a search:

    for lr in 2.5e-4 5e-4 1e-3; do for decay in 0.01 0.1; do
        python -m perceiver_jax.train --config=experiments/audioset.py:audio_mel \\
            --config.schedule.base_lr=$lr --config.optimizer.weight_decay=$decay \\
            --config.data.recordings.hold_out=20000 --config.trainer.eval_split=valid \\
            --config.trainer.num_epochs=10 --workdir=runs/sweep_lr${lr}_decay$decay
    done; done
    python -m perceiver_jax.report --workdirs=$(ls -d runs/sweep_* | paste -sd,) --out=sweep.html

Then, at the best of these, the batch, the spectrogram and SpecAugment. 40 bands are 4,800 values
too:

    --config.data.audio.num_bands=40 --config.data.audio.hop=512 \\
        --config.model.preprocessor.shape=120,40 \\
        --config.model.preprocessor.position.max_resolution=120,40
    --config.data.spec_augment.longest=0.1 --config.data.spec_augment.widest=0.1

All is judged on 20,000 training recordings that are held out, never on the evaluation list. Sound
alone is the cheapest to search on.

Hardware: not stated. On few devices: --config.trainer.accumulate, remat=layers,
precision=bfloat16; the batch stays. Reading video takes all cores of the hosts:
--config.trainer.reader_processes, as many as there are. A recording that is evaluated is 308 MB of
frames: lower --config.trainer.eval_batch_size or prefetch_batches where the memory of a host does
not hold its part of the batch several times.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from perceiver_jax import zoo
from perceiver_jax.config import override
from perceiver_jax.data.audioset.audioset import RecordingsConfig
from perceiver_jax.data.audioset.config import AudiosetConfig, RawAudio
from perceiver_jax.data.audioset.mel import MelSpectrogram
from perceiver_jax.data.audioset.spec_augment import SpecAugment
from perceiver_jax.data.audioset.video import VideoConfig
from perceiver_jax.tasks import MultilabelConfig
from perceiver_jax.train.config import ConstantCosine, ExperimentConfig, Lamb, TrainerConfig
from perceiver_jax.train.paper import PaperResult

CLASSES = 527

# What the papers say, by field; the report shows where a run differs.
_RECIPE = {
    "task": "MultilabelConfig",  # Sigmoid cross-entropy.
    "task.num_classes": CLASSES,
    "task.clips": 16,
    "data.recordings.name": "audioset",
    "data.recordings.hold_out": 0,  # All training recordings.
    "data.num_frames": 32,
    "data.eval_clips": 16,
    "data.sound_changes": None,  # Clips start with a frame, and sound is not changed otherwise.
    "trainer.num_epochs": 100,
}
# Of each stream; "*" stands for its part of the model.
_RAW_RECIPE = {
    "data.audio": "RawAudio",
    "data.audio.mean_of": 1,  # Samples as they are.
    "data.audio.stddev": 1.0,
    "data.spec_augment": None,
    "*.num_samples": 61_440,
    "*.samples_per_patch": 128,
}
_MEL_RECIPE = {"data.audio": "MelSpectrogram", "data.spec_augment": "SpecAugment"}
_VIDEO_RECIPE = {
    "data.video": "VideoConfig",
    "data.video.size": (224, 224),
    "data.video.crop": "RandomCrop",
    "data.video.flip": True,
    "data.video.colour": "ColourChanges",
    "*.prep": "patches",  # Of 2 x 8 x 8.
    "*.temporal_downsample": 2,
    "*.spatial_downsample": 8,
}
_BOTH_RECIPE = {
    "data.drop_video": 0.3,
    "data.drop_audio": 0.0,
    "model.preprocessor.min_padding_size": 4,  # Modality encodings.
}
# Sec. 4.2; of the latents' size it says "a faster version of the ImageNet model" alone.
_PERCEIVER_RECIPE = {
    "model.encoder.num_cross_attends": 2,
    "model.encoder.self_attends_per_block": 8,
    "model.encoder.cross_attend_sharing": "none",
    "model.encoder.share_towers": False,
}


def experiment(
    name: str,
    model: str,
    row: str,
    percent: float,
    *,
    source: str,
    sound: str | None,
    video: bool,
    recipe: dict[str, Any],
) -> ExperimentConfig:
    """What all variants share: clips, how they are augmented, and the training.

    Perceiver, Sec. 4.2: 100 epochs; sigmoid cross-entropy; a random clip of 32 frames and the sound
    that is heard with it; 16 clips in evaluation. Frames: colour augmentation, Inception's crop and
    flip. Spectrograms: SpecAugment. Of both streams, video is left out of three in ten examples.
    Perceiver IO, App. C: the same.

    Open: the optimiser, rate, batch, weight decay and clipping. LAMB, as both papers on ImageNet,
    with 0.1 and 10, as Perceiver IO there; so too the rate, 5e-4 for each 256 examples of a batch,
    constant for half of the steps, then a cosine to 0. A batch of 512: at the 3.8 steps a second of
    Table 10, 100 epochs are a day. No balancing of classes. See `AudiosetConfig`, `VideoConfig`,
    `ColourChanges`, `SpecAugment` and `MelSpectrogram` for what is open of the data, and
    `MultilabelConfig` of the loss.

    Args:
      name: of the variant.
      model: its name in the zoo.
      row: the row of the table.
      percent: the paper's mAP.
      source: the paper and its table.
      sound: "raw", "mel", or None for video alone.
      video: whether there is video.
      recipe: what the paper says of the model, by field.
    """
    audio = {"raw": RawAudio(), "mel": MelSpectrogram(), None: None}[sound]
    both = video and audio is not None
    return ExperimentConfig(
        name=f"audioset_{name}",
        model=zoo.get_config(model),
        task=MultilabelConfig(num_classes=CLASSES, clips=16),
        data=AudiosetConfig(
            audio=audio,
            video=VideoConfig() if video else None,
            spec_augment=SpecAugment() if sound == "mel" else None,
            drop_video=0.3 if both else 0.0,
        ),
        optimizer=Lamb(weight_decay=0.1, max_norm=10.0),
        schedule=ConstantCosine(base_lr=5e-4, scale_by_batch=True, constant_fraction=0.5),
        trainer=TrainerConfig(
            num_epochs=100,
            batch_size=512,
            eval_batch_size=64,
            log_every=100,
            eval_every=10_000,
            checkpoint_every=1000,
        ),
        paper=PaperResult(
            row=row,
            source=source,
            metric="mean_average_precision",
            value=percent / 100,
            recipe={**_RECIPE, **_streams_recipe(sound, video=video), **recipe},
        ),
    )


def _streams_recipe(sound: str | None, *, video: bool) -> dict[str, Any]:
    """What the papers say of what is heard and seen, by field."""
    both = video and sound is not None
    found: dict[str, Any] = dict(_BOTH_RECIPE) if both else {}
    of_sound: dict[str | None, dict[str, Any]] = {"raw": _RAW_RECIPE, "mel": _MEL_RECIPE}
    for name, recipe in (
        ("audio", of_sound.get(sound, {"data.audio": None})),
        ("video", _VIDEO_RECIPE if video else {"data.video": None}),
    ):
        where = f"model.preprocessor.modalities.{name}" if both else "model.preprocessor"
        found |= {path.replace("*", where): value for path, value in recipe.items()}
    return found


def perceiver(
    name: str, model: str, row: str, percent: float, sound: str | None, *, video: bool
) -> ExperimentConfig:
    """A row of Perceiver's Table 3.

        python -m perceiver_jax.train --config=experiments/audioset.py:audio_raw --workdir=DIR

    mAP 38.3 (raw sound), 38.4 (mel), 25.8 (video), 43.5 and 43.2 (both). Open: see `experiment`;
    the size of the latents, 512 x 1,024 as for ImageNet, which makes 107 to 109 million parameters,
    since weights are not shared; Fourier bands, see `perceiver_jax.zoo.icml`.
    """
    return experiment(
        name,
        f"perceiver_audioset_{model}",
        row,
        percent,
        source="Perceiver, Table 3",
        sound=sound,
        video=video,
        recipe=_PERCEIVER_RECIPE,
    )


def tuned() -> ExperimentConfig:
    """Perceiver on mel spectrogram and video, tuned: mAP 44.2 (Table 3).

        python -m perceiver_jax.train --config=experiments/audioset.py:tuned --workdir=DIR

    `audio_video_mel` without SpecAugment, and with the spectrogram left out of one example in ten.
    Open: as there; whether both may be left out of one, here yes.
    """
    base = perceiver("tuned", "audio_video_mel", "Perceiver (mel, tuned), A+V", 44.2, "mel",
                     video=True)  # fmt: skip
    assert base.paper is not None
    changes = {"data.spec_augment": None, "data.drop_audio": 0.1}
    paper = dataclasses.replace(base.paper, recipe={**base.paper.recipe, **changes})
    return override(base, {**changes, "paper": paper})


def io(
    name: str, row: str, percent: float, sound: str, channels: int, *, query: bool
) -> ExperimentConfig:
    """A row of Perceiver IO's Table 10: sound and video.

        python -m perceiver_jax.train --config=experiments/audioset.py:io_mel --workdir=DIR

    mAP 43.3 (raw) and 44.9 (mel), and 42.4 and 43.6 with the mean of the latents in place of the
    decoder's query. One cross-attend, 12 self-attends, 512 latents of 512 channels, or of 1,024 for
    44.9: the better of both. 20.97, 24.92 and 86.6 million parameters, where 21.0, 25.0 and 88.2
    are printed. Open: see `experiment`.
    """
    kind = "io" if query else "perceiver"
    return experiment(
        name,
        f"perceiver_io_table10_{kind}_{sound}",
        row,
        percent,
        source="Perceiver IO, Table 10",
        sound=sound,
        video=True,
        recipe={
            "model.encoder.num_latents": 512,
            "model.encoder.latent_channels": channels,
            "model.encoder.num_cross_attends": 1,
            "model.encoder.self_attends_per_block": 12,
        },
    )


def small(name: str) -> ExperimentConfig:
    """A variant in small, on a medley of what packages ship: shows that all parts work together.

        python -m perceiver_jax.train --config=experiments/audioset.py:small_io_raw --workdir=DIR

    docs/reproduce.md says how the data is made, and what was found. What differs from the variant
    is where the recordings lie, and sizes: 8 frames of 32 x 32, raw sound of as long or a
    spectrogram of 15 x 20, 3 clips, 4 and 2 bands, 16 latents of 32 channels with 2 self-attends of
    4 heads in a block, 11 classes, 600 steps of batches of 16 at a rate of 1e-2, how often what is
    written. On other recordings: `--config.data.recordings.name`, and the number of their classes
    as above.

    Args:
      name: of the variant.
    """
    base = VARIANTS[name]()
    assert isinstance(base.data, AudiosetConfig)
    sound, video = base.data.audio, base.data.video is not None
    streams: dict[str, dict[str, Any]] = {}
    if isinstance(sound, MelSpectrogram):
        streams["audio"] = {"shape": (15, 20), "position.max_resolution": (15, 20)}
    elif sound is not None:
        streams["audio"] = {"num_samples": 8 * 1920, "position.max_resolution": (120,)}
    if video:
        streams["video"] = {"shape": (8, 32, 32), "position.max_resolution": (4, 4, 4)}
    changes = {**_SMALL, "name": f"audioset_small_{name}"}
    for stream, fields in streams.items():
        reader = "model.preprocessor"
        if len(streams) == 2:
            reader += f".modalities.{stream}"
        changes |= {f"{reader}.{field}": value for field, value in fields.items()}
        changes[f"{reader}.position.num_bands"] = {"audio": 4, "video": 2}[stream]
    if video:
        changes["data.video.size"] = (32, 32)
    if isinstance(sound, MelSpectrogram):
        changes["data.audio.num_bands"] = 20
    if hasattr(base.model.decoder, "query_channels"):
        changes["model.decoder.query_channels"] = 32
    return override(base, changes)


# What `small` changes of all variants.
_SMALL: dict[str, Any] = {
    "paper": None,
    "data.recordings": RecordingsConfig(name="medley", data_dir="data"),
    "data.num_frames": 8,
    "data.eval_clips": 3,
    "model.encoder.num_latents": 16,
    "model.encoder.latent_channels": 32,
    "model.encoder.self_attends_per_block": 2,
    "model.encoder.self_attend_heads": 4,
    "model.decoder.num_classes": 11,
    "task.num_classes": 11,
    "task.clips": 3,
    "schedule.base_lr": 1e-2,
    "schedule.scale_by_batch": False,
    "trainer.num_epochs": None,
    "trainer.num_steps": 600,
    "trainer.batch_size": 16,
    "trainer.eval_batch_size": 16,
    "trainer.log_every": 20,
    "trainer.eval_every": 200,
    "trainer.checkpoint_every": 200,
}


VARIANTS: dict[str, Callable[[], ExperimentConfig]] = {
    "audio_video_mel": partial(
        perceiver, "audio_video_mel", "audio_video_mel", "Perceiver (mel), A+V", 43.2, "mel",
        video=True,
    ),
    "audio_video_raw": partial(
        perceiver, "audio_video_raw", "audio_video_raw", "Perceiver (raw audio), A+V", 43.5, "raw",
        video=True,
    ),
    "tuned": tuned,
    "audio_raw": partial(
        perceiver, "audio_raw", "raw", "Perceiver (raw audio), audio", 38.3, "raw", video=False
    ),
    "audio_mel": partial(
        perceiver, "audio_mel", "mel", "Perceiver (mel), audio", 38.4, "mel", video=False
    ),
    "video": partial(perceiver, "video", "video", "Perceiver, video", 25.8, None, video=True),
    "io_perceiver_raw": partial(
        io, "io_perceiver_raw", "Perceiver, raw audio + video", 42.4, "raw", 512, query=False
    ),
    "io_raw": partial(
        io, "io_raw", "Perceiver IO, raw audio + video", 43.3, "raw", 512, query=True
    ),
    "io_perceiver_mel": partial(
        io, "io_perceiver_mel", "Perceiver, mel + video", 43.6, "mel", 512, query=False
    ),
    "io_mel": partial(io, "io_mel", "Perceiver IO, mel + video", 44.9, "mel", 1024, query=True),
}  # fmt: skip
VARIANTS |= {f"small_{name}": partial(small, name) for name in VARIANTS}
VARIANTS["smoke"] = partial(small, "audio_video_mel")
