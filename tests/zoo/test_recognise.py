"""Told from names and shapes: the family, the sizes, and what is missing."""

import dataclasses

import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.zoo import recognise, released
from tests import golden_cases, released_settings, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.core

RELEASED = perceiver_jax.list_models()[:6]
GOLDEN_IMAGENET = ["imagenet_fourier", "imagenet_learned", "imagenet_conv_eval"]


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_size_is_the_released_config(name):
    shapes = recognise.shapes_of(*perceiver_jax.build(name).abstract_params())
    # The shapes in the file are those of the model.
    assert recognise.expected_shapes(zoo.get_config(name)) == shapes
    assert recognise._released_shapes()[name] == shapes
    assert recognise.config_for(shapes) == zoo.get_config(name)


@pytest.mark.parametrize("case_name", GOLDEN_IMAGENET)
def test_sizes_of_small_classifiers_are_told_and_the_rest_is_asked_for(case_name):
    case = golden_cases.load(case_name)
    expected = released_settings.imagenet(case.config)
    shapes = recognise.shapes_of(case.params, case.state)
    undetermined = recognise.config_for(shapes)
    assert isinstance(undetermined, recognise.Undetermined)
    assert undetermined.family == case_name.removesuffix("_eval")
    # Every size that is told is right, and with what is asked for the config is complete.
    values = {name: value(expected, name) for name in undetermined.needed}
    rebuilt = config_lib.override(
        zoo.get_config(undetermined.family), {**undetermined.sizes, **values}
    )
    assert rebuilt == expected
    # The same from the name of a model.
    assert recognise.config_for(shapes, zoo.get_config(undetermined.family), values) == expected
    # Overrides alone will do, if nothing is left open.
    assert recognise.config_for(shapes, None, values) == expected
    with pytest.raises(ModelError, match=r"arrays do not tell encoder\.num_blocks, .*--model="):
        perceiver_jax.build(undetermined)


def value(config, name: str):
    for part in name.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("tiny", "family"),
    [
        ("classifier", "imagenet_fourier"),
        ("language_model", "mlm"),
        ("optical_flow", "optical_flow"),
        ("video_autoencoder", "video_autoencoding"),
    ],
)
def test_families_of_tiny_models(tiny, family):
    model = perceiver_jax.build(tiny_models.ALL[tiny]())
    shapes = recognise.shapes_of(*model.abstract_params())
    found = recognise.recognise(shapes)
    assert found is not None and found.name == family


def test_sizes_of_a_tiny_video_autoencoder():
    # Its encoder is named otherwise than the released one's.
    config = dataclasses.replace(tiny_models.video_autoencoder(), encoder_name="encoder")
    shapes = recognise.shapes_of(*perceiver_jax.build(config).abstract_params())
    found = recognise.recognise(shapes)
    assert found is not None
    for name, size in found.sizes(shapes).items():
        # Widths that equal the default may be told as the default.
        if size is not None:
            assert value(config, name) == size, name


def test_a_text_classifier_is_told_from_a_language_model():
    config = config_lib.override(
        released.text_classifier(3),
        {
            "encoder.num_latents": 5,
            "encoder.latent_channels": 16,
            "encoder.v_channels": 16,
            "encoder.self_attends_per_block": 2,
            "preprocessor.length": 11,
            "decoder.query_channels": 16,
        },
    )
    shapes = recognise.shapes_of(*perceiver_jax.build(config).abstract_params())
    found = recognise.config_for(shapes)
    assert isinstance(found, recognise.Undetermined) and found.family == "text_classifier"
    assert recognise.config_for(shapes, released.text_classifier()) == config


def test_a_config_that_is_given_must_fit():
    config = tiny_models.classifier()
    params, state = model_params(perceiver_jax.build(config))
    shapes = recognise.shapes_of(params, state)
    assert recognise.config_for(shapes, config) == config
    # Sizes come from the arrays, all else from the config.
    assert recognise.config_for(shapes, config, {"encoder.num_blocks": 3}).encoder.num_blocks == 3
    with pytest.raises(ModelError, match="the model given: 0 of its 457") as error:
        recognise.config_for(shapes, released.mlm())
    assert "missing (the first 4 of " in str(error.value)
    assert "names are those of the family 'imagenet_fourier'" in str(error.value)
    with pytest.raises(ConfigError, match="num_block"):
        recognise.config_for(shapes, config, {"encoder.num_block": 3})


def test_differences_name_what_is_missing_unexpected_and_of_a_wrong_shape():
    shapes = dict(recognise.shapes_of(*perceiver_jax.build("imagenet_fourier").abstract_params()))
    del shapes["classification_decoder/~/basic_decoder/output", "b"]
    shapes["classification_decoder/~/basic_decoder/outptu", "b"] = (1000,)
    shapes["perceiver_encoder/~/self_attention_2/mlp/linear", "w"] = (1024, 1023)
    with pytest.raises(ModelError) as error:
        recognise.config_for(shapes)
    message = str(error.value)
    assert "basic_decoder/output/b [1000]" in message.partition("missing")[2]
    assert "outptu/b [1000]" in message.partition("unexpected")[2]
    assert "self_attention_2/mlp/linear/w [1024, 1023], expected [1024, 1024]" in message


def test_the_released_size_takes_overrides():
    shapes = recognise.shapes_of(*perceiver_jax.build("imagenet_fourier").abstract_params())
    config = recognise.config_for(shapes, None, {"preprocessor.shape": (256, 192)})
    expected = config_lib.override(
        zoo.get_config("imagenet_fourier"), {"preprocessor.shape": (256, 192)}
    )
    assert config == expected
    with pytest.raises(ModelError, match="do not fit imagenet_fourier with these changes"):
        recognise.config_for(shapes, None, {"decoder.num_classes": 10})


def test_arrays_of_no_model_get_the_nearest():
    shapes = dict(recognise.shapes_of(*perceiver_jax.build("optical_flow").abstract_params()))
    kept = {key: shape for key, shape in shapes.items() if "flow_decoder" not in key[0]}
    with pytest.raises(ModelError, match="the nearest is 'optical_flow'"):
        recognise.config_for(kept)
    with pytest.raises(ModelError, match=r"no array has a name .*there are: a/w \[3\]"):
        recognise.config_for({("a", "w"): (3,)})
    with pytest.raises(ModelError, match="there are no arrays"):
        recognise.config_for({})


def test_a_changed_array_is_found_at_any_size():
    case = golden_cases.load("imagenet_fourier")
    modules = ("layer_norm_1", "attention/linear_2", "mlp/linear")
    for module in (f"perceiver_encoder/~/self_attention/{part}" for part in modules):
        name = next(iter(case.params[module]))
        array = case.params[module][name]
        changed = {
            **case.params,
            module: {**case.params[module], name: np.zeros((1, *array.shape))},
        }
        with pytest.raises(ModelError):
            recognise.config_for(recognise.shapes_of(changed))
