"""The model of a run, and what it says of examples: computed once, for all sections that show it.

Examples are taken in a fixed random order, so that however many there is time for are a fair sample
of the split, which may be sorted by class.
"""

import dataclasses
import operator
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from perceiver_jax.checkpoints.directory import steps_in
from perceiver_jax.data.faults import describe
from perceiver_jax.data.source import CorruptExample, Example, Source
from perceiver_jax.errors import UserError
from perceiver_jax.infer.loaded import LoadedModel, load
from perceiver_jax.report.page import NotShown
from perceiver_jax.report.run_record import Run
from perceiver_jax.tasks.base import Collects, evaluation_batch
from perceiver_jax.tasks.predictions import Predicts

_BATCH = 32  # Examples at once, on one device, whatever the run was trained on;
_BATCH_BYTES = 2**29  # and fewer where each is large, as several clips of video are.


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much a report may compute; whichever comes first ends it."""

    examples: int = 2048  # Examples that predictions are made for.
    seconds: float = 60.0  # Time for predictions, after compiling.


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """What was predicted for examples of the evaluated split."""

    indices: np.ndarray  # [n] int: which examples, in rising order.
    values: Any  # What the task's `predictions` or `collect` returned, arrays [n, ...].
    num_total: int  # Examples in the split.
    num_unreadable: int  # Examples that could not be read, and were passed over.

    def sentence(self) -> str:
        """Says how many examples this is about."""
        count = len(self.indices)
        if count == self.num_total:
            return f"all {count:,} examples"
        text = f"{count:,} of {self.num_total:,} examples, drawn at random"
        return text + (f"; {self.num_unreadable:,} unreadable" if self.num_unreadable else "")


class RunModel:
    """The newest checkpoint of a run that can be read; loaded when it is first needed.

    Where the result was selected by test score, the checkpoint that was, if it is there.
    """

    def __init__(self, run: Run, limits: Limits):
        self.run = run
        self._limits = limits
        self._known: dict[str, Any] = {}  # What was made, or why it could not be.

    @property
    def loaded(self) -> tuple[int, LoadedModel]:
        """The step, and the model with the parameters of that step.

        Raises:
          NotShown: no checkpoint can be read.
        """
        return self._once("loaded", self._load)

    @property
    def source(self) -> Source:
        """The evaluated split.

        Raises:
          NotShown: it cannot be opened.
        """
        config = self.run.config
        return self._once("source", lambda: config.data.make_source(config.trainer.eval_split))

    @property
    def predicted(self) -> Predicted:
        """What the model says of the examples.

        Raises:
          NotShown: there is no model or no data, or the task has no predictions.
        """
        return self._once("predicted", self._predict)

    @property
    def collected(self) -> Predicted:
        """What the task collects of each example, such as the scores of several labels.

        Raises:
          NotShown: there is no model or no data, or the task collects nothing.
        """
        return self._once("collected", self._collect)

    def place(self, index: int) -> str:
        """Says where an example of the evaluated split is stored; "" if its source does not."""
        return describe(self.source, int(index))

    def example(self, index: int) -> Example:
        """Returns an example of the evaluated split."""
        return self.source[int(index)]

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._known:
            try:
                self._known[name] = make()
            except UserError as error:
                self._known[name] = NotShown(_as_reason(str(error)))
            except NotShown as reason:
                self._known[name] = reason
            except Exception as error:  # Such as no memory on the device; once is enough.
                self._known[name] = NotShown(
                    f"{type(error).__name__} was raised: {_as_reason(str(error))}"
                )
        if isinstance(self._known[name], NotShown):
            raise self._known[name]
        return self._known[name]

    def _load(self) -> tuple[int, LoadedModel]:
        if jax.process_count() > 1:
            raise NotShown(
                "this run has several processes; `python -m perceiver_jax.report` in a process of "
                "its own shows the model too"
            )
        steps = steps_in(self.run.path / "checkpoints")
        if not steps:
            raise NotShown("there is no checkpoint yet")
        steps.reverse()
        selected = self.run.result.get("step") if self.run.is_selected else None
        if selected in steps:
            steps = [selected, *(step for step in steps if step != selected)]
        failures = []
        for step in steps:
            try:
                return step, load(self.run.path / "checkpoints" / str(step))
            except UserError as error:
                failures.append(_as_reason(str(error)))
        raise NotShown(f"no checkpoint can be read: {failures[0]}")

    def _predict(self) -> Predicted:
        task = self.run.config.task
        if not isinstance(task, Predicts):
            raise NotShown(f"{type(task).__name__} has no method `predictions`")
        return self._of_examples(task.predictions)

    def _collect(self) -> Predicted:
        task = self.run.config.task
        if not isinstance(task, Collects):
            raise NotShown("the task collects nothing of single examples")
        return self._of_examples(task.collect)

    def _of_examples(self, made: Callable[[Any, Any], Any]) -> Predicted:
        """Returns what is made of outputs and batches, for as many examples as there is time."""
        task = self.run.config.task
        _, loaded = self.loaded
        source = self.source

        @jax.jit
        def predict(params: Any, state: Any, batch: Any) -> Any:
            evaluated = evaluation_batch(task, batch)
            results = task.model_inputs(evaluated).feed(loaded.model.apply, params, state, None)
            return made(results[0], evaluated)

        order = np.random.default_rng(0).permutation(len(source))[: self._limits.examples]
        size = _batch_size(source, order)
        found: list[tuple[np.ndarray, Any]] = []
        started, unreadable = time.monotonic(), 0
        for first in range(0, len(order), size):
            if found and time.monotonic() - started > self._limits.seconds:
                break
            wanted = order[first : first + size]
            examples = [(index, _read(source, index)) for index in wanted]
            readable = [(index, example) for index, example in examples if example is not None]
            unreadable += len(examples) - len(readable)
            if not readable:
                continue
            indices = np.asarray([index for index, _ in readable])
            # The last batch is filled up, to compile nothing twice.
            filled = [example for _, example in readable]
            filled += [filled[-1]] * (size - len(filled))
            batch = jax.tree.map(lambda *leaves: np.stack(leaves), *map(dict, filled))
            values = jax.device_get(predict(loaded.params, loaded.state, batch))
            if not found:
                started = time.monotonic()  # The first one has compiled.
            real = slice(len(indices))
            found.append((indices, jax.tree.map(operator.itemgetter(real), values)))
        if not found:
            raise NotShown("no example can be read")
        indices = np.concatenate([each for each, _ in found])
        values = jax.tree.map(lambda *leaves: np.concatenate(leaves), *[each for _, each in found])
        rising = np.argsort(indices)
        return Predicted(
            indices=indices[rising],
            values=jax.tree.map(lambda leaf: leaf[rising], values),
            num_total=len(source),
            num_unreadable=unreadable,
        )


def _batch_size(source: Source, order: np.ndarray) -> int:
    """How many examples are computed at once, by the size of the first that can be read."""
    for index in order[:_BATCH]:
        example = _read(source, index)
        if example is not None:
            size = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(dict(example)))
            return min(_BATCH, len(order), max(_BATCH_BYTES // max(size, 1), 1))
    return min(_BATCH, len(order))


def _read(source: Source, index: int) -> Example | None:
    try:
        return source[int(index)]
    except CorruptExample:
        return None


def _as_reason(message: str) -> str:
    """Returns the first line of an error's message, to stand inside of a sentence."""
    line = message.strip().splitlines()[0] if message.strip() else "it failed"
    return line.rstrip(".:")
