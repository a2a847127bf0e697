"""The learning rate as a function of the step: the three schedules of the released code.

Lengths are real numbers, as in the released code: 110 epochs of 1,281,167 images in batches of
1,024 are 137,625.36 steps, and the cosine ends there, not at 137,625.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from perceiver_jax.errors import ConfigError
from perceiver_jax.train.config import Constant, ConstantCosine, Cosine, Steps

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]  # step [] int -> learning rate [] float32

_REFERENCE_BATCH = 256  # `base_lr` is given for this batch size where it scales with the batch.


def make_schedule(
    config: Constant | Steps | Cosine | ConstantCosine,
    *,
    batch_size: int,
    steps_per_epoch: float,
    total_steps: float,
) -> Schedule:
    """Returns the learning rate as a function of the step.

    Args:
      config: which schedule, and its numbers.
      batch_size: examples a step, over all devices.
      steps_per_epoch: training examples / batch_size; need not be whole.
      total_steps: length of training; need not be whole.

    Raises:
      ConfigError: the warm-up is longer than training.
    """
    scale = batch_size / _REFERENCE_BATCH if config.scale_by_batch else 1.0
    base = config.base_lr * scale
    if isinstance(config, Steps):
        boundaries = {
            int(boundary * total_steps): config.decay_rate for boundary in config.decay_boundaries
        }
        return optax.piecewise_constant_schedule(base, boundaries)
    if isinstance(config, Cosine):
        warmup_steps = config.warmup_epochs * steps_per_epoch
        if warmup_steps >= total_steps:
            raise ConfigError(
                f"schedule.warmup_epochs={config.warmup_epochs} is {warmup_steps:g} steps of these "
                f"data, and training has {total_steps:g}: train for longer, or give a smaller "
                "--config.schedule.warmup_epochs, such as 0."
            )
        return optax.warmup_cosine_decay_schedule(
            init_value=config.init_value * scale,
            peak_value=base,
            warmup_steps=warmup_steps,
            decay_steps=total_steps,
            end_value=config.end_value * scale,
        )
    if isinstance(config, ConstantCosine):
        return _constant_cosine(config, base, total_steps)
    return optax.constant_schedule(base)


def _constant_cosine(config: ConstantCosine, base: float, total_steps: float) -> Schedule:
    """Perceiver IO, App. A.1: "constant for the first 55 epochs, then cosine-decayed to 0"."""
    constant_steps = int(config.constant_fraction * total_steps)
    # As released: `end_value` is not scaled by the batch size, unlike `base`.
    decay = optax.cosine_decay_schedule(
        init_value=base,
        decay_steps=max(total_steps - constant_steps, 1),
        alpha=config.end_value / base if base else 0.0,
    )

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(step)
        return jnp.where(step < constant_steps, base, decay(step - constant_steps))

    return schedule
