"""Learning rates by part: against steps computed by hand, and the mistakes that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import config as configs
from perceiver_jax.train.optimizer import make_optimizer, rate_factors
from perceiver_jax.train.patterns import layerwise_rates

PARAMS = {
    "encoder/linear": {"w": np.array([3.0, 4.0], np.float32), "b": np.array([2.0], np.float32)},
    "decoder/linear": {"w": np.array([6.0, 8.0], np.float32)},
}
GRADIENTS = {
    "encoder/linear": {"w": np.array([0.5, -0.5], np.float32), "b": np.array([0.25], np.float32)},
    "decoder/linear": {"w": np.array([1.0, 2.0], np.float32)},
}
RATE = 0.01


def updates(config, steps=1, **arguments):
    optimizer = make_optimizer(config, lambda step: jnp.float32(RATE), **arguments)
    state = optimizer.init(PARAMS)
    for _ in range(steps):
        found, state = optimizer.update(GRADIENTS, state, PARAMS)
    return found


@pytest.mark.core
def test_the_first_step_of_lamb_by_hand():
    """At the first step Adam's update is the sign of the gradient; LAMB scales it to |w|/|update|.

    |sign| of two values is sqrt(2), and the weights are as long as 5 and 10; one bias is 2.
    """
    config = configs.Lamb(weight_decay=0.0, eps=0.0, max_norm=None)
    found = updates(config, learning_rates=("*/b=3", "encoder=0.1"))
    root = np.sqrt(2.0)
    encoder = -RATE * 0.1 * 5 / root
    np.testing.assert_allclose(found["encoder/linear"]["w"], [encoder, -encoder], rtol=1e-5)
    # The first pattern that fits counts, and only it.
    np.testing.assert_allclose(found["encoder/linear"]["b"], [-RATE * 3 * 2], rtol=1e-5)
    np.testing.assert_allclose(found["decoder/linear"]["w"], [-RATE * 10 / root] * 2, rtol=1e-5)


@pytest.mark.parametrize("config", [configs.Lamb(max_norm=1.0), configs.Adam(max_norm=1.0)])
def test_only_the_last_step_is_scaled(config):
    plain = updates(config, steps=3)
    scaled = updates(config, steps=3, learning_rates=("encoder=0.25",))
    for module, factor in (("encoder/linear", 0.25), ("decoder/linear", 1.0)):
        jax.tree.map(
            lambda a, b, f=factor: np.testing.assert_array_equal(f * a, b),
            plain[module],
            scaled[module],
        )


def test_without_patterns_the_state_is_what_it_was():
    schedule = optax.constant_schedule(RATE)
    plain = make_optimizer(configs.Lamb(), schedule).init(PARAMS)
    same = make_optimizer(configs.Lamb(), schedule, frozen=(), learning_rates=()).init(PARAMS)
    assert jax.tree.structure(plain) == jax.tree.structure(same)
    assert len(jax.tree.leaves(plain)) == 2 * 3 + 2  # Two moments each, and two counts.


def test_factors_fall_from_layer_to_layer():
    encoder = "perceiver_encoder/~"
    params = {
        f"{encoder}/self_attention/mlp/linear": {"w": 0},
        f"{encoder}/self_attention_1/mlp/linear": {"w": 0},
        f"{encoder}/cross_attention/mlp/linear": {"w": 0},
        "decoder/output": {"w": 0},
    }
    factors = rate_factors(params, layerwise_rates(2, 0.5), checked=True)
    assert [entries["w"] for entries in factors.values()] == [0.25, 0.5, 0.125, 1.0]


def test_rates_that_decide_nothing_are_refused():
    adam = configs.Adam()
    with pytest.raises(ConfigError, match=r"'\*/b=2' decides nothing: .* Put it before them"):
        updates(adam, learning_rates=("encoder=0.1", "*/b=2"))
    with pytest.raises(ConfigError, match=r"'encodr' matches no module .*Did you mean encoder"):
        updates(adam, learning_rates=("encodr=0.1",))
    # What is frozen has no rate.
    with pytest.raises(ConfigError, match=r"'encoder' matches no module of those that train"):
        updates(adam, frozen=("encoder",), learning_rates=("encoder=0.1",))
