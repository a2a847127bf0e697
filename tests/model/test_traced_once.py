"""Layers traced once: equal to layers traced one by one, traced for the first only."""

import dataclasses

import jax
import numpy as np
import pytest

from perceiver_jax.model import blocks, capture, execution, routes, traced_once
from perceiver_jax.model.encoder import EncoderConfig, PerceiverEncoder
from perceiver_jax.model.execution import Execution
from tests.leaf_errors import KEY_BIASES, assert_leaves_close
from tests.random_params import transformed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]

X = np.random.default_rng(1).standard_normal((2, 7, 5)).astype(np.float32)
UNSHARED = EncoderConfig(
    num_latents=3,
    latent_channels=8,
    num_blocks=2,
    self_attends_per_block=3,
    self_attend_heads=2,
    share_towers=False,
)
SHARED = dataclasses.replace(UNSHARED, num_blocks=5, share_towers=True)  # Its towers are a loop.


def encode(config, is_training=False):
    return lambda x: PerceiverEncoder(config)(x, is_training=is_training)


def count_layers(monkeypatch) -> list[str]:
    """The names of the self-attention layers that are traced from here on."""
    called = []
    call = blocks.SelfAttention.__call__

    def counted(self, *args, **kwargs):
        called.append(self.module_name)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(blocks.SelfAttention, "__call__", counted)
    return called


@pytest.mark.parametrize("remat", ["none", "layers", "keep_linear"])
@pytest.mark.parametrize("config", [UNSHARED, SHARED], ids=["unshared", "shared"])
def test_equals_layers_one_by_one(config, remat, monkeypatch):
    def value_and_gradients():
        params, apply = transformed(encode(config), X)
        with execution.running(Execution(remat=remat)):
            return jax.jit(jax.value_and_grad(lambda p: (apply(p, X) ** 2).sum()))(params)

    called = count_layers(monkeypatch)
    once = value_and_gradients()
    assert "layer" in called
    called.clear()
    monkeypatch.setattr(traced_once, "allowed", lambda: False)
    one_by_one = value_and_gradients()
    assert "layer" not in called
    # As a share of each one's largest value, of some hundreds: the rest is rounding.
    assert_leaves_close(once[1], one_by_one[1], 1e-5, zero=KEY_BIASES)
    np.testing.assert_allclose(once[0], one_by_one[0], rtol=1e-5)
    assert min(np.abs(g).max() for g in jax.tree.leaves(one_by_one[1])) > 0


def test_traces_one_layer_of_six(monkeypatch):
    params, apply = transformed(encode(UNSHARED), X)
    called = count_layers(monkeypatch)
    jax.eval_shape(apply, params, X)
    assert called == ["layer"]


def test_plain_layers_are_not_shared(monkeypatch):
    params, apply = transformed(encode(UNSHARED), X)
    called = count_layers(monkeypatch)
    with routes.choosing("plain"):
        jax.eval_shape(apply, params, X)
    assert len(set(called)) == 6


def test_capturing_sees_every_layer():
    params, apply = transformed(encode(UNSHARED), X)
    with capture.capturing(("*/self_attention*/attention",)) as captured:
        apply(params, X)
    assert len(captured) == 6


def test_recording_sees_every_layer():
    params, apply = transformed(encode(UNSHARED), X)
    with routes.recording() as plans:
        jax.eval_shape(apply, params, X)
    assert len([name for name in plans if "self_attention" in name]) == 6


def test_dropout_differs_between_layers(monkeypatch):
    """With dropout, every layer draws a key of its own, and none may be shared."""
    config = dataclasses.replace(UNSHARED, dropout_prob=0.5)
    params, apply = transformed(encode(config, is_training=True), X)
    called = count_layers(monkeypatch)
    apply(params, X, rng=jax.random.key(0))
    assert len(set(called)) == 6
