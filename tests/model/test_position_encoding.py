"""Fourier features and learned positions: golden arrays, hand-computed values, errors."""

import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model.position_encoding import (
    FourierConfig,
    LearnedConfig,
    PositionEncoder,
    fourier_features,
    linear_positions,
    subsampled_positions,
)
from tests import golden_cases
from tests.random_params import transformed
from tests.released_settings import position, using_up

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision")]

_FEATURES = re.compile(r"ff/nb(\d+)_mr(\d+)x(\d+)_concat([01])_sine([01])")


@pytest.mark.parametrize(
    "output", [o for o in golden_cases.load("fourier_features").outputs if o.startswith("ff/")]
)
def test_features_equal_golden(output):
    case = golden_cases.load("fourier_features")
    match = _FEATURES.fullmatch(output)
    assert match
    bands, height, width, concat, sine = map(int, match.groups())
    config = FourierConfig(bands, None, concat_position=bool(concat), sine_only=bool(sine))
    features = fourier_features(case.inputs["pos"], config, (height, width))
    golden_cases.assert_close(features, case.outputs[output])
    assert features.shape[-1] == config.num_channels(2)


def test_released_imagenet_features_equal_golden():
    case = golden_cases.load("fourier_features")
    features = fourier_features(case.inputs["pos"], FourierConfig(64), (224, 224))
    # Both sides are this far from the exact value at most, as at full size.
    full_size = golden_cases.manifest()["posenc_fullsize_rows"]["config"]["imagenet_224"]
    atol = full_size["max_f32_vs_exact_f64"]
    golden_cases.assert_close(features, case.extra["ff_default_64"], atol=atol)


def test_linear_positions_equal_golden():
    outputs = golden_cases.load("fourier_features").outputs
    for key, dims in (("lin_5", (5,)), ("lin_3x4", (3, 4)), ("lin_1x3", (1, 3))):
        expected = outputs[key].reshape(-1, len(dims))
        golden_cases.assert_close(linear_positions(dims), expected, key, atol=1e-7)
    # Stored over the range [0, 1].
    expected = 2 * outputs["lin_2x3x4_range01"].reshape(-1, 3) - 1
    golden_cases.assert_close(linear_positions((2, 3, 4)), expected, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in golden_cases.case_names("posenc_") if "rows" not in n])
def test_encoder_equals_golden(name):
    case = golden_cases.load(name)
    with using_up(case.config["kwargs"]) as settings:
        dims, project_to = tuple(settings.pop("index_dims")), settings.pop("project_pos_dim", None)
        config = position(settings)

    def forward():
        return PositionEncoder(config, dims, project_to)()

    golden_cases.assert_init_makes_tree_of(forward, case)
    encoding = golden_cases.run(forward, case)
    for example in case.outputs["out"]:  # The stored one is repeated for each example.
        golden_cases.assert_close(encoding, example)
    if "out_pos_given" in case.outputs and isinstance(config, FourierConfig):
        at = golden_cases.run(
            lambda pos: PositionEncoder(config, dims, project_to).at(pos), case, case.inputs["pos"]
        )
        golden_cases.assert_close(at, case.outputs["out_pos_given"])


@pytest.mark.parametrize("key", golden_cases.manifest()["posenc_fullsize_rows"]["config"])
def test_rows_at_full_size_equal_golden(key):
    case = golden_cases.load("posenc_fullsize_rows")
    settings, rows = case.config[key], case.inputs[f"rows/{key}"]
    resolution = tuple(settings["max_resolution"])
    config = FourierConfig(settings["num_bands"], resolution)
    if "output_index_dims" in settings:
        positions = subsampled_positions(jnp.asarray(rows), tuple(settings["output_index_dims"]))
    else:
        dims = tuple(settings["index_dims"])
        positions = linear_positions(dims)[rows]
        assert settings["shape"] == [np.prod(dims), config.num_channels(len(dims))]
    features = fourier_features(positions, config, resolution)
    # Both sides are this far from the exact value at most; see the settings.
    atol = max(golden_cases.OUTPUT_ATOL, settings["max_f32_vs_exact_f64"])
    golden_cases.assert_close(features, case.outputs[f"rows/{key}"], atol=atol)


def test_hand_computed_features():
    # Two bands up to the Nyquist rate 4 / 2 = 2: frequencies 1 and 2.
    features = fourier_features(jnp.array([[0.25]]), FourierConfig(2), (4,))
    half_root = np.sqrt(0.5)
    expected = [[0.25, half_root, 1.0, half_root, 0.0]]
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_subsampled_positions_follow_the_released_rule():
    # Point 7 of a 3 x 4 grid is row 1, column 3: -1 + 2 * 1 / 3 and -1 + 2 * 3 / 4.
    positions = subsampled_positions(jnp.array([0, 7, 11]), (3, 4))
    expected = [[-1, -1], [-1 / 3, 0.5], [1 / 3, 0.5]]
    np.testing.assert_allclose(positions, expected, atol=1e-6)


def test_learned_points_are_rows_of_the_table():
    points = np.array([4, 1, 4])
    encode = lambda points=None: PositionEncoder(LearnedConfig(5), (3, 2))(points)  # noqa: E731
    params, call = transformed(encode, points)
    table = params["trainable_position_encoding"]["pos_embs"]
    np.testing.assert_array_equal(call(params, points), table[points])
    np.testing.assert_array_equal(call(params), table)


def test_learned_table_starts_truncated_at_two_standard_deviations():
    f = hk.transform(lambda: PositionEncoder(LearnedConfig(101, init_scale=0.5), (97,))())
    params = jax.jit(f.init)(jax.random.key(0))
    table = np.asarray(params["trainable_position_encoding"]["pos_embs"])
    # A normal truncated at two of its standard deviations, as wide as 0.5 before that.
    assert np.abs(table).max() == pytest.approx(2 * 0.5, rel=0.01)
    assert table.std() == pytest.approx(0.5 * 0.87962566, rel=0.02)
    assert table.mean() == pytest.approx(0, abs=0.02)


class TestErrors:
    def test_max_resolution_needs_an_entry_for_each_axis(self):
        with pytest.raises(ValueError, match=r"\(4, 4\) needs one entry for each of the 3 axes"):
            fourier_features(jnp.zeros((5, 3)), FourierConfig(2), (4, 4))

    def test_bands(self):
        with pytest.raises(ValueError, match="num_bands=0 must be at least 1"):
            FourierConfig(0)

    def test_learned_tables_have_no_coordinates(self):
        f = hk.transform(lambda x: PositionEncoder(LearnedConfig(5), (3,)).at(x))
        with pytest.raises(ValueError, match="learned .* cannot encode coordinates"):
            f.init(jax.random.key(0), jnp.zeros((2, 3, 1)))
