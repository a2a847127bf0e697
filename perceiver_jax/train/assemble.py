"""From a config to the parts of a run: mesh, model, data, optimiser, state."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from perceiver_jax.data.readers import first_readable
from perceiver_jax.data.shown import NamesClasses
from perceiver_jax.data.source import Example, Source, training_source
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.tasks.base import Batch, evaluation_batch, reads
from perceiver_jax.tasks.multilabel import MultilabelConfig
from perceiver_jax.train.config import ExperimentConfig
from perceiver_jax.train.mesh import check_batch_size, make_mesh
from perceiver_jax.train.optimizer import make_optimizer
from perceiver_jax.train.schedules import Schedule, make_schedule
from perceiver_jax.train.state import Model, StateFactory, TrainState
from perceiver_jax.train.step import (
    EvalStep,
    StepOptions,
    TrainStep,
    make_eval_step,
    make_train_step,
)


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a run is made of. Nothing has been allocated on the devices yet."""

    config: ExperimentConfig
    mesh: Mesh
    model: Model
    train_source: Source
    num_steps: int
    schedule: Schedule
    optimizer: optax.GradientTransformation
    state: StateFactory
    options: StepOptions
    notes: tuple[str, ...] = ()  # What a user should know, though nothing is wrong with it.

    @property
    def placed(self) -> TrainState:
        """The state's shardings."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.state.abstract())

    def train_step(self) -> TrainStep:
        """The step of training, compiled when it is first called."""
        return make_train_step(
            self.model,
            self.config.task,
            self.optimizer,
            self.schedule,
            seed=self.config.trainer.seed,
            placed=self.placed,
            mesh=self.mesh,
            options=self.options,
        )

    def eval_step(self) -> EvalStep:
        """The step of evaluation, compiled when it is first called."""
        return make_eval_step(
            self.model, self.config.task, placed=self.placed, mesh=self.mesh, options=self.options
        )

    @property
    def num_epochs(self) -> float:
        """Examples trained on, over those of the training set; see `examples_read`."""
        return self.num_steps * self.config.trainer.batch_size / len(self.train_source)

    @property
    def examples_read(self) -> int:
        """Examples that a step reads, over all devices: more than batch_size if it mixes them."""
        return self.config.trainer.batch_size * reads(self.config.task)


def build_model(config: Any) -> Model:
    """Returns the model that a config describes. The only place where the trainer gets one."""
    import perceiver_jax

    try:
        return perceiver_jax.build(config)
    except (ValueError, TypeError) as error:
        raise ModelError(f"The model of this config cannot be built: {error}") from error


def assemble(
    config: ExperimentConfig,
    model: Model | None = None,
    devices: Sequence[jax.Device] | None = None,
    evaluated: tuple[str, Source] | None = None,
) -> Parts:
    """Makes the parts of a run.

    Args:
      config: the experiment.
      model: used in place of the one that `config.model` describes.
      devices: those to use; None: all.
      evaluated: a split and its examples, if nothing is to be trained: then they stand for the
        training examples, which need not be there.

    Raises:
      UserError: something in the config does not fit the data or the devices.
    """
    trainer = config.trainer
    mesh = make_mesh(trainer.mesh, devices)
    check_batch_size(mesh, trainer.batch_size, "trainer.batch_size", trainer.accumulate)
    check_batch_size(mesh, trainer.eval_batch_size, "trainer.eval_batch_size")
    if model is None:
        model = build_model(config.model)
        check_outputs = True
    else:
        check_outputs = False  # It is not that of the config.
    if evaluated is None:
        source = training_source(config.data)
        example = first_example(config, source)
    else:
        split, source = evaluated
        example = first_readable(source, split, trainer.max_corrupt_examples)
    notes = _check_classes(config)
    if check_outputs:
        _check_outputs(config)
    _check_clips(config)
    if evaluated is None:
        notes += _batch_note(trainer.batch_size, len(source))

    steps_per_epoch = len(source) / trainer.batch_size
    if trainer.num_steps is not None:
        total_steps: float = trainer.num_steps
    else:
        assert trainer.num_epochs is not None  # the config has made sure of it
        total_steps = trainer.num_epochs * steps_per_epoch
    schedule = make_schedule(
        config.schedule,
        batch_size=trainer.batch_size,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
    )
    optimizer = make_optimizer(
        config.optimizer, schedule, frozen=config.frozen, learning_rates=config.learning_rates
    )
    return Parts(
        config=config,
        mesh=mesh,
        model=model,
        train_source=source,
        num_steps=max(int(total_steps), 1),
        schedule=schedule,
        optimizer=optimizer,
        state=StateFactory(
            model=model,
            optimizer=optimizer,
            inputs=_input_shapes(config, example, is_training=evaluated is None),
            seed=trainer.seed,
            mesh=mesh,
            layout=trainer.mesh,
            with_ema=trainer.ema_decay is not None,
        ),
        options=StepOptions(
            accumulate=trainer.accumulate,
            precision=trainer.precision,
            remat=trainer.remat,
            ema_decay=trainer.ema_decay,
            frozen=config.frozen,
        ),
        notes=notes,
    )


def _check_classes(config: ExperimentConfig) -> tuple[str, ...]:
    """Returns a note if the task has classes that the data have not.

    Raises:
      ConfigError: the data have classes that the task has not; or others than it has, where an
        example has a label for each.
    """
    data, num_classes = config.data, getattr(config.task, "num_classes", None)
    if num_classes is None or not isinstance(data, NamesClasses):
        return ()
    count = len(data.class_names())
    # With several labels an example has a 0 or a 1 for each class that there is.
    for_each = isinstance(config.task, MultilabelConfig) and count != num_classes
    if count > num_classes or for_each:
        lack = "labels would have no output" if count > num_classes else "outputs have no label"
        raise ConfigError(
            f"The data have {count:,} classes, and task.num_classes={num_classes:,}: {lack}. "
            f"Give --config.task.num_classes={count} and as many to the model: "
            f"--config.model.decoder.num_classes={count} for most, "
            f"--config.model.num_classes={count} for baselines."
        )
    if count < num_classes:
        return (
            f"the data have {count:,} classes and the model {num_classes:,} outputs: the others "
            "learn that they never occur",
        )
    return ()


def _check_outputs(config: ExperimentConfig) -> None:
    """Makes sure that the model has an output for each class of the task, before all else.

    The task would find out itself, when the first step is compiled.

    Raises:
      ConfigError: it has others, by its config; names the flag.
    """
    num_classes = getattr(config.task, "num_classes", None)
    for path in ("postprocessor.num_classes", "decoder.num_classes", "num_classes"):
        *parts, name = path.split(".")
        part = getattr(config.model, parts[0], None) if parts else config.model
        outputs = getattr(part, name, None)
        if outputs is None or num_classes is None:
            continue
        if outputs != num_classes:
            raise ConfigError(
                f"The model has {outputs:,} outputs, and task.num_classes={num_classes:,}: it must "
                f"have as many as the task has classes. Give --config.model.{path}={num_classes}."
            )
        return


def _batch_note(batch_size: int, examples: int) -> tuple[str, ...]:
    """Returns a note if a step reads examples more than once."""
    if batch_size <= examples:
        return ()
    return (
        f"a batch of {batch_size:,} is more than all {examples:,} examples to train on: each is in "
        f"it {batch_size / examples:.1f} times. Smaller: --config.trainer.batch_size",
    )


def _check_clips(config: ExperimentConfig) -> None:
    """Makes sure that the task averages as many clips as the data cut to evaluate.

    Training would go well, for as long as nothing is evaluated.

    Raises:
      ConfigError: it averages others.
    """
    cut = getattr(config.data, "eval_clips", None)
    averaged = getattr(config.task, "clips", None)
    if not hasattr(config.data, "eval_clips") or cut == averaged:
        return
    given = "none" if averaged is None else averaged
    told = f"the clips of a recording that are evaluated: data.eval_clips={cut or 'none'}"
    if not hasattr(config.task, "clips"):
        raise ConfigError(
            f"{type(config.task).__name__} does not average {told}. Give "
            "--config.data.eval_clips=none, or another task."
        )
    raise ConfigError(
        f"task.clips={given} must be as many as {told}. Give --config.task.clips={cut or 'none'}, "
        f"or --config.data.eval_clips={given}."
    )


def _input_shapes(
    config: ExperimentConfig, example: Example, *, is_training: bool
) -> tuple[Any, ...]:
    """Returns the shapes of the model's inputs for a batch of one example."""
    task = config.task
    batch = jax.tree.map(lambda value: np.asarray(value)[None], dict(example))

    def inputs(read: Batch) -> tuple[Any, ...]:
        return task.model_inputs(read if is_training else evaluation_batch(task, read)).inputs

    return jax.eval_shape(inputs, batch)


def first_example(config: ExperimentConfig, source: Source) -> Example:
    """Returns an example of the training set as it goes into a batch: the first that is whole."""
    return first_readable(
        source,
        "train",
        config.trainer.max_corrupt_examples,
        lambda example: config.data.augment(example, np.random.default_rng(0)),
    )
