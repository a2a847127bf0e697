"""Fine-tuning in miniature: five handwritten digits, ten images each, and what was learned before.

    python -m perceiver_jax.train --config=experiments/digits_transfer.py --workdir=runs/pretrained
    python -m perceiver_jax.train --config=experiments/digits_transfer.py:finetune --workdir=DIR

The model and recipe are those of experiments/digits.py:fourier. But for the first two, all variants
learn the digits 5 to 9 from ten images each, and are tested on all held-out images of these.

Variants:
  pretrain       all ten digits, all training images
  pretrain_half  0 to 4 only, so that 5 to 9 have never been seen
  scratch        5 to 9, from random parameters
  finetune       5 to 9, from runs/pretrained with a new output layer; all of it trains
  slower         as finetune, the encoder with a tenth of the learning rate
  frozen         as finetune, but the encoder does not train

--checkpoint=PATH starts the last three from elsewhere. `python -m benchmarks.digits_transfer` runs
all of them, from both, with three seeds each.
"""

import dataclasses
from pathlib import Path

from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.train.config import ExperimentConfig


def experiment(name: str, data: DigitsConfig, num_steps: int) -> ExperimentConfig:
    """Some digits, with the recipe of digits.py."""
    return override(
        load_experiment(f"{Path(__file__).with_name('digits.py')}:fourier"),
        {
            "name": f"digits_transfer_{name}",
            "model.decoder.num_classes": len(data.digits),
            "task.num_classes": len(data.digits),
            "data": data,
            "trainer.num_steps": num_steps,
        },
    )


def pretrain() -> ExperimentConfig:
    """All ten digits."""
    return experiment("pretrain", DigitsConfig(max_shift=1), 2000)


def pretrain_half() -> ExperimentConfig:
    """The digits 0 to 4."""
    return experiment("pretrain_half", DigitsConfig(max_shift=1, digits=(0, 1, 2, 3, 4)), 2000)


def scratch() -> ExperimentConfig:
    """Ten images of each of 5 to 9, from random parameters."""
    data = DigitsConfig(max_shift=1, digits=(5, 6, 7, 8, 9), train_images_per_digit=10)
    return experiment("scratch", data, 400)


def finetune() -> ExperimentConfig:
    """The same from the parameters of `pretrain`, with a new output layer."""
    return dataclasses.replace(
        scratch(),
        name="digits_transfer_finetune",
        checkpoint="runs/pretrained",
        fresh=("*basic_decoder/output",),
    )


def slower() -> ExperimentConfig:
    """The same, the encoder with a tenth of the learning rate."""
    return dataclasses.replace(
        finetune(), name="digits_transfer_slower", learning_rates=("perceiver_encoder=0.1",)
    )


def frozen() -> ExperimentConfig:
    """The same, but the encoder does not train."""
    return dataclasses.replace(
        finetune(), name="digits_transfer_frozen", frozen=("perceiver_encoder",)
    )


VARIANTS = {
    "pretrain": pretrain,
    "pretrain_half": pretrain_half,
    "scratch": scratch,
    "finetune": finetune,
    "slower": slower,
    "frozen": frozen,
}
