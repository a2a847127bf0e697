"""What `torch_worker.py` asks of a peer."""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Peer:
    """A model of another project, with inputs."""

    module: Any  # torch.nn.Module, with random weights.
    # Runs it on its inputs: the outputs by name, "outputs" where there is one. Takes the outputs
    # to compute, as `Description.points` has them; empty: all.
    call: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
    packages: tuple[str, ...]  # Whose versions the table names.
    settings: str = ""  # How it differs from our model, in words.

    @property
    def version(self) -> str:
        """Names and versions of its packages."""
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in self.packages)
