"""The writers that a config asks for, found by name and told everything together."""

import importlib
from collections.abc import Callable, Mapping, Sequence

from perceiver_jax.errors import ConfigError, UserError, require
from perceiver_jax.train.writers.base import Factory, Run, Writer

# Name in the config -> the module with `open_writer`, and the package that it needs.
_OURS = {
    "tensorboard": ("perceiver_jax.train.writers.tensorboard", "tensorboardX"),
    "wandb": ("perceiver_jax.train.writers.wandb", "wandb"),
}


def find(names: Sequence[str]) -> dict[str, Factory]:
    """Returns the factories by name; what they need is imported here, and nowhere before.

    Args:
      names: from `trainer.writers`: "tensorboard", "wandb", or "package.module:factory".

    Raises:
      UserError: a package is missing; the message has the command that installs it.
      ConfigError: there is no such function.
    """
    return {name: _find(name) for name in names}


def _find(name: str) -> Factory:
    if name in _OURS:
        module_name, package = _OURS[name]
        require(package, purpose=f"trainer.writers={name}")
        return importlib.import_module(module_name).open_writer
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError as error:
        raise ConfigError(
            f"trainer.writers: {module_name!r} of {name!r} cannot be imported ({error}). It must "
            "lie where Python looks for modules, such as a folder in PYTHONPATH."
        ) from error
    if not callable(factory):
        raise ConfigError(
            f"trainer.writers: {module_name!r} has no function {attribute!r} that makes a writer "
            "(see perceiver_jax/train/writers/base.py)."
        )
    return factory


class Writers:
    """All writers of a run. One that fails is left out from then on: the run is worth more."""

    def __init__(
        self,
        factories: Mapping[str, Factory],
        run: Run,
        *,
        report: Callable[[str], None] = print,
    ):
        """Opens the writers.

        Args:
          factories: from `find`.
          run: what they write about.
          report: takes a line for the user where one fails later.

        Raises:
          UserError: a writer cannot be opened.
        """
        self._report = report
        self._writers: dict[str, Writer] = {}
        for name, factory in factories.items():
            try:
                self._writers[name] = factory(run)
            except Exception as error:
                self.close()
                if isinstance(error, UserError):
                    raise
                raise UserError(
                    f"The writer {name!r} of trainer.writers cannot be opened: "
                    f"{_in_words(error)}. Mend it, or train without: --config.trainer.writers=none"
                ) from error

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Hands the values of a step or an evaluation to every writer."""
        self._each(lambda writer: writer.write(step, split, values))

    def flush(self) -> None:
        """Has every writer let go of what it holds back."""
        self._each(lambda writer: writer.flush())

    def close(self) -> None:
        """Closes every writer."""
        self._each(lambda writer: writer.close())
        self._writers = {}

    def _each(self, call: Callable[[Writer], None]) -> None:
        for name, writer in list(self._writers.items()):
            try:
                call(writer)
            except Exception as error:
                del self._writers[name]
                self._report(
                    f"The writer {name!r} has failed and gets no more metrics: {_in_words(error)}. "
                    "Training goes on; metrics.jsonl has everything."
                )


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(".")
