"""The training state, and how it comes to lie on the mesh."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from perceiver_jax.errors import ModelError
from perceiver_jax.train.config import MeshConfig
from perceiver_jax.train.sharding import shardings
from perceiver_jax.zoo import Execution

Tree = Any


class Model(Protocol):
    """What the trainer needs of a model; `perceiver_jax.build` returns one."""

    def num_params(self) -> int:
        """Number of trainable values."""

    def init(self, rng: jax.Array, *inputs: Any) -> tuple[Tree, Tree]:
        """Returns (params, state)."""

    def apply(
        self,
        params: Tree,
        state: Tree,
        rng: jax.Array | None,
        *inputs: Any,
        is_training: bool = False,
        input_mask: jax.Array | None = None,
        query_mask: Any = None,
        subsampled_output_points: Any = None,
        execution: Execution = Execution(),
        frozen_state: tuple[str, ...] = (),
    ) -> Any:
        """Returns (outputs, state). `frozen_state` is given only where it names something."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that changes from step to step, and nothing else."""

    step: jax.Array  # [] int32: updates done so far.
    params: Mapping[str, Mapping[str, jax.Array]]  # module -> name -> array
    model_state: Mapping[str, Mapping[str, jax.Array]]  # Running statistics; often empty.
    opt_state: optax.OptState  # Moments and counts of the optimiser.
    ema: Mapping[str, Mapping[str, jax.Array]] | None = None  # Average of past params, if kept.

    @property
    def evaluated_params(self) -> Mapping[str, Mapping[str, jax.Array]]:
        """The parameters that evaluation uses: the average of past ones where there is one."""
        return self.params if self.ema is None else self.ema


def init_key(seed: int) -> jax.Array:
    """The key that parameters are drawn with."""
    return jax.random.split(jax.random.key(seed))[0]


def step_key(seed: int, step: jax.typing.ArrayLike) -> jax.Array:
    """The key of one step, a function of (seed, step): nothing random is carried along."""
    return jax.random.fold_in(jax.random.split(jax.random.key(seed))[1], step)


def batch_key(seed: int, step: jax.typing.ArrayLike) -> jax.Array:
    """The key with which a step makes its batch out of what was read; see `tasks.MakesBatches`."""
    # Numbers from 0 on are those of the parts of a batch, for which the model draws.
    return jax.random.fold_in(step_key(seed, step), 2**31 - 1)


@dataclasses.dataclass(frozen=True)
class StateFactory:
    """Makes the training state, abstractly (for shapes, shardings, restoring) or for real."""

    model: Model
    optimizer: optax.GradientTransformation
    inputs: tuple[Any, ...]  # Shapes (`jax.ShapeDtypeStruct`) of the model's inputs, batch of 1.
    seed: int
    mesh: Mesh
    layout: MeshConfig = MeshConfig()  # Its rules say where the arrays lie.
    with_ema: bool = False  # Whether an average of the parameters is kept.

    def _init(self) -> TrainState:
        # Initial values depend on shapes only: zeros will do, and any batch size.
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self.inputs)
        params, model_state = self.model.init(init_key(self.seed), *blank)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            model_state=model_state,
            opt_state=self.optimizer.init(params),
            ema=params if self.with_ema else None,
        )

    def abstract(self) -> TrainState:
        """Returns the state's shapes and shardings; allocates nothing.

        Raises:
          ModelError: the parts of the model do not fit each other, or the inputs.
        """
        return self._abstract

    @functools.cached_property
    def _abstract(self) -> TrainState:
        try:
            shapes = jax.eval_shape(self._init)
        except (ValueError, TypeError) as error:
            # Some widths only meet when the model is traced.
            raise ModelError(f"The model of this config cannot be built: {error}") from error
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            shapes,
            shardings(shapes, self.mesh, self.layout),
        )

    def create(self) -> TrainState:
        """Returns the state at step 0, each array made where it will lie."""
        placed = jax.tree.map(lambda leaf: leaf.sharding, self.abstract())
        return jax.jit(self._init, out_shardings=placed)()
