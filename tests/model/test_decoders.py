"""Decoders: golden arrays, queries, masks, output points, errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import decoders
from perceiver_jax.model.byte_array import ByteArray
from perceiver_jax.model.decoders import (
    DecoderConfig,
    FlowDecoderConfig,
    ProjectionDecoderConfig,
    QueryConfig,
    VideoDecoderConfig,
)
from perceiver_jax.model.position_encoding import (
    FourierConfig,
    LearnedConfig,
    fourier_features,
    subsampled_positions,
)
from perceiver_jax.model.preprocessors import Elements
from tests import golden_cases, released_settings
from tests.random_params import transformed

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]


def decode(config):
    """A function of inputs, latents, output points and a query mask: outputs and queries."""

    def forward(x, latents, points=None, query_mask=None):
        decoder = decoders.make_decoder(config)
        query = decoder.decoder_query(Elements(ByteArray.of(x), x), points)
        return decoder(query, latents, query_mask), query.dense()

    return forward


BASIC = [
    name
    for name in golden_cases.case_names("decoder_")
    if golden_cases.manifest()[name]["config"]["cls"] == "BasicDecoder"
]


@pytest.mark.parametrize("name", BASIC)
def test_basic_decoder_equals_golden(name):
    case = golden_cases.load(name)
    forward = decode(released_settings.basic_decoder(case.config["kwargs"]))
    x, z = case.inputs["x"], case.inputs["z"]
    golden_cases.assert_init_makes_tree_of(forward, case, x, z)
    points, mask = case.inputs.get("subsampled_points"), case.inputs.get("query_mask")
    out, query = golden_cases.run(forward, case, x, z, points, mask)
    golden_cases.assert_close(query, case.outputs["query"])
    golden_cases.assert_close(out, case.outputs["out"])


def test_classification_equals_golden():
    case = golden_cases.load("decoder_classification")
    forward = decode(released_settings.classification_decoder(case.config["kwargs"]))
    inputs = case.inputs["x"], case.inputs["z"]
    golden_cases.assert_init_makes_tree_of(forward, case, *inputs)
    golden_cases.assert_close(golden_cases.run(forward, case, *inputs)[0], case.outputs["out"])


def test_flow_equals_golden():
    case = golden_cases.load("decoder_flow")
    (shape,) = case.config["args"]
    config = FlowDecoderConfig(tuple(shape), rescale_factor=case.config["kwargs"]["rescale_factor"])
    forward = decode(config)
    inputs = case.inputs["inputs"], case.inputs["z"]
    golden_cases.assert_init_makes_tree_of(forward, case, *inputs)
    out, query = golden_cases.run(forward, case, *inputs)
    np.testing.assert_array_equal(query, case.inputs["inputs"])  # The inputs are the queries.
    golden_cases.assert_close(out, case.outputs["out"])


def test_video_equals_golden():
    case = golden_cases.load("decoder_video")
    settings = dict(case.config)
    _, *shape = settings["output_shape"]
    channels = settings["output_num_channels"]
    query = QueryConfig(tuple(shape), released_settings.position(settings))
    forward = decode(VideoDecoderConfig(DecoderConfig(channels, query)))
    inputs = case.inputs["x"], case.inputs["z"]
    golden_cases.assert_init_makes_tree_of(forward, case, *inputs)
    golden_cases.assert_close(golden_cases.run(forward, case, *inputs)[0], case.outputs["out"])


def test_projection_equals_golden():
    case = golden_cases.load("decoder_projection")
    config = ProjectionDecoderConfig(**case.config["kwargs"])

    def forward(z):
        return decoders.ProjectionDecoder(config)(z)

    z = case.inputs["z"]
    golden_cases.assert_init_makes_tree_of(forward, case, z)
    golden_cases.assert_close(golden_cases.run(forward, case, z), case.outputs["out"])


X = np.random.default_rng(1).standard_normal((2, 12, 7)).astype(np.float32)
Z = np.random.default_rng(2).standard_normal((2, 5, 11)).astype(np.float32)
POINTS = np.array([7, 0, 11, 7])


@pytest.mark.parametrize(
    "config",
    [
        DecoderConfig(3, QueryConfig((3, 4), LearnedConfig(13))),
        DecoderConfig(3, QueryConfig((3, 4), LearnedConfig(13), concat_inputs=True)),
        DecoderConfig(3, query=None),
    ],
    ids=["learned", "learned_and_inputs", "inputs"],
)
def test_subsampled_points_are_rows_of_the_full_output(config):
    params, call = transformed(decode(config), X, Z)
    full, _ = call(params, X, Z)
    some, _ = call(params, X, Z, POINTS)
    golden_cases.assert_close(some, np.asarray(full)[:, POINTS], atol=1e-6)


def test_subsampled_fourier_points_follow_the_released_grid():
    fourier = FourierConfig(2, max_resolution=(3, 4))
    params, call = transformed(decode(DecoderConfig(3, QueryConfig((3, 4), fourier))), X, Z)
    _, query = call(params, X, Z, POINTS)
    positions = subsampled_positions(jnp.asarray(POINTS), (3, 4))
    expected = fourier_features(positions, fourier, (3, 4))
    golden_cases.assert_close(query[1], expected, atol=1e-6)


def test_masked_queries_read_nothing():
    mask = np.ones((2, 12), np.int32)
    mask[0, 3] = mask[1, 8] = 0
    params, call = transformed(
        decode(DecoderConfig(3, QueryConfig((12,), LearnedConfig(13)))), X, Z
    )
    plain, _ = call(params, X, Z, None, mask)
    other, _ = call(params, X, Z**2, None, mask)
    changed = np.asarray(plain != other).any(axis=-1)
    np.testing.assert_array_equal(changed, mask.astype(bool))
    # What they yield does not depend on the example.
    np.testing.assert_array_equal(plain[0, 3], call(params, X, Z[::-1], None, mask)[0][0, 3])


@pytest.mark.parametrize(
    ("config", "grid"),
    [
        (FlowDecoderConfig((3, 4)), (3, 4)),
        (
            VideoDecoderConfig(DecoderConfig(5, QueryConfig((2, 3, 2), LearnedConfig(13)))),
            (2, 3, 2),
        ),
    ],
    ids=["flow", "video"],
)
def test_grids_are_in_row_major_order(config, grid):
    params, call = transformed(decode(config), X, Z)
    out, _ = call(params, X, Z)
    some, _ = call(params, X, Z, POINTS)
    assert out.shape[1:-1] == grid and some.shape[1:-1] == (4,)
    flat = np.asarray(out).reshape(2, 12, -1)
    golden_cases.assert_close(some, flat[:, POINTS], atol=1e-6)


@pytest.mark.parametrize("kind", ["zeros", "default"])
def test_output_init(kind):
    config = DecoderConfig(3, QueryConfig((4,), LearnedConfig(13)), output_init=kind)
    f = hk.transform(decode(config))
    params = jax.jit(f.init)(jax.random.key(0), X, Z)
    assert (np.asarray(params["basic_decoder/output"]["w"]) == 0).all() == (kind == "zeros")


class TestErrors:
    def fails(self, words, config, *args):
        f = hk.transform(decode(config))
        with pytest.raises(ValueError, match=words):
            jax.eval_shape(f.init, jax.random.key(0), *args)

    def test_query_mask_of_another_size(self):
        config = DecoderConfig(3, QueryConfig((4,), LearnedConfig(13)))
        words = r"query_mask must have shape .*\(2, 4\); got \(2, 5\)"
        self.fails(words, config, X, Z, None, np.ones((2, 5)))

    def test_as_many_inputs_as_outputs(self):
        config = DecoderConfig(3, QueryConfig((4,), LearnedConfig(13), concat_inputs=True))
        self.fails("12 inputs and 4 outputs", config, X, Z)

    def test_video_queries_have_three_axes(self):
        with pytest.raises(ValueError, match=r"\(t, y, x\)"):
            VideoDecoderConfig(DecoderConfig(3, QueryConfig((4,), LearnedConfig(13))))
