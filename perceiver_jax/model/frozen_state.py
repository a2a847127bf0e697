"""Which modules keep their running statistics, and use them, even in training.

Fine-tuning with a frozen stem wants its batch norm to be the same function in training and in
evaluation. The caller says so around the model's call, as for `capture.py`.
"""

import contextlib
import contextvars
from collections.abc import Iterator

_frozen: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar(
    "perceiver_jax_frozen_state", default=()
)


@contextlib.contextmanager
def frozen_state(modules: tuple[str, ...]) -> Iterator[None]:
    """Freezes, inside, the modules of the state that are named, such as "…/batchnorm/~/var_ema"."""
    token = _frozen.set(modules)
    try:
        yield
    finally:
        _frozen.reset(token)


def is_frozen(module: str) -> bool:
    """Says whether state of the Haiku module `module` is frozen."""
    return any(each.startswith(module + "/") for each in _frozen.get())
