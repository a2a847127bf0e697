"""One step of training, and one of evaluation: pure functions, compiled once."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from perceiver_jax.tasks.base import (
    Batch,
    Collects,
    Mean,
    Task,
    evaluation_batch,
    training_batch,
)
from perceiver_jax.train import mesh as mesh_lib
from perceiver_jax.train import patterns
from perceiver_jax.train.frozen import apply_with_frozen, keep_frozen
from perceiver_jax.train.schedules import Schedule
from perceiver_jax.train.sharding import gathered
from perceiver_jax.train.state import Model, TrainState, batch_key, step_key
from perceiver_jax.zoo import Execution, Remat

Metrics = dict[str, jax.Array]  # [] float32 by name, and TAKEN
TrainStep = Callable[[TrainState, Batch, jax.typing.ArrayLike], tuple[TrainState, Metrics]]
# What a task collects of a batch, [B, ...] by name, and the batch's mask as MASK; mostly empty.
Collected = dict[str, jax.Array]
EvalStep = Callable[[TrainState, Batch], tuple[dict[str, Mean], Collected]]

# Metrics of every step; the last, of running statistics, of models that have some.
MUST_BE_FINITE = ("loss", "gradient_norm", "parameter_norm", "statistics_norm")
MASK = "mask"  # [B] Among what is collected: 0 for examples that count for nothing.
TAKEN = "taken"  # Among the metrics: [] bool, whether the step was taken. No metric to be logged.


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How a step is computed. Only `ema_decay`, `frozen` and, for models with dropout or batch
    norm, `accumulate` change what is learned, beyond rounding."""

    accumulate: int = 1  # Parts that the batch is computed in, one after the other.
    precision: str = "float32"  # Of activations: float32 or bfloat16.
    remat: Remat = "none"  # What the backward pass computes again.
    ema_decay: float | None = None  # Of the average of past parameters; None: there is none.
    frozen: tuple[str, ...] = ()  # Patterns of what does not train, as the optimiser has them.

    def execution(self, mesh: Mesh) -> Execution:
        """What the model is told of it."""
        return Execution(
            compute_dtype="bfloat16" if self.precision == "bfloat16" else None,
            remat=self.remat,
            batch=NamedSharding(mesh, mesh_lib.BATCH) if mesh.size > 1 else None,
        )


def make_train_step(
    model: Model,
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    *,
    seed: int,
    placed: TrainState,
    mesh: Mesh,
    options: StepOptions = StepOptions(),
) -> TrainStep:
    """Returns the compiled step: (state, batch, step) -> (next state, metrics of the step).

    The state is donated: its memory is used for the next one. Losses are means over the global
    batch, whatever the number of devices, and so are gradients.
    The batch is what was read; a task may make another of it to train on (`MakesBatches`).

    `step` is the number of updates done before. A state that is not at that step is handed back as
    it is, and so is one whose update would not be finite: its metrics then show why. So after a
    failure the state stays that of the step that failed, although further steps may be under way.

    Args:
      model: the model.
      task: the loss and the metrics.
      optimizer: turns gradients into updates.
      schedule: the learning rate, to report it.
      seed: with the step, decides the key for dropout and the like.
      placed: the state's shardings, a `TrainState` of them.
      mesh: the devices.
      options: precision, memory, averaging.
    """
    loss_and_gradients = make_gradients(
        model, task, seed=seed, placed=placed, mesh=mesh, options=options
    )

    def train_step(state: TrainState, batch: Batch, step: jax.Array) -> tuple[TrainState, Metrics]:
        gradients, model_state, means = loss_and_gradients(state, batch)
        trained, fixed = patterns.split(state.params, options.frozen)
        updates, opt_state = optimizer.update(gradients, state.opt_state, trained)
        params = patterns.join(optax.apply_updates(trained, updates), fixed)
        metrics = {name: mean.value for name, mean in means.items()}
        metrics["learning_rate"] = schedule(state.step)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["parameter_norm"] = optax.tree.norm(params)
        statistics = [
            leaf
            for leaf in jax.tree.leaves(model_state)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
        ]
        if statistics:
            metrics["statistics_norm"] = optax.tree.norm(statistics)
        following = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema=_averaged(state, params, options.ema_decay),
        )
        good = state.step == step
        for name in MUST_BE_FINITE:
            if name in metrics:
                good &= jnp.isfinite(metrics[name])
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), following, state)
        return kept, {**metrics, TAKEN: good}

    return jax.jit(
        train_step,
        in_shardings=(placed, NamedSharding(mesh, mesh_lib.BATCH), None),
        out_shardings=(placed, NamedSharding(mesh, mesh_lib.REPLICATED)),
        donate_argnums=0,
    )


