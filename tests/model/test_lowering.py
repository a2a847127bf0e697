"""Models lower for every platform, from any: no operation is missing on one of them."""

import jax
import jax.export
import pytest

import perceiver_jax
from perceiver_jax.report.flops import count_jaxpr, total
from tests import tiny_models

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("name", tiny_models.ALL)
def test_forward_and_training_gradient_lower_for_every_platform(name):
    model = perceiver_jax.build(tiny_models.ALL[name]())
    params, state = model.abstract_params()
    inputs = model.example_inputs(2)

    def forward(params, state, *inputs):
        return model.apply(params, state, None, *inputs)[0]

    def train_gradient(params, state, rng, *inputs):
        def loss(params):
            outputs, new_state = model.apply(params, state, rng, *inputs, is_training=True)
            return sum((x**2).mean() for x in jax.tree.leaves(outputs)), new_state

        return jax.value_and_grad(loss, has_aux=True)(params)

    rng = jax.eval_shape(lambda: jax.random.key(0))
    for function, args in ((forward, inputs), (train_gradient, (rng, *inputs))):
        exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(params, state, *args)
        assert exported.platforms == PLATFORMS
        assert exported.in_avals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "route", "most"),
    [
        # Products, as a share of the definition's, of loss and gradients.
        ("imagenet_fourier", "auto", 0.93),
        ("imagenet_fourier", "folded", 0.93),
        ("imagenet_fourier", "streamed", 1.04),
        # Nothing is saved in text, and weights are computed again: a hundredth.
        ("mlm", "auto", 1.01),
        ("mlm", "folded", 1.13),
        ("optical_flow", "auto", 0.55),
        ("optical_flow", "streamed", 1.14),
    ],
)
def test_full_size_training_keeps_its_operation_count_on_accelerators(name, route, most):
    def traced(route):
        model = perceiver_jax.build(name, attention=route)
        params, state = model.abstract_params()

        def loss(params, state, rng, *inputs):
            outputs, new_state = model.apply(params, state, rng, *inputs, is_training=True)
            return sum((x**2).mean() for x in jax.tree.leaves(outputs)), new_state

        rng = jax.eval_shape(lambda: jax.random.key(0))
        gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
        return gradient.trace(params, state, rng, *model.example_inputs())

    program = traced(route)
    # One count for all platforms: where they differ, the most that any has.
    products, definition = (
        total(count_jaxpr(each.jaxpr)).matmul for each in (program, traced("plain"))
    )
    assert 0.5 * most < products / definition < most
    for platform in ("cuda", "tpu"):
        assert "stablehlo.dot_general" in program.lower(lowering_platforms=(platform,)).as_text()
