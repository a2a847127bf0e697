"""The PyPI project perceiver-pytorch, on PyTorch: Perceiver as it builds it, at our sizes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.peers.peer import Peer
from benchmarks.worker import Refusal, needs
from benchmarks.works import Description


def build(description: Description) -> Peer:
    """A classifier of pixels with repeated cross-attends.

    Raises:
      Refusal: it cannot be built alike.
    """
    needs("perceiver_pytorch")
    from perceiver_pytorch import Perceiver

    config = description.config
    pixels, encoder, decoder = config["preprocessor"], config["encoder"], config["decoder"]
    position = pixels.get("position", {})
    if pixels.get("prep") != "pixels" or "num_bands" not in position:
        raise Refusal("it reads pixels with Fourier positions only")
    if encoder["num_cross_attends"] != encoder["num_blocks"] or "query_channels" in decoder:
        raise Refusal("it has a cross-attend before every tower, and no output queries")
    width = pixels["channels"] + len(pixels["shape"]) * (2 * position["num_bands"] + 1)
    latent_channels = encoder["latent_channels"]
    module = Perceiver(
        num_freq_bands=position["num_bands"],
        max_freq=float(max(pixels["shape"])),
        depth=encoder["num_blocks"],
        input_channels=pixels["channels"],
        input_axis=len(pixels["shape"]),
        num_latents=encoder["num_latents"],
        latent_dim=latent_channels,
        cross_heads=encoder["cross_attend_heads"],
        cross_dim_head=min(width, latent_channels) // encoder["cross_attend_heads"],
        latent_heads=encoder["self_attend_heads"],
        latent_dim_head=latent_channels // encoder["self_attend_heads"],
        num_classes=decoder["num_classes"],
        weight_tie_layers=encoder["share_towers"],
        self_per_cross_attn=encoder["self_attends_per_block"],
    )
    inputs = torch.from_numpy(description.make_inputs()["inputs"])

    def call(points: Mapping[str, np.ndarray]) -> dict[str, Any]:
        assert not points
        return {"outputs": module(inputs)}

    settings = "not alike: its MLPs are gated and four times as wide, so it does more work"
    return Peer(module, call, ("perceiver-pytorch", "torch"), settings)
