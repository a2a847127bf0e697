"""Parts and sizes of models: a tiny one worked out by hand, and those of the papers."""

import jax
import jax.numpy as jnp
import pytest

import perceiver_jax
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.model.decoders import ClassificationDecoderConfig
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.position_encoding import FourierConfig
from perceiver_jax.model.preprocessors import ImageConfig
from perceiver_jax.report.anatomy import (
    CROSS_ATTENDS,
    DECODER,
    NETWORK,
    POSTPROCESSOR,
    PREPROCESSOR,
    TOWERS,
    Attention,
    dissect,
)
from perceiver_jax.report.flops import Flops

pytestmark = pytest.mark.core

# 6 pixels of 3 + 2 * (2 * 2 + 1) = 13 channels; 5 latents of 14, in 2 heads; 17 classes from a
# query of 11.
TINY = PerceiverConfig(
    preprocessor=ImageConfig(shape=(2, 3), position=FourierConfig(num_bands=2)),
    encoder=EncoderConfig(
        num_latents=5,
        latent_channels=14,
        num_blocks=3,
        self_attends_per_block=2,
        num_cross_attends=2,
        self_attend_heads=2,
        self_attend_widening_factor=3,
    ),
    decoder=ClassificationDecoderConfig(num_classes=17, query_channels=11),
)


def test_the_cost_of_a_tiny_model_by_hand():
    anatomy = dissect(perceiver_jax.build(TINY))
    macs = {
        # Twice: queries, keys and values, scores and reading, output, MLP.
        CROSS_ATTENDS: 2
        * (5 * 14 * 13 + 2 * 6 * 13 * 13 + 2 * 5 * 6 * 13 + 5 * 13 * 14 + 2 * 5 * 14 * 14),
        # 3 towers of 2, which share their weights and cost nevertheless; MLP three times as wide.
        TOWERS: 6 * (4 * 5 * 14 * 14 + 2 * 5 * 5 * 14 + 2 * 5 * 14 * 42),
        # Query and output; keys and values; scores and reading; MLP; logits.
        DECODER: 2 * 11 * 14 + 2 * 5 * 14 * 14 + 2 * 5 * 14 + 2 * 11 * 11 + 11 * 17,
    }
    scores = {CROSS_ATTENDS: 2 * 5 * 6, TOWERS: 6 * 2 * 5 * 5, DECODER: 5}
    assert anatomy.flops == {part: Flops(2 * macs[part], 3 * scores[part]) for part in macs}
    assert anatomy.total_flops.total == 2 * sum(macs.values()) + 3 * sum(scores.values())


def test_the_sizes_of_a_tiny_model():
    anatomy = dissect(perceiver_jax.build(TINY))
    assert anatomy.inputs == {"inputs": (2, 3, 3)}
    assert anatomy.outputs == {"outputs": (17,)}
    assert (anatomy.elements, anatomy.latents, anatomy.queries) == ((6, 13), (5, 14), (1, 11))
    assert anatomy.attentions == {
        "cross-attends": Attention(2, 1, 5, 6, qk_channels=13, v_channels=13, mlp_channels=14),
        "self-attends": Attention(6, 2, 5, 5, qk_channels=14, v_channels=14, mlp_channels=42),
        "decoder": Attention(1, 1, 1, 5, qk_channels=14, v_channels=14, mlp_channels=11),
    }
    params, _ = perceiver_jax.build(TINY).init(jax.random.key(0))
    assert anatomy.num_params == sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_convolutional_baseline_is_one_part():
    config = ConvNetConfig(shape=(8, 8), num_classes=10, widths=(3, 5), hidden=7)
    anatomy = dissect(perceiver_jax.build(config))
    pixels = 64 * 9 * (1 * 3 + 3 * 3) + 16 * 9 * (3 * 5 + 5 * 5)  # Pooled once in between.
    assert anatomy.flops == {NETWORK: Flops(2 * (pixels + 4 * 5 * 7 + 7 * 10))}
    assert anatomy.elements is None and anatomy.latents is None and not anatomy.attentions


