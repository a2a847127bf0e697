"""experiments/digits.py: what its variants claim about each other."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax.config import load_experiment
from perceiver_jax.data.digits import DigitsConfig

pytestmark = pytest.mark.core


def _logits(variant: str, params, images: np.ndarray):
    model = perceiver_jax.build(load_experiment(f"experiments/digits.py:{variant}").model)
    return model.apply(params, {}, None, images)[0]


@pytest.fixture
def images() -> np.ndarray:
    source = DigitsConfig().make_source("test")
    return np.stack([source[i]["image"] for i in range(8)])


def _random_params(variant: str):
    """Every parameter random: fresh output layers are zero and would hide a difference."""
    model = perceiver_jax.build(load_experiment(f"experiments/digits.py:{variant}").model)
    params, _ = model.abstract_params()
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape), x.dtype), params)


def test_permuted_inputs_give_equal_logits_for_equal_parameters(images):
    params = _random_params("fourier")
    plain, permuted = _logits("fourier", params, images), _logits("permuted", params, images)
    assert float(jnp.std(plain)) > 0.1
    chex.assert_trees_all_close(permuted, plain, atol=2e-5, rtol=2e-5)


def test_the_permutation_is_no_identity_for_the_convolutional_network(images):
    params = _random_params("conv")
    plain, permuted = _logits("conv", params, images), _logits("conv_permuted", params, images)
    assert float(jnp.max(jnp.abs(plain - permuted))) > 0.1


def test_the_icml_variant_shares_cross_attends_and_towers():
    params = _random_params("perceiver")
    modules = {name.split("/")[2] for name in params if name.startswith("perceiver_encoder/~/")}
    assert {m for m in modules if m.startswith("cross_attention")} == {
        "cross_attention",
        "cross_attention_1",
    }
    assert {m for m in modules if m.startswith("self_attention")} == {"self_attention"}


def test_only_positions_differ_between_fourier_and_permuted():
    chex.assert_trees_all_equal_shapes(_random_params("fourier"), _random_params("permuted"))
