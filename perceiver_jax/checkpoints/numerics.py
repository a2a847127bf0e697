"""Two ways to run the same weights: as DeepMind's released models, or as Hugging Face's port does.

The port differs from the released models in what is listed in docs/FIDELITY.md. Every difference
is a setting of our models, but for one: the port's published stem kernel has height and width
exchanged.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.errors import CheckpointError

Numerics = Literal["released", "huggingface"]
NUMERICS = ("released", "huggingface")

STEM_KERNEL = ("image_preprocessor/~/conv2_d_downsample/~/conv", "w")


def with_numerics(
    params: Mapping[str, Mapping[str, Any]],
    config: zoo.ModelConfig,
    numerics: Numerics,
    *,
    transpose_kernel: bool = False,
    exact_gelu: bool = True,
) -> tuple[dict[str, dict[str, Any]], zoo.ModelConfig]:
    """Parameters and config that give the outputs that `numerics` names.

    Args:
      params: with the stem's kernel as it is meant, [y, x, in, out].
      config: as released, or as trained here.
      numerics: 'released' changes nothing; 'huggingface' gives, to rounding, what the port's
        class gives for these weights.
      transpose_kernel: whether the port's file of these weights has the stem's kernel with height
        and width exchanged, as it has for DeepMind's; for 'huggingface' only.
      exact_gelu: whether the port is told to use GELU's exact form, as it is for all published
        models (`hidden_act`); for 'huggingface' only.

    Raises:
      CheckpointError: there are no such numerics.
    """
    changed = {module: dict(entries) for module, entries in params.items()}
    if numerics not in NUMERICS:
        raise CheckpointError(
            f"numerics={numerics!r} does not exist; it is one of {', '.join(NUMERICS)}."
        )
    if numerics == "released" or not isinstance(config, zoo.PerceiverConfig):
        return changed, config
    inputs, decoder = config.preprocessor, config.decoder
    if isinstance(inputs, zoo.ImageConfig) and inputs.prep == "conv":
        inputs = dataclasses.replace(inputs, stem_padding="torch")
        module, name = STEM_KERNEL
        if transpose_kernel and module in changed:
            kernel = np.asarray(changed[module][name])
            changed[module][name] = np.ascontiguousarray(kernel.swapaxes(0, 1))
    if isinstance(decoder, zoo.ClassificationDecoderConfig):
        decoder = dataclasses.replace(decoder, use_query_residual=True)
    config = dataclasses.replace(
        config,
        preprocessor=with_rounding(inputs, "torch"),
        decoder=with_rounding(decoder, "torch"),
        exact_gelu=exact_gelu,
        # The port takes no account of the mask in its decoder.
        mask_outputs=config.mask_outputs and not isinstance(inputs, zoo.TokensConfig),
    )
    return changed, config


def with_rounding(config: Any, rounded_as: Literal["jax", "torch"]) -> Any:
    """A config, or a part of one, with `rounded_as` in all Fourier features inside."""
    if isinstance(config, Mapping):
        return {key: with_rounding(value, rounded_as) for key, value in config.items()}
    if isinstance(config, zoo.FourierConfig):
        return dataclasses.replace(config, rounded_as=rounded_as)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        inside = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        changed = {name: with_rounding(value, rounded_as) for name, value in inside.items()}
        return dataclasses.replace(config, **changed)
    return config
