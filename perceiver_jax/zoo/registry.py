"""Names of the models, and `build`."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from perceiver_jax import config as config_lib
from perceiver_jax.errors import ModelError
from perceiver_jax.zoo import baselines, iclr, icml, released
from perceiver_jax.zoo.model import Model, ModelConfig
from perceiver_jax.zoo.recognise import Undetermined

_MODELS: Mapping[str, Callable[[], ModelConfig]] = {
    # Perceiver IO, released.
    "imagenet_fourier": released.imagenet_fourier,
    "imagenet_learned": released.imagenet_learned,
    "imagenet_conv": released.imagenet_conv,
    "mlm": released.mlm,
    "optical_flow": released.optical_flow,
    "video_autoencoding": released.video_autoencoding,
    # Perceiver.
    "perceiver_imagenet": icml.imagenet,
    "perceiver_imagenet_unshared": icml.imagenet_unshared,
    "perceiver_imagenet_learned": icml.imagenet_learned,
    "perceiver_modelnet40": icml.modelnet40,
    "perceiver_audioset_raw": icml.audioset_raw,
    "perceiver_audioset_mel": icml.audioset_mel_only,
    "perceiver_audioset_video": icml.audioset_video_only,
    "perceiver_audioset_audio_video_raw": icml.audioset_audio_video_raw,
    "perceiver_audioset_audio_video_mel": icml.audioset_audio_video_mel,
    **{f"perceiver_table5_{n}_cross_attends": partial(icml.table5, n) for n in (4, 8, 12)},
    **{
        f"perceiver_table6_{n}_{place}": partial(icml.table6, n, at_start=place == "at_start")
        for place in ("at_start", "interleaved")
        for n in (1, 2, 4, 8)
    },
    "perceiver_table7_unshared": icml.imagenet_unshared,
    "perceiver_table7_shared": icml.imagenet,
    "perceiver_figure5_base": icml.figure5_base,
    # Perceiver IO, not released.
    "perceiver_io_table1_sentencepiece": iclr.table1_sentencepiece,
    "perceiver_io_table1_bytes": released.mlm,
    "perceiver_io_table1_plus_plus": iclr.table1_plus_plus,
    **{
        f"perceiver_io_table15_{n}_latents": partial(iclr.table15, n, width)
        for n, width in ((128, 1920), (256, 1280), (512, 896))
    },
    **{
        f"perceiver_io_table4_{ratio}x": partial(released.video_autoencoder, n)
        for ratio, n in ((88, 784), (176, 392), (352, 196))
    },
    **{
        f"perceiver_io_table16_{patch}x{patch}_{frames}": partial(
            released.flow_model, neighbourhood=patch, concat=frames == "concat"
        )
        for patch in (3, 1)
        for frames in ("concat", "separate")
    },
    "perceiver_io_flow_16_layers": partial(released.flow_model, num_latents=1024, num_layers=16),
    **{
        f"perceiver_io_table8_perceiver_{kind}": partial(iclr.table8_perceiver, kind)
        for kind in ("fourier", "learned", "conv")
    },
    **{
        f"perceiver_io_config_b_{kind}": partial(iclr.config_b, kind)
        for kind in ("fourier", "conv")
    },
    "perceiver_io_table10_perceiver_raw": partial(
        iclr.table10, "raw", latent_channels=512, query=False
    ),
    "perceiver_io_table10_io_raw": partial(iclr.table10, "raw", latent_channels=512, query=True),
    "perceiver_io_table10_perceiver_mel": partial(
        iclr.table10, "mel", latent_channels=512, query=False
    ),
    "perceiver_io_table10_io_mel": partial(iclr.table10, "mel", latent_channels=1024, query=True),
    # What the Perceiver is compared with.
    "baseline_resnet50": baselines.resnet50,
    "baseline_resnet50_fourier": partial(baselines.resnet50, fourier=True),
    "baseline_vit_b16": baselines.vit_b16,
    "baseline_vit_b16_fourier": partial(baselines.vit_b16, fourier=True),
    "baseline_transformer_64": baselines.transformer_64,
    "baseline_modelnet40_resnet50": baselines.modelnet40_resnet50,
    **{
        f"baseline_modelnet40_vit_b{n}": partial(baselines.modelnet40_vit_b, n)
        for n in (2, 4, 8, 16)
    },
    "baseline_modelnet40_transformer_44": baselines.modelnet40_transformer_44,
}


def list_models() -> list[str]:
    """Names of all models of the zoo, the released ones first."""
    return list(_MODELS)


def get_config(name: str) -> ModelConfig:
    """The config of a model of the zoo.

    Raises:
      ModelError: there is no model of that name.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ModelError(
            f"there is no model named {name!r}. {hint}perceiver_jax.list_models() lists all "
            f"{len(_MODELS)}."
        )
    return _MODELS[name]()


def build(name_or_config: str | ModelConfig | Undetermined, **overrides: Any) -> Model:
    """Builds a model from its name or config.

    Args:
      name_or_config: a name of `list_models()`, or a config.
      **overrides: changes of the config, by dotted path or nested mapping:
        `build("imagenet_fourier", **{"encoder.num_latents": 256})` or
        `build("imagenet_fourier", encoder={"num_latents": 256})`.

    Returns:
      The model. It holds no arrays: see `Model.init` and `Model.apply`.

    Raises:
      ModelError: there is no model of that name, or the argument is no config, or one of which a
        checkpoint does not tell all.
      ConfigError: an override names no field, has a wrong type, or makes no valid model.
    """
    if isinstance(name_or_config, str):
        name, config = name_or_config, get_config(name_or_config)
    elif isinstance(name_or_config, ModelConfig):
        name, config = "", name_or_config
    elif isinstance(name_or_config, Undetermined):
        raise ModelError(str(name_or_config))
    else:
        raise ModelError(
            "build() takes a name of list_models() or a model's config (zoo.PerceiverConfig); got "
            f"{name_or_config!r:.80}."
        )
    if overrides:
        config = config_lib.override(config, overrides)
    return Model(config, name)
