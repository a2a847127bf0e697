"""The papers' models on random data, at the batch and with the optimiser of their recipes.

    python -m perceiver_jax.train --config=experiments/dry_run.py:io_fourier --workdir=DIR \\
        --config.trainer.num_epochs=none --config.trainer.num_steps=100

For throughput, memory and shardings without any data set: shapes, number of examples, batch, length
and optimiser are those of the real run; labels are random, so there is nothing to learn. "Open"
marks what a paper does not say, and what was chosen here.

Variants:
  perceiver_imagenet   Perceiver, ImageNet (Sec. 4.1)
  io_fourier           Perceiver IO, ImageNet, Fourier features of the positions (App. A.1)
  io_learned           the same with learned positions
  io_conv              the same with a convolution and max-pooling before the encoder
  modelnet40           Perceiver, ModelNet40 (Sec. 4.3)
  audioset_raw         Perceiver, AudioSet from raw sound (Sec. 4.2)
  audioset_mel         ... from a mel spectrogram
  audioset_video       ... from video
  audioset_raw_video   ... from raw sound and video
  audioset_mel_video   ... from a mel spectrogram and video
"""

from functools import partial

from perceiver_jax import zoo
from perceiver_jax.data.synthetic import SyntheticConfig
from perceiver_jax.tasks import ClassificationConfig, MultilabelConfig, Task
from perceiver_jax.train.config import (
    Constant,
    ConstantCosine,
    ExperimentConfig,
    Lamb,
    Steps,
    TrainerConfig,
)

# Perceiver IO, App. A.1: LAMB, weight decay 0.1, gradients clipped to a global norm of 10. Open for
# all models of Perceiver, which names LAMB (Secs. 4.1 and 4.3) and none of its settings: the same.
LAMB = Lamb(weight_decay=0.1, max_norm=10.0)
OPEN_BATCH = 1024  # Where a paper gives none: that of Perceiver IO on ImageNet.
TEST_EXAMPLES = 1024  # Enough to try an evaluation; no paper's.


def dry_run(
    name: str,
    model: str,
    *,
    task: Task,
    num_classes: int,
    num_examples: int,
    trainer: TrainerConfig,
    schedule: Constant,
    input_key: str = "inputs",
) -> ExperimentConfig:
    """A model of the zoo on random data of the shapes of its inputs."""
    (inputs,) = zoo.build(model).example_inputs()
    data = SyntheticConfig.for_inputs(
        inputs,
        name=input_key,
        num_classes=num_classes,
        multi_label=isinstance(task, MultilabelConfig),
        num_examples=num_examples,
        num_test_examples=TEST_EXAMPLES,
    )
    return ExperimentConfig(
        name=f"dry_run_{name}",
        model=zoo.get_config(model),
        task=task,
        data=data,
        optimizer=LAMB,
        schedule=schedule,
        trainer=trainer,
    )


def _imagenet(
    name: str, model: str, batch_size: int, num_epochs: float, schedule: Constant
) -> ExperimentConfig:
    # As in the released training code of Perceiver IO. Open for Perceiver: the same.
    task = ClassificationConfig(num_classes=1000, label_smoothing=0.1)
    return dry_run(
        name,
        model,
        task=task,
        num_classes=task.num_classes,
        num_examples=1_281_167,
        schedule=schedule,
        trainer=TrainerConfig(
            num_epochs=num_epochs, batch_size=batch_size, eval_batch_size=batch_size
        ),
        input_key="image",
    )


def perceiver_imagenet() -> ExperimentConfig:
    """Perceiver on ImageNet: 120 epochs, 0.004, a tenth after epochs 84, 102 and 114 (Sec. 4.1).

    Open: the batch.
    """
    schedule = Steps(
        base_lr=4e-3, decay_rate=0.1, decay_boundaries=(84 / 120, 102 / 120, 114 / 120)
    )
    return _imagenet("perceiver_imagenet", "perceiver_imagenet", OPEN_BATCH, 120, schedule)


def io_imagenet(kind: str) -> ExperimentConfig:
    """Perceiver IO on ImageNet: 110 epochs of batches of 1,024 (App. A.1).

    The rate is 2e-3 for 55 epochs and then a cosine to 0, without warm-up; 5e-4 for each 256
    examples of a batch, as the released training code has it.

    Args:
      kind: "fourier", "learned" or "conv".
    """
    schedule = ConstantCosine(base_lr=5e-4, scale_by_batch=True, constant_fraction=0.5)
    return _imagenet(f"io_{kind}", f"imagenet_{kind}", 1024, 110, schedule)


def modelnet40() -> ExperimentConfig:
    """Perceiver on ModelNet40: LAMB at 1e-3, batches of 512, 50,000 steps (Sec. 4.3)."""
    task = ClassificationConfig(num_classes=40, input_key="points")
    return dry_run(
        "modelnet40",
        "perceiver_modelnet40",
        task=task,
        num_classes=task.num_classes,
        num_examples=9843,
        schedule=Constant(base_lr=1e-3),
        trainer=TrainerConfig(num_steps=50_000, batch_size=512, eval_batch_size=512),
        input_key="points",
    )


def audioset(inputs: str, model: str) -> ExperimentConfig:
    """Perceiver on AudioSet: 1.7 million clips, 527 classes, 100 epochs (Sec. 4.2).

    Open: the batch, the optimiser and the learning rate; those of Perceiver IO on ImageNet.

    Args:
      inputs: what the model hears and sees, for the name.
      model: its name in the zoo.
    """
    task = MultilabelConfig(num_classes=527)
    return dry_run(
        f"audioset_{inputs}",
        model,
        task=task,
        num_classes=task.num_classes,
        num_examples=1_700_000,
        schedule=ConstantCosine(base_lr=5e-4, scale_by_batch=True, constant_fraction=0.5),
        trainer=TrainerConfig(num_epochs=100, batch_size=OPEN_BATCH, eval_batch_size=OPEN_BATCH),
    )


VARIANTS = {
    "perceiver_imagenet": perceiver_imagenet,
    "io_fourier": partial(io_imagenet, "fourier"),
    "io_learned": partial(io_imagenet, "learned"),
    "io_conv": partial(io_imagenet, "conv"),
    "modelnet40": modelnet40,
    "audioset_raw": partial(audioset, "raw", "perceiver_audioset_raw"),
    "audioset_mel": partial(audioset, "mel", "perceiver_audioset_mel"),
    "audioset_video": partial(audioset, "video", "perceiver_audioset_video"),
    "audioset_raw_video": partial(audioset, "raw_video", "perceiver_audioset_audio_video_raw"),
    "audioset_mel_video": partial(audioset, "mel_video", "perceiver_audioset_audio_video_mel"),
}
