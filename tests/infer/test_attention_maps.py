"""What latents looked at."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax import zoo
from perceiver_jax.errors import ModelError
from perceiver_jax.infer import attention_maps
from tests import tiny_models
from tests.infer.tiny_loaded import loaded, rereading, rgb_classifier

pytestmark = pytest.mark.usefixtures("quick_compilation")

HEIGHT, WIDTH = 6, 5


def image(shape=(HEIGHT, WIDTH)):
    return np.random.default_rng(5).standard_normal((1, *shape, 3)).astype(np.float32)


@pytest.mark.core
def test_maps_sum_to_one_over_positions():
    model = loaded(rereading(rgb_classifier(), 3, "all_but_first"))
    maps = attention_maps.cross_attends(model, image())
    assert maps.weights.shape == (3, 1, 3, HEIGHT, WIDTH)  # 3 cross-attends, 1 head, 3 latents.
    assert maps.names == ("cross-attend 1", "cross-attend 2", "cross-attend 3")
    np.testing.assert_allclose(maps.weights.sum(axis=(-2, -1)), 1, rtol=1e-5)
    np.testing.assert_allclose(maps.mean(), maps.weights[:, 0].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(maps.outputs, model.apply(image())[0], atol=1e-5)


@pytest.mark.parametrize("sharing", ["none", "all_but_first"])
def test_cross_attends_are_in_running_order(sharing):
    # Twelve of them: sorted as text, number 10 would come before number 2.
    model = loaded(rereading(rgb_classifier(), 12, sharing, num_blocks=0))
    maps = attention_maps.cross_attends(model, image())
    assert len(maps.names) == 12
    # The first does not depend on the others; every later one does on those before it. With the
    # queries of the last one set to zero, only that one reads everything evenly.
    key = "perceiver_encoder/~/cross_attention_11/attention/linear"
    if sharing == "all_but_first":
        key = "perceiver_encoder/~/cross_attention_1/attention/linear"
    zeroed = {**model.params, key: {k: jnp.zeros_like(v) for k, v in model.params[key].items()}}
    even = attention_maps.cross_attends(dataclasses.replace(model, params=zeroed), image())
    is_even = [bool(np.allclose(each, 1 / 30, atol=1e-6)) for each in even.weights]
    assert is_even == [False] * (11 if sharing == "none" else 1) + [True] * (
        1 if sharing == "none" else 11
    )
    np.testing.assert_allclose(even.weights[0], maps.weights[0], atol=1e-6)


def test_heads_and_patches():
    config = rgb_classifier((8, 12), prep="patches", spatial_downsample=4)
    encoder = dataclasses.replace(config.encoder, cross_attend_heads=2, qk_channels=14)
    model = loaded(dataclasses.replace(config, encoder=encoder))
    maps = attention_maps.cross_attends(model, image((8, 12)))
    assert maps.weights.shape == (1, 2, 3, 2, 3) and maps.num_heads == 2
    np.testing.assert_allclose(maps.weights.sum(axis=(-2, -1)), 1, rtol=1e-5)
    enlarged = attention_maps.upsample(maps.weights, (8, 12))
    assert enlarged.shape == (1, 2, 3, 8, 12)
    for y, x in ((0, 0), (3, 3), (4, 4), (7, 11)):
        np.testing.assert_array_equal(enlarged[..., y, x], maps.weights[..., y // 4, x // 4])


def test_permuted_elements_are_put_back():
    # Without positions the order cannot matter, so both models look at the same pixels.
    plain = loaded(rgb_classifier())
    config = plain.config
    shuffled = dataclasses.replace(
        plain,
        model=dataclasses.replace(
            plain.model,
            config=dataclasses.replace(
                config, preprocessor=dataclasses.replace(config.preprocessor, permutation_seed=3)
            ),
        ),
    )
    np.testing.assert_allclose(
        attention_maps.cross_attends(shuffled, image()).weights,
        attention_maps.cross_attends(plain, image()).weights,
        atol=1e-6,
    )


def test_padding_of_text_is_not_read():
    model = loaded(tiny_models.language_model())
    ids, mask = np.full((1, 11), 9, np.int32), np.ones((1, 11), np.int32)
    mask[:, 7:] = 0
    maps = attention_maps.cross_attends(model, ids, mask)
    assert maps.grid == (11,) and not maps.weights[..., 7:].any()
    short = attention_maps.restrict(maps, 7)
    assert short.grid == (7,)
    np.testing.assert_allclose(short.weights.sum(axis=-1), 1, rtol=1e-5)


def test_sound_and_points():
    sound = zoo.AudioConfig(12, 3, position=zoo.FourierConfig(num_bands=2))
    points = zoo.PointsConfig(9, zoo.FourierConfig(2, max_resolution=(4, 4, 4)))
    base = tiny_models.classifier()
    for preprocessor, shape, grid in ((sound, (1, 12, 1), (4,)), (points, (1, 8, 3), (8,))):
        model = loaded(dataclasses.replace(base, preprocessor=preprocessor))
        signal = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
        maps = attention_maps.cross_attends(model, signal)
        assert maps.grid == grid
        np.testing.assert_allclose(maps.weights.sum(axis=-1), 1, rtol=1e-5)


def test_rows_and_latents():
    weights = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    maps = attention_maps.AttentionMaps(("one", "two"), weights, None)
    rows = attention_maps.rows(maps, (2,))
    assert [[row.label for row in line] for line in rows] == [
        ["one: mean of latents", "one: latent 2"],
        ["two: mean of latents", "two: latent 2"],
    ]
    np.testing.assert_allclose(rows[1][0].weights, weights[1].mean(axis=(0, 1)))
    np.testing.assert_allclose(rows[1][1].weights, weights[1, :, 2].mean(axis=0))
    heads = attention_maps.rows(maps, (2,), per_head=True)
    assert heads[3][1].label == "two, head 1: latent 2"
    np.testing.assert_array_equal(heads[3][1].weights, weights[1, 1, 2])
    assert attention_maps.choose_latents(512, 6) == (0, 102, 204, 307, 409, 511)
    assert attention_maps.choose_latents(3, 6) == (0, 1, 2)


def test_what_has_no_attention():
    with pytest.raises(ModelError, match="no cross-attends"):
        attention_maps.cross_attends(loaded(zoo.ConvNetConfig((8, 8), 3, 3)), image((8, 8)))
    with pytest.raises(ValueError, match="one example"):
        attention_maps.cross_attends(loaded(rgb_classifier()), np.repeat(image(), 2, axis=0))
