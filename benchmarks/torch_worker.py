"""The worker of the contenders on PyTorch; its argument names one: `benchmarks/peers/NAME.py`.

Takes the requests of `jax_worker.py`, and answers alike. Runs in whatever interpreter has the peer
installed: nothing here needs JAX.
"""

import importlib
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import process_memory
from benchmarks.extrapolation import extrapolated_from, scale, timed_calls
from benchmarks.worker import Refusal, needs, serve
from benchmarks.works import from_json


class Contender:
    """Answers the requests about one piece of work."""

    def __init__(self, name: str) -> None:
        self._name = name

    def prepare(
        self, description: Mapping[str, Any], contender: str, remat: str | None = None
    ) -> dict[str, Any]:
        """Makes the model, and runs once."""
        del remat
        needs("numpy", "torch")
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.manual_seed(0)
        self._told = from_json(description)
        build = importlib.import_module(f"benchmarks.peers.{contender}").build
        import_bytes = process_memory.read("VmRSS")
        try:
            self._peer = build(self._told)
        except (RuntimeError, TypeError, ValueError) as error:
            raise Refusal(f"{contender} cannot be built: {error}") from error
        self._targets = {name: torch.from_numpy(x) for name, x in self._told.make_targets().items()}
        self._peer.module.train(self._told.work.mode == "train")
        weights_bytes = process_memory.read("VmRSS")
        parameters = sum(each.numel() for each in self._peer.module.parameters())
        said = [
            *filter(None, [self._peer.settings]),
            f"{parameters / 1e6:.1f}M parameters",
            f"{torch.get_num_threads()} threads",
        ]
        first = self.run()
        return {
            "compile_s": None,
            "first_run_s": first["run_s"],
            "spent_s": first["spent_s"],
            "temp_bytes": None,
            "import_bytes": import_bytes,
            "weights_bytes": weights_bytes,
            "settings": "; ".join(said),
            "version": self._peer.version,
            "device": "cpu",
            "extrapolated_from": extrapolated_from(self._told.num_calls),
        }

    def run(self) -> dict[str, float]:
        """Runs once."""
        import torch

        told, peer = self._told, self._peer
        start = time.perf_counter()
        if told.work.mode == "train":
            outputs = peer.call(told.points(0))
            loss(outputs, self._targets).backward()
        else:
            with torch.inference_mode():
                for call in range(timed_calls(told.num_calls)):
                    peer.call(told.points(call))
        seconds = time.perf_counter() - start
        peer.module.zero_grad(set_to_none=True)
        return {"run_s": seconds * scale(told.num_calls), "spent_s": seconds}

    def end(self) -> dict[str, int | None]:
        """The peak of this process's memory."""
        return {"peak_bytes": process_memory.read("VmHWM"), "device_peak_bytes": None}


def loss(outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> Any:
    """That of `jax_worker.loss`: cross-entropy for classes, mean square elsewhere; their sum."""
    import torch

    parts = []
    for name, target in targets.items():
        output = outputs[name]
        if target.is_floating_point():
            parts.append(torch.nn.functional.mse_loss(output.reshape(target.shape), target))
        else:
            logits = output.reshape(-1, output.shape[-1])
            parts.append(torch.nn.functional.cross_entropy(logits, target.reshape(-1).long()))
    return sum(parts)


if __name__ == "__main__":
    answers = Contender(sys.argv[1])
    serve({"prepare": answers.prepare, "run": answers.run, "end": answers.end})
