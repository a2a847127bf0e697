"""Encoding once and decoding in parts: the same outputs as all at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from tests import tiny_models
from tests.random_params import model_params

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]


def example(name: str, batch_size: int = 2):
    """A tiny model, its parameters and inputs; text is padded from the seventh byte on."""
    model = perceiver_jax.build(tiny_models.ALL[name]())
    rng = np.random.default_rng(0)
    inputs = jax.tree.map(
        lambda x: (
            rng.standard_normal(x.shape).astype(np.float32)
            if x.dtype == jnp.float32
            else rng.integers(1, 9, x.shape)
        ),
        model.example_inputs(batch_size),
    )
    if name == "language_model":
        inputs = (inputs[0], (np.arange(11) < 7).astype(int)[None].repeat(batch_size, 0))
    return model, *model_params(model), inputs


@pytest.mark.parametrize("name", sorted(tiny_models.ALL))
def test_decoding_what_was_encoded_is_applying(name):
    model, params, state, inputs = example(name)
    expected, _ = model.apply(params, state, None, *inputs)
    encoded = jax.jit(model.encode)(params, state, *inputs)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
        jax.jit(model.decode)(params, state, encoded),
        expected,
    )


def test_parts_of_the_outputs_are_those_of_the_whole():
    model, params, state, inputs = example("optical_flow")
    whole, _ = model.apply(params, state, None, *inputs)
    encoded = model.encode(params, state, *inputs)
    parts = [
        model.decode(params, state, encoded, subsampled_output_points=points)
        for points in np.array_split(np.arange(15), 4)
    ]
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole.reshape(2, 15, 2), atol=1e-6)


def test_only_what_queries_read_is_kept_of_the_inputs():
    model, params, state, inputs = example("optical_flow")
    assert model.encode(params, state, *inputs).elements.features.shape == (2, 15, 17)
    for name in ("classifier", "language_model", "video_autoencoder"):
        model, params, state, inputs = example(name)
        elements = model.encode(params, state, *inputs).elements
        assert not sum(x.size for x in jax.tree.leaves(elements)), name


def test_shorter_text_is_padded_text():
    model, params, state, (ids, mask) = example("language_model")
    padded, _ = model.apply(params, state, None, ids, mask)
    short, _ = model.apply(params, state, None, ids[:, :7], mask[:, :7])
    assert short.shape == padded.shape == (2, 11, 262)
    np.testing.assert_allclose(short, padded, atol=1e-5)
    with pytest.raises(ValueError, match=r"shape \[batch, up to 11\]; got \[2, 12\]"):
        model.apply(params, state, None, np.ones((2, 12), int))


def test_text_masks_its_outputs_unless_told_not_to():
    model, params, state, (ids, mask) = example("language_model")
    wiped, _ = model.apply(params, state, None, ids, mask)
    np.testing.assert_allclose(wiped[:, 8], wiped[:, 9], atol=1e-6)  # Nothing but the bias.
    unmasked = perceiver_jax.build(model.config, mask_outputs=False)
    read, _ = unmasked.apply(params, state, None, ids, mask)
    np.testing.assert_allclose(read[:, :7], wiped[:, :7], atol=1e-5)
    assert abs(read[:, 8] - read[:, 9]).max() > 1e-2


def test_points_of_text_take_their_part_of_the_mask():
    model, params, state, inputs = example("language_model")
    points = jnp.array([2, 8])
    whole, _ = model.apply(params, state, None, *inputs)
    some, _ = model.apply(params, state, None, *inputs, subsampled_output_points=points)
    np.testing.assert_allclose(some, whole[:, points], atol=1e-5)


def test_text_has_no_output_mask_where_the_output_is_one_class():
    config = tiny_models.language_model()
    model = perceiver_jax.build(
        zoo.PerceiverConfig(
            preprocessor=config.preprocessor,
            encoder=config.encoder,
            decoder=zoo.ClassificationDecoderConfig(num_classes=3, query_channels=8),
        )
    )
    params, state = model_params(model)
    mask = np.array([[1] * 6 + [0] * 5])
    ids = np.arange(6, 17)[None]
    logits, _ = model.apply(params, state, None, ids, mask)
    other, _ = model.apply(params, state, None, np.where(mask, ids, 99), mask)
    assert logits.shape == (1, 3)
    np.testing.assert_allclose(logits, other, atol=1e-6)


def test_a_convolutional_network_has_no_latents():
    model = perceiver_jax.build(zoo.ConvNetConfig(shape=(8, 8), channels=1, num_classes=3))
    with pytest.raises(ValueError, match="no latents to encode to"):
        model.encode({}, {}, jnp.ones((1, 8, 8, 1)))
