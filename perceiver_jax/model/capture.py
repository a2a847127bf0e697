"""Naming intermediates, such as attention weights, so that a caller can ask for them.

Modules call `record`; it does nothing unless the caller is inside `capturing`, so a training step
pays nothing for it. Unlike Haiku state, captured values never become part of the model.
"""

import contextlib
import contextvars
import fnmatch
from collections.abc import Iterator

import haiku as hk
import jax

from perceiver_jax.typing import Captured


class _Recorder:
    """Collects the values whose name matches one of the patterns."""

    def __init__(self, patterns: tuple[str, ...]):
        self.patterns = patterns
        self.values: Captured = {}
        self._calls: dict[str, int] = {}

    def add(self, name: str, value: jax.Array) -> None:
        call = self._calls.get(name, 0)
        self._calls[name] = call + 1
        if self.matches(name):
            self.values[f"{name}#{call}"] = value

    def matches(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)


_recorder: contextvars.ContextVar[_Recorder | None] = contextvars.ContextVar(
    "perceiver_jax_recorder", default=None
)


@contextlib.contextmanager
def capturing(patterns: tuple[str, ...]) -> Iterator[Captured]:
    """Collects what `record` is given inside, if its name matches one of the glob `patterns`.

    Yields:
      A dict that fills up, `{"<module name>#<call index>": value}`. Modules that share weights are
      called several times: the index, from 0, tells the calls apart.
    """
    recorder = _Recorder(patterns)
    token = _recorder.set(recorder)
    try:
        yield recorder.values
    finally:
        _recorder.reset(token)


def active() -> bool:
    """Says whether somebody is inside `capturing` with a pattern."""
    recorder = _recorder.get()
    return recorder is not None and bool(recorder.patterns)


def wanted() -> bool:
    """Says whether somebody asked for what the Haiku module that is running would record."""
    recorder = _recorder.get()
    name = hk.experimental.current_name()
    return recorder is not None and recorder.matches(name)


def record(value: jax.Array) -> None:
    """Offers `value` under the name of the Haiku module that is running."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.add(hk.experimental.current_name(), value)
