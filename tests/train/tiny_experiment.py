"""An experiment of a few seconds, for the tests that start processes."""

from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import Constant, ExperimentConfig, Lamb, TrainerConfig


def tiny() -> ExperimentConfig:
    """A convolutional network with a few hundred parameters."""
    return ExperimentConfig(
        name="tiny",
        model=ConvNetConfig(shape=(8, 8), num_classes=10, widths=(3, 5), hidden=7),
        task=ClassificationConfig(num_classes=10),
        data=DigitsConfig(max_shift=1),
        trainer=TrainerConfig(
            num_epochs=2.5, batch_size=24, log_every=1, eval_every=20, checkpoint_every=7
        ),
        optimizer=Lamb(weight_decay=0.01),
        schedule=Constant(base_lr=0.02),
    )


VARIANTS = {"tiny": tiny}
