"""Tiny models with random parameters, loaded."""

import dataclasses

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.infer.loaded import LoadedModel
from tests import random_params, tiny_models


def loaded(config, class_names=None, seed=0):
    model = perceiver_jax.build(config)
    params, state = random_params.model_params(model, seed)
    return LoadedModel(model, params, state, class_names)


def rgb_classifier(shape=(6, 5), position=None, **changes):
    """Images of 6 x 5 pixels, 7 classes."""
    return zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig(
            shape, position=position or zoo.FourierConfig(num_bands=2), **changes
        ),
        encoder=tiny_models.encoder(),
        decoder=zoo.ClassificationDecoderConfig(num_classes=7, query_channels=13),
    )


def rereading(config, num_cross_attends, sharing, **changes):
    """The same model, with several cross-attends."""
    encoder = dataclasses.replace(
        config.encoder,
        num_cross_attends=num_cross_attends,
        cross_attend_sharing=sharing,
        cross_attend_placement="at_start",
        **changes,
    )
    return dataclasses.replace(config, encoder=encoder)
