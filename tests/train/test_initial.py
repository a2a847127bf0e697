"""Runs that start from a checkpoint: which weights are taken, and which are refused."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import native
from perceiver_jax.checkpoints.load import load_checkpoint
from perceiver_jax.data.images.config import FolderConfig, ImagesConfig
from perceiver_jax.errors import ConfigError, DataError, ModelError
from perceiver_jax.model.baselines import ConvNetConfig
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.evaluation import evaluate_checkpoint, evaluate_weights
from perceiver_jax.train.initial import initial_state
from perceiver_jax.train.loop import train
from tests.data.images.photos import write_tree
from tests.random_params import model_params
from tests.train.fake import MLP
from tests.train.tiny_experiment import tiny

OUTPUT = "classification_decoder/~/basic_decoder/output"


def experiment(num_classes: int = 10, **changes):
    """Digits, with a Perceiver of a few hundred parameters."""
    model = zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig((8, 8), channels=1, position=zoo.FourierConfig(num_bands=1)),
        encoder=zoo.EncoderConfig(
            num_latents=3,
            latent_channels=4,
            num_blocks=1,
            self_attends_per_block=1,
            self_attend_heads=2,
        ),
        decoder=zoo.ClassificationDecoderConfig(num_classes, query_channels=5),
    )
    return config_lib.override(
        tiny(),
        {"model": model, "trainer.num_epochs": None, "trainer.num_steps": 1, **changes},
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    config = experiment().model
    params, state = model_params(perceiver_jax.build(config), seed=1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    native.save(path, params, state, config)
    return path, params


def test_all_weights_are_those_of_the_checkpoint(weights):
    path, params = weights
    state = initial_state(assemble(experiment()), path)
    jax.tree.map(np.testing.assert_array_equal, state.params, params)
    assert int(state.step) == 0


def test_modules_that_start_afresh_keep_their_random_values(weights):
    path, params = weights
    parts = assemble(experiment(num_classes=10))
    at_random = initial_state(parts)
    mixed = initial_state(parts, path, fresh=["*/output"])
    for module, entries in params.items():
        kept = at_random.params if module == OUTPUT else params
        jax.tree.map(np.testing.assert_array_equal, mixed.params[module], kept[module])
        assert entries.keys() == mixed.params[module].keys()


def test_other_classes_need_a_fresh_output(weights, tmp_path):
    path, params = weights
    other = experiment(num_classes=13, **{"task.num_classes": 13})
    with pytest.raises(ModelError, match=r"does not fit the model of the experiment") as e:
        initial_state(assemble(other), path)
    assert "output/w [5, 10], expected [5, 13]" in str(e.value)
    assert f"--config.fresh={OUTPUT} lets it start at random" in str(e.value)
    with pytest.raises(ModelError, match="does not fit") as evaluated:
        evaluate_weights(other, path)
    assert "fresh" not in str(evaluated.value)
    state = initial_state(assemble(other), path, fresh=["*basic_decoder/output"])
    assert state.params[OUTPUT]["w"].shape == (5, 13)
    with pytest.raises(ConfigError, match="'ouput' matches no module"):
        initial_state(assemble(other), path, fresh=["ouput"])
    with pytest.raises(ConfigError, match="no meaning without config.checkpoint"):
        experiment(fresh=("a",))


def test_a_run_starts_from_a_checkpoint_and_can_be_loaded_itself(weights, tmp_path, capsys):
    path, params = weights
    # A rate of zero leaves the weights as they are.
    config = experiment(checkpoint=str(path), **{"schedule.base_lr": 0.0})
    result = train(config, tmp_path / "run")
    loaded = load_checkpoint(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, dict(loaded.params), params)
    assert loaded.config == config.model
    # The same weights have the same score, from a file or from a run.
    from_file = evaluate_weights(experiment(), path)
    from_run = evaluate_checkpoint(tmp_path / "run")
    for name in ("loss", "top_1"):
        assert from_file[name] == pytest.approx(from_run[name], abs=1e-6)
    assert from_file["checkpoint"] == str(path) and from_file["examples"] == from_run["examples"]
    assert result["step"] == 1


def test_weights_are_evaluated_where_there_are_no_training_images(weights, tmp_path):
    """A validation set and the order of its classes are all that an evaluation needs."""
    root = write_tree(tmp_path / "images", {"cat": 1, "dog": 1})
    shutil.rmtree(root / "train")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    data = ImagesConfig(
        images=FolderConfig(path=str(root), label_file=str(tmp_path / "labels.txt")),
        size=(8, 8),
        channels=1,
        mean=(0.0,),
        stddev=(255.0,),
    )
    path, _ = weights
    assert evaluate_weights(experiment(data=data), path)["examples"] == 4
    with pytest.raises(DataError, match="train, does not exist"):
        assemble(experiment(data=data))


def test_data_with_more_classes_than_the_task_are_refused():
    with pytest.raises(ConfigError, match=r"10 classes, and task.num_classes=7: .*num_classes=10"):
        assemble(experiment(num_classes=7, **{"task.num_classes": 7, "task.top_k": None}))


def test_a_model_with_other_outputs_than_the_task_has_classes_is_refused_at_once():
    config = experiment(**{"task.num_classes": 12})
    message = (
        r"has 10 outputs, and task.num_classes=12: .* Give --config.model.decoder.num_classes=12\.$"
    )
    with pytest.raises(ConfigError, match=message):
        assemble(config)
    (note,) = assemble(config, model=MLP()).notes  # A model of one's own is taken as it is.
    assert "the data have 10 classes" in note
    convnet = ConvNetConfig(shape=(8, 8), num_classes=11)
    with pytest.raises(ConfigError, match="Give --config.model.num_classes=12"):
        assemble(dataclasses.replace(config, model=convnet))


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(Exception, match=r"nothing\.pystate does not exist"):
        train(experiment(checkpoint=str(Path(tmp_path) / "nothing.pystate")), tmp_path / "run")
