"""What must hold for every model: masks hide, examples are independent, evaluation has no key."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.model.position_encoding import LearnedConfig
from tests import golden_cases, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("highest_precision", "quick_compilation")

NUM_INPUTS = {
    "classifier": 35,
    "language_model": 11,
    "optical_flow": 15,
    "video_autoencoder": 18,
}


def random_inputs(model: perceiver_jax.Model, batch_size: int, seed: int = 0) -> tuple[Any, ...]:
    """Inputs of a model; token ids come without a mask."""
    rng = np.random.default_rng(seed)

    def draw(x):
        if jnp.issubdtype(x.dtype, jnp.integer):
            return rng.integers(6, 262, x.shape, np.int32)
        return rng.standard_normal(x.shape).astype(np.float32)

    return tuple(jax.tree.map(draw, model.example_inputs(batch_size)[:1]))


@functools.cache
def built(name: str):
    """A tiny model, its parameters, and its compiled evaluation."""
    model = perceiver_jax.build(tiny_models.ALL[name]())
    params, state = model_params(model)

    @jax.jit
    def evaluate(params, *inputs, **kwargs):
        return model.apply(params, state, None, *inputs, **kwargs)[0]

    return model, params, evaluate


@pytest.mark.parametrize("name", tiny_models.ALL)
def test_evaluation_is_a_function_of_each_example_alone(name):
    model, params, evaluate = built(name)
    inputs = random_inputs(model, 3)
    others = random_inputs(model, 3, seed=1)
    mixed = jax.tree.map(lambda x, y: np.concatenate([x[:1], y[1:]]), inputs, others)
    for out, other in zip(
        jax.tree.leaves(evaluate(params, *inputs)),
        jax.tree.leaves(evaluate(params, *mixed)),
        strict=True,
    ):
        np.testing.assert_array_equal(out[0], other[0])
        assert not np.allclose(out[1], other[1], atol=1e-3)


def hide_some(name: str, inputs: Any, others: Any) -> tuple[np.ndarray, Any]:
    """A mask of inputs of the first example, and inputs that differ only where it hides them."""
    mask = np.ones((2, NUM_INPUTS[name]), np.int32)
    changed = jax.tree.map(np.copy, inputs)
    if name == "classifier":
        mask[0, 7 + 2] = 0
        changed[0, 1, 2] = others[0, 1, 2]
    elif name == "language_model":
        mask[0, 4:7] = 0
        changed[0, 4:7] = others[0, 4:7]
    elif name == "video_autoencoder":
        mask[0, :5] = 0  # All sound, which stands first, in alphabetical order.
        changed["audio"][0] = others["audio"][0]
    else:  # A pixel is part of its neighbours' elements too: hide the whole example.
        mask[0] = 0
        changed[0] = others[0]
    return mask, changed


@pytest.mark.parametrize("name", tiny_models.ALL)
def test_masked_inputs_have_no_influence(name):
    model, params, evaluate = built(name)
    (inputs,), (others,) = random_inputs(model, 2), random_inputs(model, 2, seed=1)
    mask, changed = hide_some(name, inputs, others)
    if name == "optical_flow":
        # The inputs are also the output queries, which nothing hides: look at the latents' maps.
        evaluate = jax.jit(
            lambda params, x, input_mask: model.apply(
                params, {}, None, x, input_mask=input_mask, capture="*self_attention*"
            )[2]
        )
    hidden = evaluate(params, inputs, input_mask=mask)
    same = evaluate(params, changed, input_mask=mask)
    jax.tree.map(np.testing.assert_array_equal, hidden, same)
    # Without the mask, they do have influence.
    shown = evaluate(params, changed, input_mask=np.ones_like(mask))
    assert not np.array_equal(jax.tree.leaves(hidden)[0][0], jax.tree.leaves(shown)[0][0])


def test_gradient_of_masked_inputs_is_zero():
    model, params, evaluate = built("classifier")
    (images,) = random_inputs(model, 2)
    mask = np.random.default_rng(2).integers(0, 2, (2, 35))
    gradient = jax.jit(
        jax.grad(lambda x: jnp.sin(evaluate(params, x, input_mask=jnp.asarray(mask))).sum())
    )(images)
    gradient = np.asarray(gradient).reshape(2, 35)
    np.testing.assert_array_equal(gradient[mask == 0], 0.0)
    assert (gradient[mask == 1] != 0).all()


def test_example_without_inputs_is_finite_and_so_are_its_gradients():
    model, params, evaluate = built("classifier")
    (images,) = random_inputs(model, 2)
    mask = jnp.ones((2, 35)).at[0].set(0)
    value, gradients = jax.jit(
        jax.value_and_grad(lambda p: jnp.sin(evaluate(p, images, input_mask=mask)).sum())
    )(params)
    assert np.isfinite(value)
    for path, gradient in golden_cases.flatten(gradients).items():
        assert np.isfinite(gradient).all(), path


def test_padding_of_text_has_no_influence():
    """The mask that text comes with hides the padding from the latents, and keeps its shape."""
    model, params, evaluate = built("language_model")
    (ids,) = random_inputs(model, 2)
    mask = (np.arange(11) < np.array([[7], [11]])).astype(np.int32)
    other_padding = np.where(mask, ids, 0)
    out = evaluate(params, ids, mask)
    np.testing.assert_array_equal(out, evaluate(params, other_padding, mask))
    # Outputs of masked positions read nothing: they are alike in all texts.
    others = evaluate(params, random_inputs(model, 2, seed=1)[0], mask)
    np.testing.assert_array_equal(out[0, 7:], others[0, 7:])
    assert not np.allclose(out[0, :7], others[0, :7], atol=1e-3)


@pytest.mark.parametrize("position", ["fourier", "learned"])
def test_permuted_inputs_give_equal_outputs(position):
    """Perceiver, Sec. 4.1: after the positions are attached, the order carries nothing."""
    config = tiny_models.classifier()
    image = config.preprocessor
    if position == "learned":
        image = dataclasses.replace(image, position=LearnedConfig(channels=13))
    outputs = []
    for seed in (None, 11):
        preprocessor = dataclasses.replace(image, permutation_seed=seed)
        model = perceiver_jax.build(dataclasses.replace(config, preprocessor=preprocessor))
        params, _ = model_params(model)
        inputs = random_inputs(model, 2)
        outputs.append(jax.jit(model.apply)(params, {}, None, *inputs)[0])
    golden_cases.assert_close(outputs[1], outputs[0], atol=1e-5)


def test_moving_pixels_before_the_positions_changes_outputs():
    """The counterpart: positions are what tells the inputs apart."""
    model, params, evaluate = built("classifier")
    (images,) = random_inputs(model, 2)
    moved = np.roll(images, 1, axis=2)
    assert not np.allclose(evaluate(params, images), evaluate(params, moved), atol=1e-3)


@pytest.mark.parametrize("name", perceiver_jax.list_models())
def test_evaluation_of_every_model_of_the_zoo_needs_no_key(name):
    """Traced at full width and with one layer a block: drawing without a key fails there."""
    is_baseline = isinstance(zoo.get_config(name), zoo.BaselineConfig)
    fewer = {} if is_baseline else {"encoder.self_attends_per_block": 1}
    model = perceiver_jax.build(name, **fewer)
    params, state = model.abstract_params()
    outputs, new_state = jax.eval_shape(
        lambda params, state, *inputs: model.apply(params, state, None, *inputs),
        params,
        state,
        *model.example_inputs(2),
    )
    golden_cases.assert_same_tree(new_state, state)
    assert {x.shape[0] for x in jax.tree.leaves(outputs)} == {2}


def test_training_is_evaluation_where_nothing_is_random():
    model, params, evaluate = built("classifier")
    inputs = random_inputs(model, 2)
    trained = jax.jit(lambda p, x: model.apply(p, {}, None, x, is_training=True)[0])
    golden_cases.assert_close(trained(params, *inputs), evaluate(params, *inputs), atol=1e-5)


def test_encoder_dropout_acts_in_training_only():
    config = tiny_models.classifier()
    dropping = perceiver_jax.build(config, **{"encoder.dropout_prob": 0.3})
    _, params, evaluate = built("classifier")
    inputs = random_inputs(dropping, 2)

    @functools.partial(jax.jit, static_argnames="is_training")
    def apply(rng, is_training):
        return dropping.apply(params, {}, rng, *inputs, is_training=is_training)[0]

    evaluated = evaluate(params, *inputs)
    golden_cases.assert_close(apply(None, False), evaluated, atol=1e-5)
    first, second = (apply(jax.random.key(seed), True) for seed in (0, 1))
    assert not np.allclose(first, evaluated, atol=1e-3)
    assert not np.allclose(first, second, atol=1e-3)


def test_exact_gelu_is_close_and_not_equal():
    """The erf form's outputs differ from the tanh form's, by a little."""
    config = tiny_models.classifier()
    exact = perceiver_jax.build(dataclasses.replace(config, exact_gelu=True))
    _, params, evaluate = built("classifier")
    inputs = random_inputs(exact, 2)
    difference = jax.jit(exact.apply)(params, {}, None, *inputs)[0] - evaluate(params, *inputs)
    assert 1e-6 < np.abs(difference).max() < 1e-2


def test_float_inputs_of_half_precision_give_outputs_of_half_precision():
    model, params, evaluate = built("classifier")
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
    (images,) = random_inputs(model, 2)
    out = evaluate(half, jnp.asarray(images, jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    full = np.asarray(evaluate(params, images))
    assert np.abs(np.asarray(out, np.float32) - full).max() < 0.05 * np.abs(full).max()


class TestOutputPoints:
    """Some outputs alone, as whole models give them."""

    def test_text(self):
        model, params, evaluate = built("language_model")
        inputs = random_inputs(model, 2)
        points = np.array([9, 2, 2])
        some = evaluate(params, *inputs, subsampled_output_points=points)
        golden_cases.assert_close(some, evaluate(params, *inputs)[:, points], atol=1e-5)

    def test_flow(self):
        model, params, evaluate = built("optical_flow")
        inputs = random_inputs(model, 2)
        points = np.array([14, 3])
        some = evaluate(params, *inputs, subsampled_output_points=points)
        full = np.asarray(evaluate(params, *inputs)).reshape(2, 15, 2)
        golden_cases.assert_close(some, full[:, points], atol=1e-6)

    def test_modalities(self):
        model, params, evaluate = built("video_autoencoder")
        inputs = random_inputs(model, 2)
        points = {"image": np.array([47, 5]), "audio": np.array([3])}
        some = evaluate(params, *inputs, subsampled_output_points=points)
        assert {name: x.shape for name, x in some.items()} == {
            "audio": (2, 2),
            "image": (2, 2, 3),
            "label": (2, 3),
        }
        # A learned query is the same either way; Fourier queries follow the released grid rule,
        # which places each point a little lower than the full grid does.
        full = evaluate(params, *inputs)
        golden_cases.assert_close(some["label"], full["label"], atol=1e-5)
        assert not np.allclose(some["image"], full["image"][:, points["image"]], atol=1e-3)