def make_gradients(
    model: Model,
    task: Task,
    *,
    seed: int,
    placed: TrainState,
    mesh: Mesh,
    options: StepOptions = StepOptions(),
) -> Callable[[TrainState, Batch], tuple[Any, Any, dict[str, Mean]]]:
    """Returns the function (state, batch read) -> (gradients, next model state, metrics).

    Gradients are those of what trains: frozen parameters have none.
    """
    execution = options.execution(mesh)
    apply = partial(
        apply_with_frozen(model, placed.model_state, options.frozen),
        is_training=True,
        execution=execution,
    )
    placed_gradients, _ = patterns.split(placed.params, options.frozen)
    used = jax.tree.map(gathered, placed.params)

    def gather(params: Any) -> Any:
        # Once a step, although most are used several times: the towers share theirs. Left to
        # itself the compiler would rather send activations around, which are far larger.
        return jax.lax.with_sharding_constraint(params, used) if mesh.size > 1 else params

    def measure(
        params: Any, model_state: Any, batch: Batch, key: jax.Array
    ) -> tuple[dict[str, Mean], Any]:
        call = task.model_inputs(batch)
        outputs, new_state = call.feed(apply, gather(params), model_state, key)
        new_state = keep_frozen(model_state, new_state, options.frozen)
        return task.measure(outputs, batch, is_training=True), new_state

    def whole(state: TrainState, batch: Batch) -> tuple[Any, Any, dict[str, Mean]]:
        trained, fixed = patterns.split(state.params, options.frozen)

        def loss(trained: Any) -> tuple[jax.Array, Any]:
            key = step_key(seed, state.step)
            params = patterns.join(trained, fixed)
            means, model_state = measure(params, state.model_state, batch, key)
            return means["loss"].value, (model_state, means)

        gradients, (model_state, means) = jax.grad(loss, has_aux=True)(trained)
        return jax.lax.with_sharding_constraint(gradients, placed_gradients), model_state, means

    def in_parts(state: TrainState, batch: Batch) -> tuple[Any, Any, dict[str, Mean]]:
        """Adds up sums, not means: parts may hold different numbers of examples that count."""
        key = step_key(seed, state.step)
        trained, fixed = patterns.split(state.params, options.frozen)

        def add_part(carry: Any, part: Any) -> Any:
            gradients, model_state = carry
            index, examples = part

            def loss(trained: Any) -> tuple[jax.Array, Any]:
                params = patterns.join(trained, fixed)
                means, new_state = measure(
                    params, model_state, examples, jax.random.fold_in(key, index)
                )
                return means["loss"].total, (new_state, means)

            more, (model_state, means) = jax.grad(loss, has_aux=True)(trained)
            gradients = jax.tree.map(jnp.add, gradients, more)
            gradients = jax.lax.with_sharding_constraint(gradients, placed_gradients)
            return (gradients, model_state), means

        blank = jax.tree.map(jnp.zeros_like, trained)
        parts = _split(batch, options.accumulate, mesh)
        (gradients, model_state), means = jax.lax.scan(
            add_part, (blank, state.model_state), (jnp.arange(options.accumulate), parts)
        )
        means = jax.tree.map(lambda values: jnp.sum(values, axis=0), means)
        weight = jnp.maximum(means["loss"].weight, jnp.finfo(jnp.float32).tiny)
        return jax.tree.map(lambda total: total / weight, gradients), model_state, means

    compute = whole if options.accumulate == 1 else in_parts

    def gradients_of_step(state: TrainState, read: Batch) -> tuple[Any, Any, dict[str, Mean]]:
        # Before there are parts: what is drawn for an example must not depend on their number.
        return compute(state, make_batch(task, read, seed=seed, step=state.step, mesh=mesh))

    return gradients_of_step


def make_batch(
    task: Task, read: Batch, *, seed: int, step: jax.typing.ArrayLike, mesh: Mesh
) -> Batch:
    """Returns the batch [B, ...] to train on, out of what was read for it, [B * reads, ...].

    Args:
      task: says how; most train on what is read.
      read: split over the devices, as the result is.
      seed: with the step, decides all that is random about it.
      step: the number of updates done before.
      mesh: the devices.
    """
    batch = training_batch(task, read, batch_key(seed, step))
    return jax.lax.with_sharding_constraint(batch, NamedSharding(mesh, mesh_lib.BATCH))


def _split(batch: Batch, parts: int, mesh: Mesh) -> Batch:  # [B, ...] -> [parts, B / parts, ...]
    """Part i gets examples i, i + parts, ...: so none has to move to another device."""
    spec = PartitionSpec(None, *mesh_lib.BATCH)

    def deal(x: jax.Array) -> jax.Array:
        x = jnp.swapaxes(x.reshape(x.shape[0] // parts, parts, *x.shape[1:]), 0, 1)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    return jax.tree.map(deal, batch)


def _averaged(state: TrainState, params: Any, decay: float | None) -> Any:
    """The average of the parameters so far, which weighs the newest by 1 - decay.

    At the start it looks back less far, over some ten steps at first, so that initial values are
    soon forgotten.
    """
    if decay is None:
        return None
    step = state.step.astype(jnp.float32)
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + rate * (new - old), state.ema, params)


def make_eval_step(
    model: Model,
    task: Task,
    *,
    placed: TrainState,
    mesh: Mesh,
    options: StepOptions = StepOptions(),
) -> EvalStep:
    """Returns the compiled evaluation of a batch, to be added up over batches; draws no key.

    What a task collects (`Collects`) is handed back whole, [B, ...] of the global batch, to every
    process.
    """
    execution = dataclasses.replace(options.execution(mesh), remat="none")

    apply = partial(model.apply, is_training=False, execution=execution)

    split = NamedSharding(mesh, mesh_lib.BATCH)

    def eval_step(state: TrainState, read: Batch) -> tuple[dict[str, Mean], Collected]:
        batch = jax.lax.with_sharding_constraint(evaluation_batch(task, read), split)
        call = task.model_inputs(batch)
        outputs, _ = call.feed(apply, state.evaluated_params, state.model_state, None)
        means = task.measure(outputs, batch, is_training=False)
        if not isinstance(task, Collects):
            return means, {}
        return means, {**task.collect(outputs, batch), MASK: batch["mask"]}

    return jax.jit(
        eval_step,
        in_shardings=(placed, split),
        out_shardings=NamedSharding(mesh, mesh_lib.REPLICATED),
    )
