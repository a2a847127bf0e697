"""The models of transformers, on PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.peers.peer import Peer
from benchmarks.worker import Refusal, needs
from benchmarks.works import Description


def build(description: Description) -> Peer:
    """The class of transformers for the model, with random weights from its config.

    Raises:
      Refusal: there is no such class, or it cannot have these sizes.
    """
    needs("transformers")
    import transformers

    told = description.huggingface
    if "refused" in told:
        raise Refusal(told["refused"])
    architecture = told["architecture"]
    module = getattr(transformers, architecture)(transformers.PerceiverConfig(**told["fields"]))
    arrays = {name: torch.from_numpy(x) for name, x in description.make_inputs().items()}
    packages = ("transformers", "torch")

    if architecture == "PerceiverForMultimodalAutoencoding":
        # Frames come as [b, t, c, y, x].
        inputs = {**arrays, "image": arrays["image"].movedim(-1, 2).contiguous()}

        def call_multimodal(points: Mapping[str, np.ndarray]) -> dict[str, Any]:
            chosen = {name: torch.from_numpy(x).long() for name, x in points.items()}
            outputs = module(inputs, subsampled_output_points={"label": None, **chosen})
            return dict(outputs.logits)

        return Peer(module, call_multimodal, packages)

    inputs = arrays["inputs"]
    arguments: dict[str, torch.Tensor] = {}
    settings = ""
    if architecture == "PerceiverForMaskedLM":
        inputs = inputs.long()
        arguments["attention_mask"] = torch.ones_like(inputs)
    elif architecture == "PerceiverForOpticalFlow":
        # It takes the patch around each pixel instead of the pixel: [b, 2, 27, y, x].
        inputs = inputs.movedim(-1, 2).repeat(1, 1, 9, 1, 1).contiguous()
        settings = "patches made before the run"
    else:
        inputs = inputs.movedim(-1, 1).contiguous()

    def call(points: Mapping[str, np.ndarray]) -> dict[str, Any]:
        if points:
            raise Refusal(f"{architecture} computes all outputs only")
        return {"outputs": module(inputs=inputs, **arguments).logits}

    return Peer(module, call, packages, settings)
