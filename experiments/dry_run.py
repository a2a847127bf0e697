"""The papers' models on random data, at the batch and with the optimiser of their recipes.

    python -m perceiver_jax.train --config=experiments/dry_run.py:io_fourier --workdir=DIR \\
        --config.trainer.num_epochs=none --config.trainer.num_steps=100

For throughput, memory and shardings without any data set: shapes, number of examples, batch, length
and optimiser are those of the real run; labels are random, so there is nothing to learn.

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
from pathlib import Path

from perceiver_jax import zoo
from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.synthetic import SyntheticConfig
from perceiver_jax.train.config import ExperimentConfig

IMAGENET = Path(__file__).with_name("imagenet.py")
MODELNET40 = Path(__file__).with_name("modelnet40.py")
AUDIOSET = Path(__file__).with_name("audioset.py")
TEST_EXAMPLES = 1024  # Enough to try an evaluation; no paper's.


def as_it_stands(
    name: str,
    experiment: str,
    *,
    input_key: str,
    num_classes: int,
    num_examples: int,
    multi_label: bool = False,
) -> ExperimentConfig:
    """A variant of another file, as it stands there, on random data.

    Args:
      name: for the run.
      experiment: the file and the variant.
      input_key: under which its task looks for the inputs.
      num_classes: of the labels.
      num_examples: how many there are to train on.
      multi_label: whether an example has several of them.
    """
    config = load_experiment(experiment)
    (inputs,) = zoo.build(config.model).example_inputs()
    data = SyntheticConfig.for_inputs(
        inputs,
        name=input_key,
        num_classes=num_classes,
        multi_label=multi_label,
        num_examples=num_examples,
        num_test_examples=TEST_EXAMPLES,
    )
    return override(config, {"name": f"dry_run_{name}", "data": data, "paper": None})


def imagenet(name: str, variant: str) -> ExperimentConfig:
    """A variant of experiments/imagenet.py: 1,281,167 images of 1,000 classes."""
    return as_it_stands(
        name,
        f"{IMAGENET}:{variant}",
        input_key="image",
        num_classes=1000,
        num_examples=1_281_167,
    )


def modelnet40() -> ExperimentConfig:
    """`perceiver` of experiments/modelnet40.py: 9,843 clouds of 40 classes."""
    return as_it_stands(
        "modelnet40",
        f"{MODELNET40}:perceiver",
        input_key="points",
        num_classes=40,
        num_examples=9843,
    )


def audioset(name: str, variant: str) -> ExperimentConfig:
    """A variant of experiments/audioset.py: 1.7 million clips, any of 527 labels.

    An example to evaluate is a single clip as well.
    """
    config = as_it_stands(
        f"audioset_{name}",
        f"{AUDIOSET}:{variant}",
        input_key="inputs",
        num_classes=527,
        num_examples=1_700_000,
        multi_label=True,
    )
    return override(config, {"task.clips": None})


VARIANTS = {
    "perceiver_imagenet": partial(imagenet, "perceiver_imagenet", "perceiver"),
    "io_fourier": partial(imagenet, "io_fourier", "io_fourier"),
    "io_learned": partial(imagenet, "io_learned", "io_learned"),
    "io_conv": partial(imagenet, "io_conv", "io_conv"),
    "modelnet40": modelnet40,
    "audioset_raw": partial(audioset, "raw", "audio_raw"),
    "audioset_mel": partial(audioset, "mel", "audio_mel"),
    "audioset_video": partial(audioset, "video", "video"),
    "audioset_raw_video": partial(audioset, "raw_video", "audio_video_raw"),
    "audioset_mel_video": partial(audioset, "mel_video", "audio_video_mel"),
}
