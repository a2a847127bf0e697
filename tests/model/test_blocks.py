"""Attention, MLP, self- and cross-attention blocks: golden arrays, widths, dropout, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import blocks
from tests import golden_cases
from tests.random_params import transformed
from tests.released_settings import renamed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

_NAMES = {
    "num_heads": "num_heads",
    "qk_channels": "qk_channels",
    "v_channels": "v_channels",
    "output_channels": "output_channels",
    "init_scale": "init_scale",
    "final_init_scale_multiplier": "final_init_scale_multiplier",
    "with_final_bias": "with_final_bias",
    "widening_factor": "widening_factor",
    "shape_for_attn": "width_rule",
    "use_query_residual": "use_query_residual",
}


@pytest.mark.parametrize("name", golden_cases.case_names("attention_", "cross_attention_"))
def test_attention_equals_golden(name):
    case = golden_cases.load(name)
    module = getattr(blocks, case.config["cls"])

    def forward(inputs_q, inputs_kv, mask=None):
        return module(**renamed(case.config["kwargs"], _NAMES))(inputs_q, inputs_kv, mask)

    inputs = (case.inputs["inputs_q"], case.inputs["inputs_kv"])
    mask = case.inputs["attention_mask"]
    golden_cases.assert_init_makes_tree_of(forward, case, *inputs)
    golden_cases.assert_close(golden_cases.run(forward, case, *inputs), case.outputs["out"])
    golden_cases.assert_close(
        golden_cases.run(forward, case, *inputs, mask), case.outputs["out_masked"]
    )


def test_self_attention_equals_golden():
    case = golden_cases.load("self_attention")

    def forward(x, mask=None):
        return blocks.SelfAttention(**renamed(case.config["kwargs"], _NAMES))(x, mask)

    x, mask = case.inputs["x"], case.inputs["attention_mask"]
    golden_cases.assert_init_makes_tree_of(forward, case, x)
    golden_cases.assert_close(golden_cases.run(forward, case, x), case.outputs["out"])
    golden_cases.assert_close(golden_cases.run(forward, case, x, mask), case.outputs["out_masked"])


def test_mlp_equals_golden():
    case = golden_cases.load("mlp")

    def forward(x):
        return blocks.MLP(**renamed(case.config["kwargs"], _NAMES))(x)

    golden_cases.assert_init_makes_tree_of(forward, case, case.inputs["x"])
    golden_cases.assert_close(
        golden_cases.run(forward, case, case.inputs["x"]), case.outputs["out"]
    )


@pytest.mark.parametrize(
    ("exact", "gelu_of_one"), [(False, 0.8411920), (True, 0.8413447)], ids=["tanh", "erf"]
)
def test_mlp_takes_either_gelu(exact, gelu_of_one):
    # A hidden layer that passes one channel on, scaled by 1, and an output layer that adds 3.
    params = {
        "mlp/linear": {"w": jnp.ones((1, 1)), "b": jnp.zeros(1)},
        "mlp/linear_1": {"w": jnp.ones((1, 1)), "b": jnp.full((1,), 3.0)},
    }
    mlp = hk.transform(lambda x: blocks.MLP(widening_factor=1, exact_gelu=exact)(x))
    out = mlp.apply(params, None, jnp.ones((1, 1, 1)))
    np.testing.assert_allclose(out, [[[3 + gelu_of_one]]], atol=1e-6)


@pytest.mark.parametrize("module", [blocks.SelfAttention, blocks.CrossAttention])
def test_blocks_pass_the_kind_of_gelu_on(module):
    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32)
    inputs = (x,) if module is blocks.SelfAttention else (x, x)

    def output(exact):
        block = lambda *inputs: module(num_heads=2, exact_gelu=exact)(*inputs)  # noqa: E731
        params, call = transformed(block, *inputs)
        return call(params, *inputs)

    difference = jnp.abs(output(True) - output(False)).max()
    assert 1e-6 < difference < 1e-2


@pytest.mark.parametrize(
    ("rule", "q_width", "kv_width", "expected"),
    [
        ("kv", 14, 6, 6),
        ("kv", 6, 14, 14),
        ("q", 14, 6, 14),
        ("min", 14, 6, 6),
        ("min", 6, 14, 6),
    ],
)
def test_width_rule(rule, q_width, kv_width, expected):
    cross = hk.transform(lambda q, kv: blocks.CrossAttention(num_heads=2, width_rule=rule)(q, kv))
    params = jax.eval_shape(
        cross.init, jax.random.key(0), jnp.zeros((1, 3, q_width)), jnp.zeros((1, 5, kv_width))
    )
    shapes = {
        name: params[f"cross_attention/attention/{name}"]["w"].shape
        for name in ("linear", "linear_1", "linear_2", "linear_3")
    }
    assert shapes == {
        "linear": (q_width, expected),
        "linear_1": (kv_width, expected),
        "linear_2": (kv_width, expected),
        "linear_3": (expected, q_width),
    }


def test_query_residual_is_added_to_what_is_read():
    # With an output projection and an MLP of zeros, nothing but the residual is left.
    rng = np.random.default_rng(0)
    q, kv = rng.standard_normal((2, 3, 6)), rng.standard_normal((2, 5, 4))

    def output(residual):
        params, call = transformed(
            lambda *a: blocks.CrossAttention(num_heads=2, use_query_residual=residual)(*a), q, kv
        )
        for name in ("attention/linear_3", "mlp/linear_1"):
            params[f"cross_attention/{name}"] = jax.tree.map(
                np.zeros_like, params[f"cross_attention/{name}"]
            )
        return call(params, q, kv)

    np.testing.assert_array_equal(output(True), q.astype(np.float32))
    np.testing.assert_array_equal(output(False), np.zeros_like(q))


class TestDropout:
    """Rates of zero draw nothing; others change training and nothing else."""

    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32)

    def params_and_call(self, is_training, **rates):
        return transformed(
            lambda x: blocks.SelfAttention(num_heads=2, **rates)(x, is_training=is_training),
            self.x,
        )

    def test_rate_zero_needs_no_key_in_training(self):
        params, train = self.params_and_call(True)
        _, evaluate = self.params_and_call(False)
        np.testing.assert_array_equal(train(params, self.x), evaluate(params, self.x))

    @pytest.mark.parametrize("rate", ["dropout_prob", "attention_dropout_prob"])
    def test_rates_act_in_training_only(self, rate):
        params, evaluate = self.params_and_call(False, **{rate: 0.5})
        _, evaluate_without = self.params_and_call(False)
        _, train = self.params_and_call(True, **{rate: 0.5})
        evaluated = evaluate(params, self.x)
        trained = train(params, self.x, rng=jax.random.key(2))
        other = train(params, self.x, rng=jax.random.key(3))
        np.testing.assert_array_equal(evaluated, evaluate_without(params, self.x))
        assert not np.allclose(trained, evaluated, atol=1e-3)
        assert not np.allclose(trained, other, atol=1e-3)

    @pytest.mark.parametrize("rate", ["dropout_prob", "attention_dropout_prob"])
    def test_training_with_a_rate_needs_a_key(self, rate):
        params, train = self.params_and_call(True, **{rate: 0.5})
        with pytest.raises(ValueError, match="(?i)rng"):
            train(params, self.x)

    def test_branches_are_dropped_but_not_the_residual(self):
        # Both branches dropped almost surely: the input itself is left in most places.
        params, train = self.params_and_call(True, dropout_prob=0.99)
        unchanged = np.asarray(train(params, self.x, rng=jax.random.key(2)) == self.x)
        assert unchanged.mean() > 0.9


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"num_heads": 5, "qk_channels": 12}, "qk_channels=12 .* num_heads=5"),
        ({"num_heads": 3, "qk_channels": 12, "v_channels": 7}, "v_channels=7 .* num_heads=3"),
        ({"num_heads": 7}, "qk_channels=6 .* multiple of 7"),
    ],
)
def test_widths_that_heads_do_not_divide_are_named(kwargs, words):
    f = hk.transform(lambda x: blocks.Attention(**kwargs)(x, x))
    with pytest.raises(ValueError, match=words):
        f.init(jax.random.key(0), jnp.zeros((1, 5, 6)))
