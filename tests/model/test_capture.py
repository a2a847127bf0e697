"""Attention maps on request: names, shapes, values."""

import jax
import numpy as np
import pytest

import perceiver_jax
from tests import golden_cases, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.usefixtures("highest_precision", "quick_compilation")

ENCODER_CROSS = "perceiver_encoder/~/cross_attention/attention"
SELF = "perceiver_encoder/~/self_attention/attention"
DECODER_CROSS = "classification_decoder/~/basic_decoder/cross_attention/attention"


IMAGES = np.random.default_rng(0).standard_normal((2, 5, 7, 1)).astype(np.float32)


def capture(patterns, images=IMAGES, input_mask=None, **changes):
    """Outputs, and the captured values, of a tiny classifier with three blocks."""
    model = perceiver_jax.build(tiny_models.classifier(), **{"encoder.num_blocks": 3, **changes})
    params, state = model_params(model)

    @jax.jit
    def apply(params, images):
        return model.apply(params, state, None, images, input_mask=input_mask, capture=patterns)

    outputs, *_, captured = apply(params, images)
    return outputs, captured


def test_maps_have_names_and_shapes_and_rows_that_sum_to_one():
    _, maps = capture(True)
    assert {name: x.shape for name, x in maps.items()} == {
        f"{ENCODER_CROSS}#0": (2, 1, 3, 35),
        f"{SELF}#0": (2, 2, 3, 3),
        f"{SELF}#1": (2, 2, 3, 3),
        f"{SELF}#2": (2, 2, 3, 3),
        f"{DECODER_CROSS}#0": (2, 1, 1, 3),
    }
    for name, x in maps.items():
        assert x.dtype == np.float32
        np.testing.assert_allclose(x.sum(axis=-1), 1.0, rtol=1e-5, err_msg=name)
        assert (np.asarray(x) > 0).all() and np.asarray(x).std() > 1e-3
    # Blocks share their weights but not their inputs.
    assert not np.allclose(maps[f"{SELF}#0"], maps[f"{SELF}#1"], atol=1e-4)


def test_shared_cross_attends_are_told_apart_by_their_call():
    _, maps = capture("*encoder*cross_attention*/attention", **{"encoder.num_cross_attends": 3})
    second = "perceiver_encoder/~/cross_attention_1/attention"
    assert set(maps) == {f"{ENCODER_CROSS}#0", f"{second}#0", f"{second}#1"}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (DECODER_CROSS, {f"{DECODER_CROSS}#0"}),
        (("*decoder*", "*/self_attention/*"), {f"{DECODER_CROSS}#0", f"{SELF}#0"}),
    ],
)
def test_patterns_choose(patterns, expected):
    model = perceiver_jax.build(tiny_models.classifier())
    params, state = model.abstract_params()
    _, _, captured = jax.eval_shape(
        lambda p: model.apply(p, state, None, IMAGES, capture=patterns), params
    )
    assert set(captured) == expected


def test_capturing_changes_nothing_else():
    outputs, _ = capture(True)
    plain, _ = capture(False)
    golden_cases.assert_close(outputs, plain, atol=1e-6)


def test_masked_inputs_have_weight_zero():
    mask = np.ones((2, 35), bool)
    mask[0, 5:20] = False
    mask[1] = False
    _, maps = capture(ENCODER_CROSS, input_mask=mask)
    weights = np.asarray(maps[f"{ENCODER_CROSS}#0"])
    np.testing.assert_array_equal(weights[0, 0] > 0, np.broadcast_to(mask[0], (3, 35)))
    np.testing.assert_allclose(weights[0].sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(weights[1], 0.0)


def test_equal_inputs_get_equal_weight():
    """Without positions, the weights on a constant image are uniform."""
    changes = {"preprocessor.position": None, "encoder.num_blocks": 0}
    _, maps = capture(True, images=np.ones((1, 5, 7, 1), np.float32), **changes)
    np.testing.assert_allclose(maps[f"{ENCODER_CROSS}#0"], 1 / 35, rtol=1e-5)
