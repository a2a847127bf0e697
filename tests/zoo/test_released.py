"""The six released models: parameter trees, counts and initial values."""

import functools
import json
import math

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax.errors import ModelError
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.zoo import count
from tests import golden_cases

pytestmark = pytest.mark.core

INVENTORIES = json.loads((golden_cases.GOLDEN / "inventories.json").read_text())
INIT_STATS = json.loads((golden_cases.GOLDEN / "init_stats.json").read_text())
NUM_PARAMS = {
    "imagenet_fourier": 48_440_627,
    "imagenet_learned": 62_255_848,
    "imagenet_conv": 48_646_522,
    "mlm": 201_108_230,
    "optical_flow": 41_057_134,
    "video_autoencoding": 19_858_855,
}


def test_all_are_listed():
    assert set(NUM_PARAMS) == set(INVENTORIES) == set(INIT_STATS)
    assert set(NUM_PARAMS) <= set(perceiver_jax.list_models())


@functools.cache
def abstract(name: str):
    """Shapes of parameters and state; tracing takes a second."""
    return perceiver_jax.build(name).abstract_params()


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_tree_equals_inventory(name):
    for tree, kind in zip(abstract(name), ("params", "state"), strict=True):
        actual = {
            module: {entry: [list(x.shape), str(x.dtype)] for entry, x in entries.items()}
            for module, entries in tree.items()
        }
        assert actual == INVENTORIES[name][kind]


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_counts(name):
    assert count(abstract(name)[0]) == NUM_PARAMS[name] == INVENTORIES[name]["total_params"]
    num_state = 258 if name == "imagenet_conv" else 0
    assert count(abstract(name)[1]) == num_state == INVENTORIES[name]["total_state"]


def test_model_counts_its_parameters():
    model = perceiver_jax.build("imagenet_conv")
    assert (model.num_params(), model.num_state()) == (48_646_522, 258)


@functools.cache
def initial(name: str) -> dict[str, np.ndarray]:
    """Fresh parameters, of the full width but with one layer of the tower; all start alike."""
    model = perceiver_jax.build(name, **{"encoder.self_attends_per_block": 1})
    params, _ = model.init(jax.random.key(7))
    return {path: np.asarray(x) for path, x in golden_cases.flatten(params).items()}


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_initial_values_are_distributed_as_released(name):
    params = initial(name)
    for path, x in params.items():
        mean, std, low, high = INIT_STATS[name][path]
        if std == 0:
            assert (x == mean).all(), path
            continue
        # Five standard errors of the difference of two samples of this size.
        assert abs(x.mean() - mean) < 5 * std * math.sqrt(2 / x.size), path
        assert abs(x.std() - std) < 5 * std / math.sqrt(x.size), path
        if x.size > 5000:  # Truncated at the same value.
            assert x.max() == pytest.approx(high, rel=0.02), path
            assert x.min() == pytest.approx(low, rel=0.02), path
    constant = {path for path, x in params.items() if x.min() == x.max() and x.size > 1}
    assert all(
        path.endswith(("/b", "/offset", "/scale", "/bias", "/output/w")) for path in constant
    )
    varied = len(params) - len(constant)
    assert varied > len(params) / 4


def test_keys_make_other_parameters():
    # The smallest of all models: compiling the random numbers of a large one takes long.
    model = perceiver_jax.build(ConvNetConfig((4, 4), num_classes=3, widths=(2,), hidden=5))
    params, _ = jax.vmap(model.init)(jax.random.split(jax.random.key(0)))
    first, second = params["conv_net/conv2_d"]["w"]
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", NUM_PARAMS)
def test_example_inputs_have_the_released_size(name):
    shapes = jax.tree.map(lambda x: x.shape, perceiver_jax.build(name).example_inputs(3))
    assert (
        shapes
        == {
            "imagenet_fourier": ((3, 224, 224, 3),),
            "imagenet_learned": ((3, 224, 224, 3),),
            "imagenet_conv": ((3, 224, 224, 3),),
            "mlm": ((3, 2048), (3, 2048)),
            "optical_flow": ((3, 2, 368, 496, 3),),
            "video_autoencoding": (
                {"audio": (3, 30720, 1), "image": (3, 16, 224, 224, 3), "label": (3, 700)},
            ),
        }[name]
    )


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(ModelError, match="'imagenet_fourrier'.*Did you mean imagenet_fourier"):
        perceiver_jax.build("imagenet_fourrier")
