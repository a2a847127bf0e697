"""Small models that Hugging Face's classes can express: bands, widths and heads that they fix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.zoo import released
from tests import random_params

_ENCODER = {
    "encoder.num_latents": 7,
    "encoder.latent_channels": 24,
    "encoder.num_blocks": 2,
    "encoder.self_attends_per_block": 2,
    "encoder.self_attend_heads": 4,
}
_CLASSIFIER = {**_ENCODER, "decoder.num_classes": 5, "decoder.query_channels": 24}
_TEXT = {
    **_ENCODER,
    "encoder.cross_attend_heads": 2,
    "encoder.qk_channels": 16,
    "encoder.v_channels": 24,
    "preprocessor.length": 19,
    "preprocessor.channels": 16,
}
_SOUND, _VIDEO = {"max_resolution": (64,)}, {"max_resolution": (2, 3, 3)}

CONFIGS: Mapping[str, zoo.PerceiverConfig] = {
    "fourier": config_lib.override(released.imagenet_fourier(), _CLASSIFIER),
    "learned": config_lib.override(
        released.imagenet_learned(), {**_CLASSIFIER, "preprocessor.shape": (6, 6)}
    ),
    "conv": config_lib.override(released.imagenet_conv(), _CLASSIFIER),
    "flow": config_lib.override(
        released.optical_flow(),
        {
            **_ENCODER,
            "preprocessor.shape": (2, 6, 8),
            "preprocessor.position.max_resolution": (6, 8),
            "decoder.shape": (6, 8),
        },
    ),
    "mlm": config_lib.override(
        released.mlm(),
        {
            **_TEXT,
            "decoder.query.shape": (19,),
            "decoder.query.position.channels": 16,
            "decoder.v_channels": 16,
        },
    ),
    "text": config_lib.override(
        released.text_classifier(5),
        # The other width rule, and MLPs of other widths.
        {
            **_TEXT,
            "decoder.query_channels": 24,
            "encoder.width_rule": "q",
            "decoder.width_rule": "q",
            "encoder.cross_attend_widening_factor": 3,
            "encoder.self_attend_widening_factor": 2,
        },
    ),
    "multimodal": config_lib.override(
        released.video_autoencoding(),
        {
            **_ENCODER,
            "preprocessor.modalities.audio": {"num_samples": 64, "position": _SOUND},
            "preprocessor.modalities.image": {"shape": (2, 8, 12), "position": _VIDEO},
            "preprocessor.modalities.label.num_classes": 5,
            "decoder.queries.audio": {"shape": (4,), "position": _SOUND},
            "decoder.queries.image": {"shape": (2, 8, 12), "position": _VIDEO},
            "decoder.queries.label.position.channels": 17,
            "decoder.decoder.output_channels": 11,
            "postprocessor.outputs.label.num_classes": 5,
        },
    ),
}


def model(name: str, seed: int = 0) -> tuple[zoo.PerceiverConfig, Any, Any]:
    """Config, parameters and state; batch norm's averages and counters differ from each other."""
    config = CONFIGS[name]
    params, state = random_params.model_params(perceiver_jax.build(config), seed)
    rng = np.random.default_rng(seed)
    for module, entries in state.items():
        for entry, array in entries.items():
            if entry == "counter":
                entries[entry] = np.asarray(321, np.int32)
            else:
                entries[entry] = rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
        assert set(entries) == {"average", "hidden", "counter"}, module
    return config, params, state


def inputs(name: str, seed: int = 1) -> tuple[Any, ...]:
    """Inputs as `Model.apply` takes them; texts are padded, one of them more."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    if name in ("mlm", "text"):
        ids = rng.integers(6, 262, (2, 19)).astype(np.int32)
        mask = (np.arange(19) < [[19], [13]]).astype(np.int32)
        return ids * mask, mask
    if name == "multimodal":
        return (
            {
                "audio": normal(2, 64, 1),
                "image": normal(2, 2, 8, 12, 3),
                "label": np.zeros((2, 5), np.float32),
            },
        )
    shapes = {
        "fourier": (2, 20, 18, 3),
        "learned": (2, 6, 6, 3),
        "conv": (2, 34, 41, 3),
        "flow": (2, 2, 6, 8, 3),
    }
    return (normal(*shapes[name]),)
