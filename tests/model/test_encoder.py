"""The encoder of both papers: golden arrays, weight sharing, placement, masks, errors."""

import dataclasses

import numpy as np
import pytest

from perceiver_jax.model.encoder import EncoderConfig, PerceiverEncoder
from tests import golden_cases, released_settings
from tests.random_params import transformed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

X = np.random.default_rng(1).standard_normal((2, 7, 5)).astype(np.float32)
SMALL = EncoderConfig(
    num_latents=3,
    latent_channels=11,
    num_blocks=2,
    self_attends_per_block=2,
    self_attend_heads=1,
)


def encode(config):
    def forward(x, input_mask=None):
        return PerceiverEncoder(config)(x, input_mask)

    return forward


def small(**changes) -> EncoderConfig:
    return dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize("name", golden_cases.case_names("encoder_"))
def test_equals_golden(name):
    case = golden_cases.load(name)
    forward = encode(released_settings.encoder(case.config["kwargs"]))
    x, mask = case.inputs["x"], case.inputs["input_mask"]
    golden_cases.assert_init_makes_tree_of(forward, case, x)
    golden_cases.assert_close(golden_cases.run(forward, case, x), case.outputs["out"])
    masked = golden_cases.run(forward, case, x, mask)
    golden_cases.assert_close(masked, case.outputs["out_masked"])


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_masks_of_other_dtypes(dtype):
    case = golden_cases.load("encoder_default")
    forward = encode(released_settings.encoder(case.config["kwargs"]))
    masked = golden_cases.run(
        forward, case, case.inputs["x"], case.inputs["input_mask"].astype(dtype)
    )
    golden_cases.assert_close(masked, case.outputs["out_masked"])


def layers(config) -> dict[str, int]:
    """How many parameter arrays each layer of the encoder has, by the layer's name."""
    params, _ = transformed(encode(config), X)
    counts: dict[str, int] = {}
    for module, arrays in params.items():
        layer = module.removeprefix("perceiver_encoder/~/").split("/")[0]
        counts[layer] = counts.get(layer, 0) + len(arrays)
    return counts


def names(kind: str, count: int) -> list[str]:
    return [kind if i == 0 else f"{kind}_{i}" for i in range(count)]


@pytest.mark.parametrize(
    ("changes", "num_cross", "num_self"),
    [
        ({}, 1, 2),
        ({"share_towers": False}, 1, 4),
        # Perceiver, App. C: the first cross-attend has weights of its own, the others share.
        ({"num_blocks": 8, "num_cross_attends": 8}, 2, 2),
        ({"num_blocks": 8, "num_cross_attends": 8, "cross_attend_sharing": "none"}, 8, 2),
        (
            {
                "num_blocks": 8,
                "num_cross_attends": 8,
                "cross_attend_sharing": "none",
                "share_towers": False,
            },
            8,
            16,
        ),
        ({"num_blocks": 0, "num_cross_attends": 3, "cross_attend_sharing": "none"}, 3, 0),
        # AudioSet: two cross-attends with towers of their own.
        ({"num_cross_attends": 2, "share_towers": False}, 2, 4),
    ],
)
def test_layers_are_numbered_as_haiku_does(changes, num_cross, num_self):
    expected = {
        "trainable_position_encoding": 1,
        **dict.fromkeys(names("cross_attention", num_cross), 18),
        **dict.fromkeys(names("self_attention", num_self), 16),
    }
    assert layers(small(**changes)) == expected


def test_towers_are_numbered_one_after_the_other():
    # Six layers in the first tower: the second begins with self_attention_6.
    config = small(self_attends_per_block=6, share_towers=False)
    params, _ = transformed(encode(config), X)
    assert "perceiver_encoder/~/self_attention_11/mlp/linear" in params
    assert "perceiver_encoder/~/self_attention_12/mlp/linear" not in params


def test_shared_weights_equal_their_copies():
    """Eight interleaved cross-attends, sharing all but the first, and one tower eight times."""
    shared = small(num_blocks=8, num_cross_attends=8)
    unshared = dataclasses.replace(shared, cross_attend_sharing="none", share_towers=False)
    params, call = transformed(encode(shared), X)
    copies, call_unshared = transformed(encode(unshared), X, seed=9)
    start = "perceiver_encoder/~/"
    for module in copies:
        layer, _, inner = module.removeprefix(start).partition("/")
        kind, _, number = layer.rpartition("_")
        if layer.startswith("cross_attention_"):
            layer = "cross_attention_1"
        elif layer.startswith("self_attention_"):
            layer = ["self_attention", "self_attention_1"][int(number) % 2]
        copies[module] = params[start + layer + ("/" + inner if inner else "")]
    golden_cases.assert_close(call_unshared(copies, X), call(params, X), atol=1e-5)


