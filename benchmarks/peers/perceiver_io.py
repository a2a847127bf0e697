"""The PyPI project perceiver-io (module `perceiver`), on PyTorch: built like our image models."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.peers.peer import Peer
from benchmarks.worker import Refusal, needs
from benchmarks.works import Description


def build(description: Description) -> Peer:
    """An image classifier: with a class query, or from the mean of the latents.

    Raises:
      Refusal: the model reads something else than pixels with Fourier positions.
    """
    needs("fairscale", "pytorch_lightning", "torchmetrics", "perceiver")
    from perceiver.model.core import ClassificationDecoderConfig, PerceiverConfig, PerceiverEncoder
    from perceiver.model.image import ImageEncoderConfig, ImageInputAdapter
    from perceiver.model.image.classifier import ImageClassifier

    config = description.config
    pixels, encoder, decoder = config["preprocessor"], config["encoder"], config["decoder"]
    position = pixels.get("position", {})
    if pixels.get("prep") != "pixels" or "num_bands" not in position or len(pixels["shape"]) != 2:
        raise Refusal("its image models read pixels with Fourier positions only")
    image_shape = (*pixels["shape"], pixels["channels"])
    num_bands = position["num_bands"]
    width = pixels["channels"] + 2 * (2 * num_bands + 1)
    sizes: dict[str, Any] = {
        "num_cross_attention_heads": encoder["cross_attend_heads"],
        "num_cross_attention_qk_channels": encoder["qk_channels"] or width,
        "num_cross_attention_v_channels": encoder["v_channels"] or width,
        "num_cross_attention_layers": encoder["num_cross_attends"],
        "first_cross_attention_layer_shared": False,
        "cross_attention_widening_factor": encoder["cross_attend_widening_factor"],
        "num_self_attention_heads": encoder["self_attend_heads"],
        "num_self_attention_layers_per_block": encoder["self_attends_per_block"],
        "num_self_attention_blocks": encoder["num_blocks"],
        "first_self_attention_block_shared": encoder["share_towers"],
        "self_attention_widening_factor": encoder["self_attend_widening_factor"],
    }
    num_latents, latent_channels = encoder["num_latents"], encoder["latent_channels"]
    module: torch.nn.Module
    if "query_channels" in decoder:
        module = ImageClassifier(
            PerceiverConfig(
                encoder=ImageEncoderConfig(
                    image_shape=image_shape, num_frequency_bands=num_bands, **sizes
                ),
                decoder=ClassificationDecoderConfig(
                    num_cross_attention_heads=1,
                    num_cross_attention_qk_channels=latent_channels,
                    num_cross_attention_v_channels=latent_channels,
                    num_output_query_channels=decoder["query_channels"],
                    num_classes=decoder["num_classes"],
                ),
                num_latents=num_latents,
                num_latent_channels=latent_channels,
            )
        )
    else:
        adapter = ImageInputAdapter(image_shape=image_shape, num_frequency_bands=num_bands)
        reader = PerceiverEncoder(
            adapter, num_latents=num_latents, num_latent_channels=latent_channels, **sizes
        )
        module = _MeanClassifier(reader, latent_channels, decoder["num_classes"])
    inputs = torch.from_numpy(description.make_inputs()["inputs"])

    def call(points: Mapping[str, np.ndarray]) -> dict[str, Any]:
        assert not points
        return {"outputs": module(inputs)}

    return Peer(module, call, ("perceiver-io", "torch"))


class _MeanClassifier(torch.nn.Module):
    """Logits from the mean of the latents, as in Perceiver; the project has query decoders only."""

    def __init__(self, encoder: torch.nn.Module, channels: int, num_classes: int):
        super().__init__()
        self.encoder = encoder
        self.output = torch.nn.Linear(channels, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(self.encoder(inputs).mean(dim=1))
