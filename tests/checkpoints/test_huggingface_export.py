"""What cannot be exported is refused by name, and nothing is left half written."""

import json
import stat

import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import huggingface
from perceiver_jax.errors import CheckpointError, ModelError
from tests import golden_cases, golden_models, random_params
from tests.checkpoints import hf_models


def refused(config, folder, params=None, state=None):
    """The reason for which a model is not exported."""
    if params is None:
        params, state = random_params.model_params(perceiver_jax.build(config))
    with pytest.raises(CheckpointError) as caught:
        huggingface.write(folder / "export", params, state, config)
    assert not any(folder.iterdir())
    assert "--format=safetensors" in str(caught.value)
    return str(caught.value)


CHANGES = {
    "several cross-attends": (
        "fourier",
        {"encoder.num_cross_attends": 2},
        "encoder.num_cross_attends is 2; there it is 1",
    ),
    "bands": (
        "fourier",
        {"preprocessor.position.num_bands": 5},
        "preprocessor.position.num_bands is 5; there it is 64",
    ),
    "resolution": (
        "fourier",
        {"preprocessor.position.max_resolution": None, "preprocessor.shape": (9, 7)},
        "preprocessor.position.max_resolution is (9, 7); there it is (224, 224)",
    ),
    "no residual": (
        "fourier",
        {"decoder.use_query_residual": False},
        "decoder.use_query_residual is False; there it is True",
    ),
    "heads of the decoder": (
        "conv",
        {"decoder.num_heads": 2},
        "decoder.num_heads is 2; there it is 1",
    ),
    "width of the decoder": (
        "conv",
        {"decoder.qk_channels": 10},
        "decoder.qk_channels is 10; there it is 24",
    ),
    "width of the query": (
        "conv",
        {"decoder.query_channels": 10},
        "decoder.query_channels is 10; there it is 24",
    ),
    "other rules in encoder and decoder": (
        "flow",
        {"decoder.decoder.width_rule": "q"},
        "decoder.decoder.qk_channels is 322; there it is 24",
    ),
    "heads that do not divide": (
        "mlm",
        {"encoder.self_attend_heads": 16, "encoder.v_channels": 48},
        "encoder.self_attend_heads is 16; there it must divide latent_channels=24",
    ),
    "image that is not square": (
        "learned",
        {"preprocessor.shape": (6, 5)},
        "preprocessor.shape is (6, 5); there it is (6, 6)",
    ),
    "width of the stem": (
        "learned",
        {"preprocessor.prep_channels": 9},
        "preprocessor.prep_channels is 9; there it is 256",
    ),
    "permuted pixels": (
        "fourier",
        {"preprocessor.permutation_seed": 1},
        "preprocessor.permutation_seed is 1; there it is None",
    ),
    "patches of flow": (
        "flow",
        {"preprocessor.neighbourhood": 1},
        "preprocessor.neighbourhood is 1; there it is 3",
    ),
    "masked modalities": (
        "multimodal",
        {"preprocessor.mask_probabilities.audio.evaluation": 0.5},
        "mask_probabilities.audio.train is 0.5; there it is 0.0",
    ),
    "towers of their own": (
        "fourier",
        {"encoder.share_towers": False},
        "encoder.share_towers is False; there it is True",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_class_cannot_express(what, tmp_path):
    name, changes, words = CHANGES[what]
    message = refused(config_lib.override(hf_models.CONFIGS[name], changes), tmp_path)
    assert words in message and "PerceiverFor" in message


@pytest.mark.parametrize(
    "name",
    ["imagenet_fourier", "imagenet_conv_eval", "imagenet_learned", "mlm", "optical_flow"]
    + ["video_autoencoding"],
)
def test_small_golden_models_are_of_no_class(name, tmp_path):
    """Their bands or widths are smaller than those that the classes fix."""
    case = golden_cases.load(name)
    message = refused(golden_models.build(name).config, tmp_path, case.params, case.state)
    assert "there it is" in message


def test_models_without_a_class(tmp_path):
    for config, kind in (
        (zoo.ConvNetConfig(shape=(32, 32), num_classes=2), "ConvNetConfig"),
        (golden_models.projection_classifier(), "ImageConfig and ProjectionDecoderConfig"),
    ):
        assert f"no class for a model of {kind}" in refused(config, tmp_path)


def test_what_makes_no_difference_is_let_pass(tmp_path):
    """Initial values, dropout, names, widths spelled out, sizes that are any."""
    changes = {
        "preprocessor.shape": (33, 47),
        "encoder.dropout_prob": 0.1,
        "encoder.latent_init_scale": 0.5,
        "encoder.width_rule": "min",
        "encoder.cross_attend_placement": "at_start",
        "decoder.qk_channels": 24,
        "decoder.v_channels": 24,
        "decoder.width_rule": "q",
        "decoder.output_init": "zeros",
        "encoder_name": "my_encoder",
    }
    config = config_lib.override(hf_models.CONFIGS["fourier"], changes)
    params, state = random_params.model_params(perceiver_jax.build(config))
    assert huggingface.write(tmp_path / "x", params, state, config) == []
    loaded = huggingface.read(tmp_path / "x")
    assert loaded.config == config
    for path, array in golden_cases.flatten(params).items():
        np.testing.assert_array_equal(golden_cases.flatten(loaded.params)[path], array)
    fields = json.loads((tmp_path / "x" / "config.json").read_text())
    # The narrower side of 24 latent channels and 261 input channels are the queries'.
    assert fields["cross_attention_shape_for_attention"] == "q"
    assert fields["hidden_act"] == "gelu_pytorch_tanh"


def test_arrays_of_another_model(tmp_path):
    config, params, state = hf_models.model("fourier")
    del params["perceiver_encoder/~/cross_attention/mlp/linear"]
    with pytest.raises(ModelError, match="missing"):
        huggingface.write(tmp_path / "export", params, state, config)


def test_folders(tmp_path):
    config, params, state = hf_models.model("fourier")
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("x")
    with pytest.raises(CheckpointError, match="not an empty folder"):
        huggingface.write(full, params, state, config)
    with pytest.raises(CheckpointError, match="not an empty folder"):
        huggingface.write(full / "x", params, state, config)
    empty = tmp_path / "empty"
    empty.mkdir()
    huggingface.write(empty, params, state, config)
    huggingface.write(tmp_path / "a" / "b", params, state, config)
    for folder in (empty, tmp_path / "a" / "b"):
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
        }
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(full.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty", "full"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    config, params, state = hf_models.model("conv")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(CheckpointError, match="disk full"):
        huggingface.write(tmp_path / "x", params, state, config)
    assert not any(tmp_path.iterdir())