def test_one_cross_attend_is_the_perceiver_io_encoder_of_equal_weights():
    """With zero output weights, the further cross-attends leave the latents alone."""
    repeated = small(num_cross_attends=2)
    params, call = transformed(encode(repeated), X)
    for module in ("attention/linear_3", "mlp/linear_1"):
        name = f"perceiver_encoder/~/cross_attention_1/{module}"
        params[name] = {key: np.zeros_like(x) for key, x in params[name].items()}
    once, call_once = transformed(encode(SMALL), X)
    golden_cases.assert_close(
        call(params, X), call_once({name: params[name] for name in once}, X), atol=1e-5
    )


@pytest.mark.parametrize(
    ("placement", "num_cross", "num_blocks", "expected"),
    [
        ("interleaved", 1, 8, (8,)),
        ("interleaved", 8, 8, (1,) * 8),
        ("interleaved", 2, 8, (4, 4)),
        ("interleaved", 3, 8, (2, 3, 3)),
        ("interleaved", 4, 0, (0, 0, 0, 0)),
        ("at_start", 8, 8, (0, 0, 0, 0, 0, 0, 0, 8)),
        ("at_start", 8, 2, (0, 0, 0, 0, 0, 0, 0, 2)),
        ("at_start", 1, 0, (0,)),
    ],
)
def test_blocks_after_cross_attends(placement, num_cross, num_blocks, expected):
    config = small(
        num_cross_attends=num_cross, num_blocks=num_blocks, cross_attend_placement=placement
    )
    assert config.blocks_after_cross_attends() == expected
    assert sum(expected) == num_blocks


def test_placement_is_the_order_of_execution():
    """Interleaved and at the start compute different things from the same weights."""
    interleaved = small(num_cross_attends=2)
    at_start = small(num_cross_attends=2, cross_attend_placement="at_start")
    params, call = transformed(encode(interleaved), X)
    other_params, call_at_start = transformed(encode(at_start), X)
    golden_cases.assert_same_tree(params, other_params)
    one_tower = small(num_cross_attends=2, num_blocks=1, cross_attend_placement="at_start")
    assert np.abs(call(params, X) - call_at_start(params, X)).max() > 1e-2
    # Two cross-attends, then one tower: the prefix of both orders that differs.
    _, call_one_tower = transformed(encode(one_tower), X)
    assert np.abs(call_one_tower(params, X) - call_at_start(params, X)).max() > 1e-2


def test_latents_replace_or_join_what_is_read():
    config = small(num_blocks=0)
    params, call = transformed(encode(config), X)
    _, call_without = transformed(encode(small(num_blocks=0, use_query_residual=False)), X)
    # Without an MLP, the difference is the latents themselves.
    name = "perceiver_encoder/~/cross_attention/mlp/linear_1"
    params[name] = {key: np.zeros_like(x) for key, x in params[name].items()}
    latents = params["perceiver_encoder/~/trainable_position_encoding"]["pos_embs"]
    difference = call(params, X) - call_without(params, X)
    golden_cases.assert_close(difference, np.stack([latents, latents]), atol=1e-5)


def test_example_without_any_input_is_encoded_as_no_input():
    """Nothing is read, so that the example's inputs do not matter and the output is finite."""
    params, call = transformed(encode(SMALL), X)
    mask = np.ones((2, 7), np.int32)
    mask[1] = 0
    encoded = np.asarray(call(params, X, mask))
    assert np.isfinite(encoded).all()
    np.testing.assert_array_equal(encoded[1], call(params, X**2, mask)[1])
    golden_cases.assert_close(encoded[0], call(params, X)[0], atol=1e-5)


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"num_cross_attends": 0}, "num_cross_attends=0 must be at least 1"),
            ({"num_cross_attends": 3}, "3 cross-attends .* 2 blocks.*at_start"),
            ({"num_latents": 0}, "num_latents=0 must be at least 1"),
            ({"latent_channels": 0}, "latent_channels=0 must be at least 1"),
        ],
    )
    def test_impossible_configs(self, changes, words):
        with pytest.raises(ValueError, match=words):
            small(**changes)

    def test_input_mask_of_another_size(self):
        with pytest.raises(
            ValueError, match=r"input_mask must have shape .*\(2, 7\); got \(2, 6\)"
        ):
            transformed(encode(SMALL), X, np.ones((2, 6)))

    def test_heads_that_do_not_divide_the_latents(self):
        with pytest.raises(ValueError, match="qk_channels=11 .* self_attend_heads=2"):
            small(self_attend_heads=2)
