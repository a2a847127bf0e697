"""Postprocessors: golden arrays and errors."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.model import postprocessors
from perceiver_jax.model.postprocessors import (
    AudioOutputConfig,
    ClassOutputConfig,
    ImageOutputConfig,
    ProjectionOutputConfig,
)
from perceiver_jax.model.preprocessors import TokensConfig, TokensPreprocessor
from tests import golden_cases, released_settings

pytestmark = [pytest.mark.core, pytest.mark.usefixtures("highest_precision", "quick_compilation")]


def check_against_golden(case, config):
    def forward(x):
        return postprocessors.make_postprocessor(config)(x)

    golden_cases.assert_init_makes_tree_of(forward, case, case.inputs["x"])
    golden_cases.assert_close(
        golden_cases.run(forward, case, case.inputs["x"]), case.outputs["out"]
    )


@pytest.mark.parametrize("name", golden_cases.case_names("postproc_image_"))
def test_images_equal_golden(name):
    case = golden_cases.load(name)
    check_against_golden(case, released_settings.image_output(case.config["kwargs"]))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("postproc_audio", AudioOutputConfig(samples_per_patch=4)),
        ("postproc_projection", ProjectionOutputConfig(channels=3)),
        ("postproc_classification", ClassOutputConfig(num_classes=5)),
        # The released identity is an image of pixels that keeps its shape.
        ("postproc_identity", ImageOutputConfig(kind="pixels")),
    ],
)
def test_others_equal_golden(name, config):
    case = golden_cases.load(name)
    check_against_golden(case, config)


def test_tied_embedding_equals_golden():
    case = golden_cases.load("embedding_decoder")
    vocab_size, channels = case.config["vocab_size"], case.config["embed_dim"]

    def forward(ids, embeddings):
        embed = hk.Embed(vocab_size, channels, name="embed")
        return embed(ids), postprocessors.EmbeddingDecoder(embed.embeddings)(embeddings)

    inputs = case.inputs["ids"], case.inputs["embeddings"]
    golden_cases.assert_init_makes_tree_of(forward, case, *inputs)
    embedded, logits = golden_cases.run(forward, case, *inputs)
    golden_cases.assert_close(embedded, case.outputs["embedded"])
    golden_cases.assert_close(logits, case.outputs["logits"])


def test_tied_embedding_shares_its_gradient_with_the_input():
    def forward(ids):
        tokens = TokensPreprocessor(TokensConfig(length=2, vocab_size=5, channels=3))
        tokens(ids)
        return postprocessors.EmbeddingDecoder(tokens.embed.embeddings)(jnp.ones((1, 1, 3)))

    f = hk.transform(forward)
    ids = jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(f.init, jax.random.key(0), ids)
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    gradient = jax.grad(lambda p: f.apply(p, None, ids).sum())(params)
    np.testing.assert_array_equal(gradient["embed"]["embeddings"], np.ones((5, 3)))


class TestErrors:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"kind": "conv", "spatial_upsample": 4}, "needs channels"),
            ({"kind": "conv1x1"}, "needs channels"),
            ({"kind": "pixels", "spatial_upsample": 2}, "cannot upsample"),
            ({"kind": "conv", "channels": 3, "spatial_upsample": 2}, "upsamples images by 4"),
        ],
    )
    def test_impossible_image_configs(self, settings, words):
        with pytest.raises(ValueError, match=words):
            ImageOutputConfig(**settings)

    def test_videos_upsample_by_powers_of_two(self):
        config = ImageOutputConfig("conv", channels=2, temporal_upsample=3, spatial_upsample=4)
        f = hk.transform(lambda x: postprocessors.make_postprocessor(config)(x))
        with pytest.raises(ValueError, match="temporal_upsample=3 must be a power of 2"):
            jax.eval_shape(f.init, jax.random.key(0), jnp.zeros((1, 2, 3, 4, 5)))

    def test_embeddings_of_another_width(self):
        f = hk.transform(lambda x: postprocessors.EmbeddingDecoder(jnp.zeros((5, 3)))(x))
        with pytest.raises(ValueError, match="4 channels .* of 3"):
            jax.eval_shape(f.init, jax.random.key(0), jnp.zeros((1, 2, 4)))
