"""ResNet: Haiku's own, with our positions, precision, recomputation and placement."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax.model.baselines import ResNetConfig
from perceiver_jax.model.execution import Execution
from perceiver_jax.model.position_encoding import FourierConfig
from perceiver_jax.train.assemble import assemble
from tests.model.baselines import tiny
from tests.random_params import model_params
from tests.train import equivalent

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = tiny.RESNET
IMAGES = np.random.default_rng(0).standard_normal((5, 16, 24, 2)).astype(np.float32)


def centred(model):
    """Parameters, and running means of 0: those of 1 would leave nothing above any ReLU."""
    params, state = model_params(model)
    return params, {
        module: jax.tree.map(np.zeros_like, arrays) if "mean_ema" in module else arrays
        for module, arrays in state.items()
    }


def test_resnet50_has_its_parameters():
    assert perceiver_jax.build("baseline_resnet50").num_params() == 25_557_032
    # 258 further channels of a 7 x 7 convolution of width 64.
    more = 49 * 258 * 64
    assert perceiver_jax.build("baseline_resnet50_fourier").num_params() == 25_557_032 + more


def test_is_haikus_network_by_its_names():
    """Parameters, state and logits are those of `hk.nets.ResNet18`."""
    config = ResNetConfig((33, 40), num_classes=7, depth=18)
    images = np.random.default_rng(1).standard_normal((3, 33, 40, 3)).astype(np.float32)
    ours = perceiver_jax.build(config)
    params, state = model_params(ours)
    haikus = hk.transform_with_state(lambda x: hk.nets.ResNet18(7)(x, is_training=True))
    abstract = jax.eval_shape(haikus.init, jax.random.key(0), images)
    assert jax.tree.map(jnp.shape, (params, state)) == jax.tree.map(jnp.shape, abstract)
    expected, expected_state = jax.jit(haikus.apply)(params, state, None, images)
    found, found_state = jax.jit(lambda p, s, x: ours.apply(p, s, None, x, is_training=True))(
        params, state, images
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        found_state,
        expected_state,
    )


def test_sizes_of_its_layers():
    params, state = perceiver_jax.build(CONFIG).abstract_params()
    net = "res_net50/~"
    assert params[f"{net}/initial_conv"]["w"].shape == (3, 3, 2 + 10, 7)
    assert params[f"{net}/block_group_3/~/block_0/~/shortcut_conv"]["w"].shape == (1, 1, 44, 52)
    assert params[f"{net}/logits"]["w"].shape == (52, 3)
    averages = f"{net}/initial_batchnorm/~/mean_ema"
    assert state[averages]["average"].shape == (1, 1, 1, 7)


def test_an_image_by_hand():
    """Two convolutions that copy, blocks that add nothing: the maximum over 3 x 3, then a mean."""
    config = ResNetConfig(
        (2, 2), 2, channels=1, depth=18, resnet_v2=True, stem_channels=1, stem_kernel_shape=1,
        stem_stride=1, group_strides=(1, 1, 1, 1), blocks_per_group=(1, 1, 1, 1),
        channels_per_group=(1, 1, 1, 1),
    )  # fmt: skip
    model = perceiver_jax.build(config)
    params, state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), model.abstract_params())
    params["res_net18/~/initial_conv"]["w"][:] = 2
    for group in (1, 2, 3):  # Projections of the shortcuts; the blocks' own convolutions are 0.
        name = f"res_net18/~/block_group_{group}/~/block_0/~/shortcut_conv"
        params[name]["w"][:] = 1
        norm = name.replace("shortcut_conv", "batchnorm_0")
        params[norm]["scale"][:] = 1
        state[f"{norm}/~/var_ema"]["average"][:] = 1 - 1e-5
    norm = "res_net18/~/final_batchnorm"
    params[norm]["scale"][:], params[norm]["offset"][:] = 3, -1
    state[f"{norm}/~/var_ema"]["average"][:] = 1 - 1e-5
    params["res_net18/~/logits"]["w"][:] = [[1, 10]]
    image = np.array([[1, 4], [2, 0]], np.float32)[None, :, :, None]
    # The largest of the four is 4; twice that is 8, and 3 * 8 - 1 is 23.
    logits, _ = model.apply(params, state, None, image)
    np.testing.assert_allclose(logits, [[23, 230]], rtol=1e-5)


def test_a_permutation_is_no_identity():
    model = perceiver_jax.build(CONFIG)
    permuted = perceiver_jax.build(CONFIG, permutation_seed=4)
    params, state = centred(model)
    plain, _ = jax.jit(model.apply)(params, state, None, IMAGES)
    shuffled, _ = jax.jit(permuted.apply)(params, state, None, IMAGES)
    assert np.abs(plain - shuffled).max() > 0.01


@pytest.mark.parametrize("v2", [False, True])
def test_every_parameter_has_a_gradient_recomputed_or_not(v2):
    model = perceiver_jax.build(CONFIG, resnet_v2=v2)
    params, state = model_params(model)

    def gradients(remat):
        def loss(params):
            logits, new_state = model.apply(
                params, state, None, IMAGES, is_training=True, execution=Execution(remat=remat)
            )
            return (logits**2).sum(), new_state

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    kept, recomputed = gradients("none"), gradients("layers")
    # Convolutions before a norm gain nothing from their own scale, but from everything else.
    assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(kept[0])) > 1e-6
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), kept, recomputed
    )


def test_bfloat16_is_close_and_keeps_statistics_in_float32():
    model = perceiver_jax.build(CONFIG)
    params, state = model_params(model)

    def run(dtype):
        return jax.jit(
            lambda p, s, x: model.apply(
                p, s, None, x, is_training=True, execution=Execution(compute_dtype=dtype)
            )
        )(params, state, IMAGES)

    (wide, wide_state), (narrow, narrow_state) = run(None), run("bfloat16")
    assert narrow.dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves(narrow_state)} == {
        x.dtype for x in jax.tree.leaves(wide_state)
    }
    error = np.abs(np.asarray(narrow) - wide).max()
    assert 0 < error < 0.1 * np.abs(wide).max()


def test_convolutions_are_in_bfloat16():
    model = perceiver_jax.build(CONFIG)
    params, state = model.abstract_params()
    program = jax.make_jaxpr(
        lambda p, s, x: model.apply(p, s, None, x, execution=Execution(compute_dtype="bfloat16"))
    )(params, state, *model.example_inputs())
    found = {str(x.aval.dtype) for eqn in _convolutions(program.jaxpr) for x in eqn.invars}
    assert found == {"bfloat16"}


def _convolutions(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "conv_general_dilated":
            yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _convolutions(inner)


def test_frozen_statistics_are_those_of_evaluation():
    model = perceiver_jax.build(CONFIG)
    params, state = centred(model)
    evaluated, _ = jax.jit(model.apply)(params, state, None, IMAGES)
    trained, new_state = jax.jit(
        lambda p, s, x: model.apply(p, s, None, x, is_training=True, frozen_state=tuple(state))
    )(params, state, IMAGES)
    assert np.std(evaluated, axis=0).max() > 0.01
    np.testing.assert_allclose(trained, evaluated, rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, new_state, state)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fsdp=8"])
def test_eight_devices_compute_what_one_does(layout):
    """Batch statistics included: they are those of the whole batch, not of a device's part."""
    axis = layout.partition("=")[0]
    mesh = equivalent.MeshConfig(**{"data": 1, axis: 8})
    config = dataclasses.replace(
        CONFIG,
        shape=(8, 8),
        channels=1,
        num_classes=10,
        position=FourierConfig(1),
        blocks_per_group=(1, 1, 1, 1),
    )
    one, eight = (
        equivalent.five_steps(
            assemble(
                dataclasses.replace(equivalent.experiment(layout), model=config),
                devices=jax.devices()[:number],
            )
        )
        for layout, number in ((equivalent.MeshConfig(), 1), (mesh, 8))
    )
    assert len(set(one[0])) == equivalent.STEPS
    equivalent.assert_equal(eight, one)


def test_an_unknown_depth_is_named():
    with pytest.raises(ValueError, match="depth=49 must be one of 18, 34, 50"):
        ResNetConfig((8, 8), 2, depth=49)
