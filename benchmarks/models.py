"""The models that are measured: those of the zoo, and parts of them for one question each."""

from typing import Any

import perceiver_jax
from benchmarks.works import Work
from perceiver_jax import zoo
from perceiver_jax.errors import ModelError

# 64 bands, as for ImageNet in both papers; whatever the size of the grid.
_POSITION = zoo.FourierConfig(num_bands=64, max_resolution=(224, 224))


def cross_attend() -> zoo.PerceiverConfig:
    """Perceiver's ImageNet model down to one cross-attend: 512 x 1024 latents read the pixels."""
    return zoo.PerceiverConfig(
        zoo.ImageConfig(shape=(224, 224), position=_POSITION),
        zoo.EncoderConfig(
            num_latents=512,
            latent_channels=1024,
            num_blocks=0,
            num_cross_attends=1,
            width_rule="min",
        ),
        zoo.ProjectionDecoderConfig(num_classes=1000),
    )


def dense_decoder() -> zoo.PerceiverConfig:
    """Perceiver IO's decoder alone: pixels with Fourier positions ask 512 x 512 latents.

    The latents read 256 inputs, which take next to no time.
    """
    return zoo.PerceiverConfig(
        zoo.ImageConfig(shape=(16, 16), position=_POSITION),
        zoo.EncoderConfig(num_latents=512, latent_channels=512, num_blocks=0, num_cross_attends=1),
        zoo.DecoderConfig(
            output_channels=2, query=zoo.QueryConfig(shape=(224, 224), position=_POSITION)
        ),
    )


def latent_tower() -> zoo.PerceiverConfig:
    """The towers of the ImageNet models alone: 8 x 6 shared self-attends, 512 x 1024 latents.

    The latents read 256 inputs, which take next to no time.
    """
    return zoo.PerceiverConfig(
        zoo.ImageConfig(shape=(16, 16), position=_POSITION),
        zoo.EncoderConfig(num_latents=512, latent_channels=1024),
        zoo.ProjectionDecoderConfig(num_classes=1000),
    )


OURS = {
    "cross_attend": cross_attend,
    "dense_decoder": dense_decoder,
    "latent_tower": latent_tower,
}


def build(work: Work, **changes: Any) -> zoo.Model:
    """Builds the model of a piece of work.

    Args:
      work: names the model.
      **changes: of its config, beside those of the work.

    Raises:
      ModelError: there is no model of that name.
      ConfigError: a change does not fit it.
    """
    named = OURS[work.model]() if work.model in OURS else work.model
    return perceiver_jax.build(named, **{**work.changes, **changes})


def config_of(model: zoo.Model) -> zoo.PerceiverConfig:
    """The model's config.

    Raises:
      ModelError: it is no Perceiver.
    """
    if not isinstance(model.config, zoo.PerceiverConfig):
        raise ModelError("the benchmarks measure Perceivers, and this model is none.")
    return model.config
