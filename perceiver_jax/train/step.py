"""One step of training, and one of evaluation: pure functions, compiled once."""

import dataclasses
from collections.abc import Callable

import jax
import optax
from jax.sharding import Mesh, NamedSharding

from perceiver_jax.tasks.base import Batch, Mean, Task
from perceiver_jax.train import mesh as mesh_lib
from perceiver_jax.train.schedules import Schedule
from perceiver_jax.train.state import Model, TrainState, step_key

Metrics = dict[str, jax.Array]  # [] float32 by name
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
EvalStep = Callable[[TrainState, Batch], dict[str, Mean]]


def make_train_step(
    model: Model,
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    *,
    seed: int,
    placed: TrainState,
    mesh: Mesh,
) -> TrainStep:
    """Returns the compiled step: (state, batch) -> (next state, metrics of the step).

    The state is donated: its memory is used for the next one. Losses are means over the global
    batch, whatever the number of devices, and so are gradients.

    Args:
      model: the model.
      task: the loss and the metrics.
      optimizer: turns gradients into updates.
      schedule: the learning rate, to report it.
      seed: with the step, decides the key for dropout and the like.
      placed: the state's shardings, a `TrainState` of them.
      mesh: the devices.
    """

    def loss_fn(
        params: object, state: TrainState, batch: Batch
    ) -> tuple[jax.Array, tuple[object, dict[str, Mean]]]:
        call = task.model_inputs(batch)
        outputs, model_state = model.apply(
            params,
            state.model_state,
            step_key(seed, state.step),
            *call.inputs,
            is_training=True,
            input_mask=call.input_mask,
            query_mask=call.query_mask,
            subsampled_output_points=call.subsampled_output_points,
        )
        means = task.measure(outputs, batch, is_training=True)
        return means["loss"].value, (model_state, means)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, (model_state, means) = jax.grad(loss_fn, has_aux=True)(
            state.params, state, batch
        )
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {name: mean.value for name, mean in means.items()}
        metrics["learning_rate"] = schedule(state.step)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["parameter_norm"] = optax.tree.norm(params)
        return dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
        ), metrics

    return jax.jit(
        train_step,
        in_shardings=(placed, NamedSharding(mesh, mesh_lib.BATCH)),
        out_shardings=(placed, NamedSharding(mesh, mesh_lib.REPLICATED)),
        donate_argnums=0,
    )


def make_eval_step(model: Model, task: Task, *, placed: TrainState, mesh: Mesh) -> EvalStep:
    """Returns the compiled evaluation of a batch, to be added up over batches; draws no key."""

    def eval_step(state: TrainState, batch: Batch) -> dict[str, Mean]:
        call = task.model_inputs(batch)
        outputs, _ = model.apply(
            state.params,
            state.model_state,
            None,
            *call.inputs,
            is_training=False,
            input_mask=call.input_mask,
            query_mask=call.query_mask,
            subsampled_output_points=call.subsampled_output_points,
        )
        return task.measure(outputs, batch, is_training=False)

    return jax.jit(
        eval_step,
        in_shardings=(placed, NamedSharding(mesh, mesh_lib.BATCH)),
        out_shardings=NamedSharding(mesh, mesh_lib.REPLICATED),
    )
