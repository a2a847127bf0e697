"""Who is measured, and how each is started."""

import dataclasses
import sys
from collections.abc import Sequence

from perceiver_jax.errors import UserError

JAX_WORKER = "benchmarks.jax_worker"
TORCH_WORKER = "benchmarks.torch_worker"


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way to compute a model."""

    name: str  # In the table.
    worker: str  # The module that measures it.
    # The models of the zoo that it has; None: all.
    models: tuple[str, ...] | None = None

    @property
    def is_peer(self) -> bool:
        """Whether it is another project's, on PyTorch."""
        return self.worker == TORCH_WORKER

    def python(self, peer_python: str | None) -> str:
        """The interpreter that it runs in; `peer_python` is that of the peers, None for ours."""
        return peer_python if self.is_peer and peer_python else sys.executable

    def arguments(self) -> tuple[str, ...]:
        """Its worker's command line."""
        return (self.name,) if self.is_peer else ()

    def has(self, model: str) -> bool:
        """Whether it has a model of the zoo."""
        return self.models is None or model in self.models


OURS = Contender("ours", JAX_WORKER)
OTHERS = {
    each.name: each
    for each in (
        Contender("plain", JAX_WORKER),
        Contender(
            "huggingface",
            TORCH_WORKER,
            ("imagenet_fourier", "mlm", "optical_flow", "video_autoencoding"),
        ),
        Contender("perceiver_io", TORCH_WORKER, ("imagenet_fourier", "perceiver_imagenet")),
        Contender("perceiver_pytorch", TORCH_WORKER, ("perceiver_imagenet",)),
    )
}


def chosen(names: Sequence[str]) -> list[Contender]:
    """Ours and those named.

    Raises:
      UserError: there is no such contender.
    """
    for name in names:
        if name not in OTHERS:
            raise UserError(f"--peers has {name!r}; the peers are {', '.join(OTHERS)}.")
    return [OURS, *(OTHERS[name] for name in dict.fromkeys(names))]
