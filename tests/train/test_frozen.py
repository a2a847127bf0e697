"""Parts that do not train: equal to the bit, unknown to the optimiser, and at no cost."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.errors import ConfigError
from perceiver_jax.train import config as configs
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.frozen import keep_frozen
from perceiver_jax.train.mesh import put_batch
from perceiver_jax.train.optimizer import make_optimizer
from tests.random_params import model_params
from tests.train.tiny_experiment import tiny


def experiment(**changes):
    """Digits, read by a stem with batch norm and a Perceiver of a few hundred parameters."""
    model = zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig(
            (8, 8),
            channels=1,
            prep="conv",
            prep_channels=7,
            spatial_downsample=4,
            position=zoo.FourierConfig(num_bands=1),
        ),
        encoder=zoo.EncoderConfig(
            num_latents=3,
            latent_channels=4,
            num_blocks=1,
            self_attends_per_block=1,
            self_attend_heads=2,
        ),
        decoder=zoo.ClassificationDecoderConfig(10, query_channels=5),
    )
    return config_lib.override(tiny(), {"model": model, **changes})


def step_of(parts):
    """The compiled step, and a batch for it."""
    examples = [parts.train_source[i] for i in range(24)]
    batch = {name: np.stack([each[name] for each in examples]) for name in examples[0]}
    return parts.train_step(), put_batch(batch, parts.mesh)


def initial(parts):
    """A state of which no parameter is zero, as a fresh output layer is."""
    abstract = parts.state.abstract()
    params, model_state = model_params(parts.model)
    opt_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), abstract.opt_state)
    return dataclasses.replace(
        abstract,
        step=np.int32(0),
        params=params,
        model_state=jax.tree.map(
            lambda leaf, like: np.asarray(0.7 * leaf, like.dtype), model_state, model_state
        ),
        opt_state=opt_state,
    )


@functools.cache
def trained(steps: int, *frozen: str):
    """The states before and after some steps, and the last metrics."""
    parts = assemble(experiment(frozen=frozen))
    step, batch = step_of(parts)
    state = before = initial(parts)
    for i in range(steps):
        state, metrics = step(state, batch, i)
    return before, state, metrics


def leaves(tree):
    return {
        f"{module}/{name}": np.asarray(x) for module in tree for name, x in tree[module].items()
    }


@pytest.mark.core
def test_what_is_frozen_stays_equal_to_the_bit_and_the_rest_learns():
    before, after, _ = trained(3, "perceiver_encoder", "*/conv/w")
    old, new = leaves(before.params), leaves(after.params)
    assert old.keys() == new.keys()
    same = {name for name in old if old[name].tobytes() == new[name].tobytes()}
    frozen = {n for n in old if n.startswith("perceiver_encoder/") or n.endswith("/conv/w")}
    assert same == frozen
    assert len(frozen) > 20 and len(old) - len(frozen) > 10


def test_the_optimiser_does_not_know_what_is_frozen():
    parts = assemble(experiment(frozen=("perceiver_encoder",)))
    state = parts.state.abstract()
    moments = [
        each for each in jax.tree.leaves(state.opt_state, is_leaf=_is_adam) if _is_adam(each)
    ]
    expected = {module for module in state.params if not module.startswith("perceiver_encoder")}
    assert set(moments[0].mu) == set(moments[0].nu) == expected
    assert 0 < len(expected) < len(state.params)
    values = sum(leaf.size for leaf in jax.tree.leaves((moments[0].mu, moments[0].nu)))
    all_values = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    frozen = sum(
        leaf.size for m in state.params if m not in expected for leaf in state.params[m].values()
    )
    assert values == 2 * (all_values - frozen)


def _is_adam(node):
    return isinstance(node, optax.ScaleByAdamState)


def products(**changes):
    """How many matrix products and convolutions the compiled step has."""
    parts = assemble(experiment(**changes))
    step, batch = step_of(parts)
    text = step.lower(parts.state.abstract(), batch, 0).as_text()
    return collections.Counter(
        name
        for name in ("dot_general", "convolution")
        for _ in range(text.count(f"stablehlo.{name}"))
    )


def test_nothing_is_computed_for_the_gradient_of_what_is_frozen():
    everything = products()
    encoder = products(frozen=("perceiver_encoder",))
    upstream = products(frozen=("perceiver_encoder", "image_preprocessor"))
    one_layer = products(frozen=("perceiver_encoder/~/self_attention/mlp/linear",))
    # A layer that the gradient passes through saves the product that makes its own, and the sum for
    # its bias, which CPUs take as a product.
    assert everything["dot_general"] - one_layer["dot_general"] == 2
    # The encoder has 12 linear layers, whose own gradients are saved.
    layers = 12
    assert everything["dot_general"] - encoder["dot_general"] >= layers
    assert encoder["convolution"] == everything["convolution"] == 2  # forward, and its gradient
    # With the stem frozen too, the backward pass ends at the decoder.
    assert upstream["convolution"] == 1
    assert upstream["dot_general"] < encoder["dot_general"] - layers


def loss_fn(parts):
    """The loss of a batch as a function of (params, state), compiled; without the trainer."""
    _, batch = step_of(parts)
    call = parts.config.task.model_inputs(batch)

    def loss(params, state, is_training):
        outputs, _ = parts.model.apply(params, state, None, *call.inputs, is_training=is_training)
        return parts.config.task.measure(outputs, batch, is_training=True)["loss"].value

    return loss


# The stem by its parameters, so that its running statistics are not frozen.
STEM_PARAMETERS = ("*/conv", "*/batchnorm/scale", "*/batchnorm/offset")
ALL_BUT_OUTPUT = (
    "perceiver_encoder",
    "*basic_decoder/~",
    "*basic_decoder/cross_attention",
    *STEM_PARAMETERS,
)


def test_the_gradient_norm_is_that_of_what_trains():
    before, _, metrics = trained(1, *ALL_BUT_OUTPUT)
    loss = loss_fn(assemble(experiment()))
    gradients = jax.jit(jax.grad(lambda params: loss(params, before.model_state, True)))(
        before.params
    )
    output = gradients["classification_decoder/~/basic_decoder/output"]
    expected = np.sqrt(sum((np.asarray(x, np.float64) ** 2).sum() for x in output.values()))
    assert float(metrics["gradient_norm"]) == pytest.approx(expected, rel=1e-5)


def test_clipping_does_not_count_what_is_frozen():
    # By hand: of gradients (3, 4) the norm is 5; with the second frozen it is 3.
    params = {"a": {"w": jnp.array([1.0])}, "b": {"w": jnp.array([2.0])}}
    gradients = {"a": {"w": jnp.array([3.0])}, "b": {"w": jnp.array([4.0])}}
    config = configs.Adam(max_norm=1.0, weight_decay=0.0)
    for frozen, expected in (((), 0.6), (("b",), 1.0)):
        optimizer = make_optimizer(config, lambda step: jnp.float32(0.1), frozen=frozen)
        _, state = optimizer.update(gradients, optimizer.init(params), params)
        moments = [each for each in jax.tree.leaves(state, is_leaf=_is_adam) if _is_adam(each)]
        # mu is a tenth of the clipped gradient after one step.
        np.testing.assert_allclose(moments[0].mu["a"]["w"], [0.1 * expected], rtol=1e-6)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    assert set(updates) == {"a"}


def test_batch_norm_of_a_frozen_stem_is_that_of_evaluation():
    before, after, metrics = trained(1, "image_preprocessor")
    old, new = leaves(before.model_state), leaves(after.model_state)
    assert len(old) == 6  # Of mean and variance: an average, a hidden value, a counter.
    for name in old:
        assert old[name].tobytes() == new[name].tobytes(), name
    # It uses them: no other module tells training from evaluation.
    loss = loss_fn(assemble(experiment()))
    evaluated = jax.jit(lambda: loss(before.params, before.model_state, False))()
    assert float(metrics["loss"]) == pytest.approx(float(evaluated), rel=1e-5)
    # Frozen by its parameters alone, it goes by the batch, and its statistics follow.
    _, after, metrics = trained(1, *ALL_BUT_OUTPUT)
    moved = leaves(after.model_state)
    assert all((moved[name] != old[name]).all() for name in old)
    assert abs(float(metrics["loss"]) - float(evaluated)) > 1e-3


def test_accumulated_and_averaged():
    frozen = ("perceiver_encoder", "image_preprocessor")
    norms = []
    for changes in ({}, {"trainer.accumulate": 3, "trainer.ema_decay": 0.9}):
        parts = assemble(experiment(frozen=frozen, **changes))
        step, batch = step_of(parts)
        state = before = initial(parts)
        if state.ema is not None:
            state = dataclasses.replace(state, ema=before.params)
        for i in range(2):
            state, metrics = step(state, batch, i)
            norms.append(float(metrics["gradient_norm"]))
    np.testing.assert_allclose(norms[2:], norms[:2], rtol=1e-4)
    old, new, average = leaves(before.params), leaves(state.params), leaves(state.ema)
    for name in old:
        if name.startswith(frozen):
            assert old[name].tobytes() == new[name].tobytes() == average[name].tobytes(), name
        else:
            assert (average[name] != new[name]).any(), name


def test_keep_frozen_keeps_single_arrays():
    old = {"m": {"a": 1, "b": 2}, "n": {"a": 3}}
    new = {"m": {"a": 10, "b": 20}, "n": {"a": 30}}
    assert keep_frozen(old, new, ["m/b", "n"]) == {"m": {"a": 10, "b": 2}, "n": {"a": 3}}
    assert keep_frozen(old, new, ()) is new


def test_mistakes_are_found_before_anything_is_made():
    with pytest.raises(
        ConfigError, match=r"frozen: 'perceiver_encodr' .*Did you mean perceiver_enc"
    ):
        assemble(experiment(frozen=("perceiver_encodr",))).state.abstract()
    with pytest.raises(ConfigError, match=r"frozen=\* names all parameters .* Leave out a part"):
        assemble(experiment(frozen=("*",))).state.abstract()
