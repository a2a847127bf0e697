"""Baselines lower for every platform, from any."""

import jax
import jax.export
import pytest

import perceiver_jax
from perceiver_jax.model.execution import Execution
from tests.model.baselines import tiny

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@pytest.mark.parametrize("name", tiny.ALL)
def test_training_gradient_lowers_for_every_platform(name, dtype):
    model = perceiver_jax.build(tiny.ALL[name])
    params, state = model.abstract_params()

    def train_gradient(params, state, images):
        def loss(params):
            logits, new_state = model.apply(
                params, state, None, images,
                is_training=True, execution=Execution(compute_dtype=dtype),
            )  # fmt: skip
            return (logits**2).mean(), new_state

        return jax.value_and_grad(loss, has_aux=True)(params)

    exported = jax.export.export(jax.jit(train_gradient), platforms=PLATFORMS)(
        params, state, *model.example_inputs(2)
    )
    assert exported.platforms == PLATFORMS