def test_every_part_of_a_multimodal_model_is_found():
    anatomy = dissect(
        perceiver_jax.build("video_autoencoding"),
        subsampled_output_points={
            "audio": jax.ShapeDtypeStruct((13,), jnp.int32),
            "image": jax.ShapeDtypeStruct((17,), jnp.int32),
            "label": None,
        },
    )
    assert (anatomy.elements, anatomy.latents) == ((52_097, 704), (784, 512))
    assert anatomy.queries == (13 + 17 + 1, 1026)
    assert anatomy.outputs == {"audio": (13 * 16,), "image": (17, 3), "label": (700,)}
    assert list(anatomy.flops) == [CROSS_ATTENDS, TOWERS, DECODER, POSTPROCESSOR]
    linear = 13 * 512 * 16 + 17 * 512 * 3 + 512 * 700
    assert anatomy.flops[POSTPROCESSOR] == Flops(2 * linear)


def test_what_comes_before_the_encoder_is_the_preprocessor():
    anatomy = dissect(perceiver_jax.build("optical_flow"))
    # 54 values of both frames' neighbourhoods become 64 channels; the patches are copies.
    assert anatomy.flops[PREPROCESSOR] == Flops(2 * 368 * 496 * 54 * 64)
    assert anatomy.queries == (182_528, 322)


def test_logits_by_a_tied_embedding_are_the_postprocessor():
    anatomy = dissect(perceiver_jax.build("mlm"))
    assert anatomy.flops[POSTPROCESSOR] == Flops(2 * 2048 * 768 * 262)
    assert PREPROCESSOR not in anatomy.flops  # Looking up costs nothing.
    assert anatomy.attentions["decoder"].heads == 8


def test_the_cost_of_a_cross_attend_and_of_the_towers_of_the_imagenet_model():
    """Perceiver, Sec. 4.1: 43.2B a cross-attend, 360.8B for 48 self-attends."""
    anatomy = dissect(perceiver_jax.build("perceiver_imagenet"))
    one_read = 2 * (
        512 * 1024 * 261  # queries
        + 2 * 50_176 * 261 * 261  # keys and values
        + 2 * 512 * 50_176 * 261  # scores and reading
        + 512 * 261 * 1024  # output
        + 2 * 512 * 1024 * 1024  # MLP
    )
    assert anatomy.flops[CROSS_ATTENDS].matmul == 8 * one_read
    assert f"{one_read / 1e9:.1f}" == "43.2"
    one_layer = 2 * (6 * 512 * 1024 * 1024 + 2 * 512 * 512 * 1024)
    assert anatomy.flops[TOWERS].matmul == 48 * one_layer
    assert f"{48 * one_layer / 1e9:.1f}" == "360.8"
    assert anatomy.flops[CROSS_ATTENDS].scores == 3 * 8 * 512 * 50_176
    assert anatomy.flops[TOWERS].scores == 3 * 48 * 8 * 512 * 512


@pytest.mark.parametrize(
    ("name", "num_params", "num_state"),
    [
        ("imagenet_fourier", 48_440_627, 0),
        ("imagenet_learned", 62_255_848, 0),
        ("imagenet_conv", 48_646_522, 258),
        ("mlm", 201_108_230, 0),
        ("optical_flow", 41_057_134, 0),
        ("video_autoencoding", 19_858_855, 0),
        ("perceiver_imagenet", 44_912_254, 0),
        ("perceiver_imagenet_unshared", 326_241_856, 0),
        ("perceiver_table5_4_cross_attends", 12_654_868, 0),
        ("perceiver_table5_8_cross_attends", 23_760_448, 0),
        ("perceiver_table5_12_cross_attends", 34_866_028, 0),
        ("perceiver_table6_1_at_start", 42_135_859, 0),
        ("perceiver_table6_1_interleaved", 42_135_859, 0),
        ("perceiver_io_flow_16_layers", 27_908_974, 0),
    ],
)
def test_parameters_to_the_unit(name, num_params, num_state):
    model = perceiver_jax.build(name)
    assert (model.num_params(), model.num_state()) == (num_params, num_state)
