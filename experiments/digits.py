"""Handwritten digits from pixels: a Perceiver on a laptop, trained on real images in minutes.

    python -m perceiver_jax.train --config=experiments/digits.py[:variant] --workdir=DIR

The 1,797 images of 8 x 8 pixels that scikit-learn ships; a fixed, stratified fifth is held out.
Every pixel is one input and no convolution is used, as in the papers' ImageNet models, whose recipe
this is in miniature: LAMB, a constant learning rate for half of the steps and then a cosine, weight
decay 0.1, label smoothing 0.1 (Perceiver IO, App. A). What differs from it: sizes, heads in the
cross-attends, the learning rate, and shifts by up to one pixel as the only augmentation.

Variants:
  fourier        Perceiver IO with Fourier features of the pixels' positions
  learned        Perceiver IO with learned positions, which know nothing of the 2D grid
  permuted       as fourier, the inputs shuffled by one fixed permutation after their positions are
                 attached: the papers' Table 2 in miniature
  perceiver      the ICML form: cross-attends repeated with shared weights, mean of the latents
  conv           a small convolutional network, for comparison
  conv_permuted  the same on shuffled pixels

`python -m benchmarks.digits_table` trains all of them with three seeds each.
"""

import dataclasses

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.tasks.classification import ClassificationConfig
from perceiver_jax.train.config import (
    Adam,
    ConstantCosine,
    ExperimentConfig,
    Lamb,
    TrainerConfig,
)
from perceiver_jax.zoo import (
    ClassificationDecoderConfig,
    ConvNetConfig,
    EncoderConfig,
    FourierConfig,
    ImageConfig,
    LearnedConfig,
    ModelConfig,
    PerceiverConfig,
    ProjectionDecoderConfig,
)

PERMUTATION_SEED = 0  # The one permutation of all shuffled variants.

PIXELS = ImageConfig(
    shape=(8, 8), channels=1, position=FourierConfig(num_bands=4, max_resolution=(8, 8))
)
ENCODER = EncoderConfig(
    num_latents=16,
    latent_channels=64,
    num_blocks=2,
    self_attends_per_block=1,
    cross_attend_heads=4,
    self_attend_heads=4,
    qk_channels=64,  # Wider than the 19 channels of an input, so that each head has 16.
    v_channels=64,
)
CLASS_QUERY = ClassificationDecoderConfig(num_classes=10, query_channels=64, num_heads=4)


def experiment(name: str, model: ModelConfig) -> ExperimentConfig:
    """The recipe that all Perceivers share."""
    return ExperimentConfig(
        name=f"digits_{name}",
        model=model,
        task=ClassificationConfig(num_classes=10, label_smoothing=0.1, top_k=None),
        data=DigitsConfig(max_shift=1),
        optimizer=Lamb(weight_decay=0.1),
        schedule=ConstantCosine(base_lr=3e-3),
        trainer=TrainerConfig(
            num_steps=4000,
            batch_size=32,
            log_every=50,
            eval_every=500,
            checkpoint_every=500,
        ),
    )


def fourier() -> ExperimentConfig:
    """Perceiver IO, Fourier features."""
    return experiment("fourier", PerceiverConfig(PIXELS, ENCODER, CLASS_QUERY))


def learned() -> ExperimentConfig:
    """Perceiver IO, learned positions."""
    # An initial scale of 1.0 suits positions of inputs (Perceiver, App. B).
    pixels = dataclasses.replace(PIXELS, position=LearnedConfig(channels=32, init_scale=1.0))
    return experiment("learned", PerceiverConfig(pixels, ENCODER, CLASS_QUERY))


def permuted() -> ExperimentConfig:
    """Perceiver IO, Fourier features, shuffled inputs."""
    pixels = dataclasses.replace(PIXELS, permutation_seed=PERMUTATION_SEED)
    return experiment("permuted", PerceiverConfig(pixels, ENCODER, CLASS_QUERY))


def perceiver() -> ExperimentConfig:
    """Perceiver: a cross-attend before every tower; all but the first share weights."""
    encoder = dataclasses.replace(ENCODER, num_blocks=3, num_cross_attends=3, width_rule="min")
    model = PerceiverConfig(PIXELS, encoder, ProjectionDecoderConfig(num_classes=10))
    return experiment("perceiver", model)


def _conv(name: str, model: ConvNetConfig) -> ExperimentConfig:
    return dataclasses.replace(
        experiment(name, model),
        optimizer=Adam(weight_decay=1e-4),
        schedule=ConstantCosine(base_lr=2e-3),
    )


def conv() -> ExperimentConfig:
    """A convolutional network."""
    return _conv("conv", ConvNetConfig(shape=(8, 8), num_classes=10))


def conv_permuted() -> ExperimentConfig:
    """A convolutional network on shuffled pixels."""
    model = ConvNetConfig(shape=(8, 8), num_classes=10, permutation_seed=PERMUTATION_SEED)
    return _conv("conv_permuted", model)


VARIANTS = {
    "fourier": fourier,
    "learned": learned,
    "permuted": permuted,
    "perceiver": perceiver,
    "conv": conv,
    "conv_permuted": conv_permuted,
}
