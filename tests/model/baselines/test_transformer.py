"""Transformers without latents: ViT, and one on the pixels of a smaller image."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.model import blocks, traced_once
from perceiver_jax.model.baselines import TransformerConfig
from perceiver_jax.model.baselines.transformer import average_down
from perceiver_jax.model.execution import Execution
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.sharding import placements
from tests.model.baselines import tiny
from tests.random_params import model_params
from tests.train import equivalent

pytestmark = pytest.mark.usefixtures("quick_compilation", "highest_precision")

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((5, 6, 4, 1)).astype(np.float32)
LARGER = RNG.standard_normal((5, 6, 8, 1)).astype(np.float32)


def logits(config, images, params=None, **how):
    model = perceiver_jax.build(config)
    params = model_params(model)[0] if params is None else params
    return jax.jit(lambda p, x: model.apply(p, {}, None, x, **how)[0])(params, images)


def test_vit_b16_has_its_parameters():
    model = perceiver_jax.build("baseline_vit_b16")
    assert model.num_params() == 86_567_656
    assert model.config.num_patches == 196
    # 256 pixels of a patch bring 258 channels each.
    more = 256 * 258 * 768
    assert perceiver_jax.build("baseline_vit_b16_fourier").num_params() == 86_567_656 + more


def test_the_64_by_64_transformer_is_one_tower_of_the_perceiver():
    ours = perceiver_jax.build("baseline_transformer_64").abstract_params()[0]
    theirs = perceiver_jax.build("perceiver_imagenet").abstract_params()[0]

    def tower(params, prefix):
        return {
            name.removeprefix(prefix): jax.tree.map(jnp.shape, dict(arrays))
            for name, arrays in params.items()
            if name.startswith(prefix + "self_attention")
        }

    assert tower(ours, "transformer/") == tower(theirs, "perceiver_encoder/~/")
    assert sum(name.endswith("/mlp") for name in {n.rpartition("/")[0] for n in ours}) == 6
    assert ours["transformer/patches_linear"]["w"].shape == (3 + 258, 1024)


def test_names_and_shapes():
    params, state = perceiver_jax.build(tiny.VIT).abstract_params()
    assert not state
    shapes = {
        f"{module}/{name}": array.shape
        for module, arrays in params.items()
        for name, array in arrays.items()
        if "self_attention" not in module
    }
    assert shapes == {
        "transformer/class_token/pos_embs": (1, 10),
        "transformer/layer_norm/offset": (10,),
        "transformer/layer_norm/scale": (10,),
        "transformer/output/b": (3,),
        "transformer/output/w": (10, 3),
        "transformer/patches_linear/b": (10,),
        "transformer/patches_linear/w": (4 * (1 + 10), 10),
        "transformer/trainable_position_encoding/pos_embs": (7, 10),
    }


def test_an_image_by_hand():
    """Layers whose outputs are zero leave tokens as they are."""
    config = TransformerConfig(
        (2, 4), 2, channels=1, patch_size=2, num_layers=1, token_channels=2, num_heads=1,
        pooling="mean", learned_positions=True,
    )  # fmt: skip
    params = jax.tree.map(
        lambda x: np.zeros(x.shape, x.dtype), perceiver_jax.build(config).abstract_params()[0]
    )
    # A token has the sum of its patch, and its upper left pixel.
    params["transformer/patches_linear"]["w"][:] = [[1, 1], [1, 0], [1, 0], [1, 0]]
    params["transformer/trainable_position_encoding"]["pos_embs"][:] = [[1, 0], [0, 0]]
    params["transformer/layer_norm"]["scale"][:] = 1
    params["transformer/output"]["w"][:] = np.diag([10, 100])
    image = np.array([[[1, 2, 5, 0], [3, 4, 0, 0]]], np.float32)[..., None]
    # Tokens (10 + 1, 1) and (5, 5). Normalised: (1, -1) and (0, 0). Their mean: (1/2, -1/2).
    np.testing.assert_allclose(logits(config, image, params), [[5, -50]], rtol=1e-4)
    # The class token stands first, and here it is all that counts.
    config = dataclasses.replace(config, pooling="class_token")
    params["transformer/class_token"] = {"pos_embs": np.array([[0, 3]], np.float32)}
    params["transformer/trainable_position_encoding"]["pos_embs"] = np.zeros((3, 2), np.float32)
    np.testing.assert_allclose(logits(config, image, params), [[-10, 100]], rtol=1e-4)


def test_pixels_are_averaged_over_areas():
    image = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    # Columns in pairs; of three rows, each new one has one and a half.
    expected = np.array([[0.5 + 4 / 3, 2.5 + 4 / 3], [8.5 - 4 / 3, 10.5 - 4 / 3]])
    np.testing.assert_allclose(average_down(image, (2, 2))[0, :, :, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(average_down(image, (3, 4)), image)
    random = RNG.standard_normal((2, 224, 224, 3)).astype(np.float32)
    small = average_down(random, (64, 64))
    np.testing.assert_allclose(small.mean((1, 2)), random.mean((1, 2)), atol=1e-5)
    # 224 / 64 = 7 / 2: every second edge is one of the pixels.
    np.testing.assert_allclose(
        small[0, :2, :2].mean((0, 1)), random[0, :7, :7].mean((0, 1)), atol=1e-5
    )


def test_permuted_pixels_give_equal_logits():
    permuted = dataclasses.replace(tiny.SET, permutation_seed=4)
    plain, shuffled = logits(tiny.SET, LARGER), logits(permuted, LARGER)
    assert np.std(plain) > 0.1
    np.testing.assert_allclose(shuffled, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"patch_size": 2, "shape": (6, 8), "resize_to": None}, {"learned_positions": True}]
)
def test_patches_and_learned_positions_know_the_order(change):
    config = dataclasses.replace(tiny.SET, **change)
    permuted = dataclasses.replace(config, permutation_seed=4)
    assert np.abs(logits(config, LARGER) - logits(permuted, LARGER)).max() > 0.01


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("config", [tiny.VIT, tiny.SET], ids=["vit", "set"])
def test_equals_the_definition(config, seed, monkeypatch):
    """Positions embedded apart, layers traced once, and any way to attend."""
    config = dataclasses.replace(config, permutation_seed=seed)
    images = IMAGES if config.shape == (6, 4) else LARGER
    plain = logits(dataclasses.replace(config, attention="plain"), images)
    assert perceiver_jax.build(config).plain().config.attention == "plain"
    for route in ("auto", "streamed"):
        found = logits(dataclasses.replace(config, attention=route), images)
        np.testing.assert_allclose(found, plain, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(traced_once, "allowed", lambda: False)
    np.testing.assert_allclose(logits(config, images), plain, rtol=1e-4, atol=1e-5)


def test_its_layers_are_traced_once(monkeypatch):
    called = []
    call = blocks.SelfAttention.__call__
    monkeypatch.setattr(
        blocks.SelfAttention,
        "__call__",
        lambda self, *args, **kwargs: called.append(self.name) or call(self, *args, **kwargs),
    )
    model = perceiver_jax.build(tiny.VIT)
    params, _ = model_params(model)
    called.clear()
    jax.eval_shape(lambda p, x: model.apply(p, {}, None, x)[0], params, IMAGES)
    assert called == ["layer"]


@pytest.mark.parametrize("remat", ["none", "layers", "keep_linear"])
@pytest.mark.parametrize("config", [tiny.VIT, tiny.SET], ids=["vit", "set"])
def test_every_parameter_has_a_gradient(config, remat):
    model = perceiver_jax.build(config)
    params, _ = model_params(model)
    images = IMAGES if config.shape == (6, 4) else LARGER

    def gradients(config, how):
        model = perceiver_jax.build(config)
        return jax.jit(
            jax.grad(lambda p: (model.apply(p, {}, None, images, execution=how)[0] ** 2).sum())
        )(params)

    found = gradients(config, Execution(remat=remat))
    plain = gradients(dataclasses.replace(config, attention="plain"), Execution())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, plain)
    for module, arrays in found.items():
        for name, gradient in arrays.items():
            if (module.endswith("attention/linear_1"), name) == (True, "b"):
                continue  # A bias of the keys adds the same to all scores: no gradient.
            assert np.abs(gradient).max() > 1e-4, (module, name)


def test_bfloat16_is_close():
    wide = np.asarray(logits(tiny.VIT, IMAGES))
    narrow = logits(tiny.VIT, IMAGES, execution=Execution(compute_dtype="bfloat16"))
    assert narrow.dtype == jnp.float32
    assert 0 < np.abs(narrow - wide).max() < 0.05 * np.abs(wide).max()


def test_attention_can_be_captured():
    model = perceiver_jax.build(tiny.VIT)
    params, _ = model_params(model)
    _, _, captured = model.apply(params, {}, None, IMAGES, capture="*attention")
    assert list(captured) == [
        f"transformer/self_attention{suffix}/attention#0" for suffix in ("", "_1", "_2")
    ]
    assert {maps.shape for maps in captured.values()} == {(5, 2, 7, 7)}


def test_rules_split_its_layers():
    """Heads and hidden channels lie over `tensor`, as those of the latent towers do."""
    config = dataclasses.replace(
        equivalent.experiment(equivalent.MeshConfig(data=2, fsdp=2, tensor=2)), model=vit_of_8()
    )
    parts = assemble(config)
    specs = {
        each.path: each.text
        for each in placements(
            {"params": parts.state.abstract().params}, parts.mesh, config.trainer.mesh
        )
    }
    prefix = "params/transformer/self_attention_1"
    assert specs[f"{prefix}/attention/linear/w"] == "fsdp, tensor"
    assert specs[f"{prefix}/mlp/linear_1/w"] == "tensor, fsdp"


def vit_of_8():
    return dataclasses.replace(
        tiny.VIT, shape=(8, 8), num_classes=10, token_channels=16, num_heads=4
    )


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["2x2x2"])
def test_eight_devices_compute_what_one_does(layout):
    mesh = {
        "data=8": equivalent.MeshConfig(data=8),
        "2x2x2": equivalent.MeshConfig(data=2, fsdp=2, tensor=2),
    }[layout]
    one, eight = (
        equivalent.five_steps(
            assemble(
                dataclasses.replace(equivalent.experiment(each), model=vit_of_8()),
                devices=jax.devices()[:number],
            )
        )
        for each, number in ((equivalent.MeshConfig(), 1), (mesh, 8))
    )
    assert len(set(one[0])) == equivalent.STEPS
    equivalent.assert_equal(eight, one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 3}, r"images of \(6, 4\) pixels cannot be cut into patches of 3"),
        ({"resize_to": (8, 4)}, "averaged down, not up"),
        ({"num_heads": 3}, "token_channels=10 is not divisible by num_heads=3"),
        ({"num_layers": 0}, "num_layers=0 must be at least 1"),
        ({"attention": "fast"}, "attention='fast' must be one of"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny.VIT, **change)


def test_it_has_no_latents():
    model = perceiver_jax.build(tiny.VIT)
    with pytest.raises(ValueError, match="a transformer without latents has no latents"):
        model.encode({}, {}, IMAGES)
    assert isinstance(model.config, zoo.BaselineConfig)
