"""`load_checkpoint` tells formats and models by content, and asks for what it cannot tell."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import load, native
from perceiver_jax.checkpoints.store import CheckpointStore
from perceiver_jax.data.digits import DigitsConfig
from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.folder import FolderConfig
from perceiver_jax.data.synthetic import ArrayConfig, SyntheticConfig
from perceiver_jax.errors import CheckpointError, ModelError
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import ConstantCosine, ExperimentConfig, KeepConfig, TrainerConfig
from perceiver_jax.zoo.recognise import Undetermined
from tests import golden_cases, released_settings, tiny_models
from tests.random_params import model_params

pytestmark = pytest.mark.core

PICKLES = golden_cases.GOLDEN / "pickles"
HUGGINGFACE = golden_cases.GOLDEN / "hf_small"
FOURIER = PICKLES / "imagenet_fourier_position_encoding.tiny.pystate"


def assert_trees_equal(one, other):
    assert {m: set(e) for m, e in one.items()} == {m: set(e) for m, e in other.items()}
    for module, entries in other.items():
        for name, array in entries.items():
            np.testing.assert_array_equal(one[module][name], array)


def _times(scale, tree):
    return jax.tree.map(lambda x: scale * x, tree)


@pytest.fixture
def native_file(tmp_path: Path) -> Path:
    config = tiny_models.classifier()
    params, state = model_params(perceiver_jax.build(config))
    native.save(tmp_path / "weights", params, state, config)
    return tmp_path / "weights"


def test_formats_are_told_by_content_not_by_name(tmp_path, native_file):
    pickled = tmp_path / "weights.safetensors"
    shutil.copy(FOURIER, pickled)
    bare = tmp_path / "renamed.pystate"
    shutil.copy(HUGGINGFACE / "vision-perceiver-fourier/model.safetensors", bare)
    assert load.format_of(pickled) == "deepmind"
    assert load.format_of(native_file) == "safetensors"
    assert load.format_of(HUGGINGFACE / "language-perceiver") == "huggingface"
    assert load.format_of(bare) == "huggingface"


@pytest.mark.parametrize(
    ("file", "case_name", "family"),
    [
        (FOURIER.name, "imagenet_fourier", "imagenet_fourier"),
        ("language_perceiver_io_bytes.tiny.pickle", "mlm", "mlm"),
        ("optical_flow_checkpoint.tiny.pystate", "optical_flow", "optical_flow"),
        ("variant_conv_protocol2.pystate", "imagenet_conv_eval", "imagenet_conv"),
    ],
)
def test_small_pickles_load_without_a_config(file, case_name, family):
    case = golden_cases.load(case_name)
    params, state, config = perceiver_jax.load_checkpoint(PICKLES / file)
    assert_trees_equal(params, case.params)
    assert_trees_equal(state, case.state)
    assert isinstance(config, Undetermined) and config.family == family
    with pytest.raises(ModelError, match=f"{file}: these are the arrays of"):
        perceiver_jax.build(config)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((params, state)))


def test_a_config_makes_a_small_pickle_a_model():
    case = golden_cases.load("imagenet_fourier")
    expected = released_settings.imagenet(case.config)
    for arguments in (
        {"config": expected},
        {
            "model": "imagenet_fourier",
            "overrides": {
                "encoder.num_blocks": "2",
                "encoder.self_attend_heads": "4",
                "preprocessor.shape": "9,7",
                "preprocessor.position.max_resolution": "9,7",
            },
        },
    ):
        params, state, config = perceiver_jax.load_checkpoint(FOURIER, **arguments)
        assert config == expected
    logits, _ = perceiver_jax.build(config).apply(params, state, None, case.inputs["images"])
    golden_cases.assert_close(
        logits, case.outputs["out"] if "out" in case.outputs else next(iter(case.outputs.values()))
    )


def test_a_config_that_does_not_fit():
    with pytest.raises(ModelError, match=r"tiny\.pystate: the arrays do not fit the model given"):
        perceiver_jax.load_checkpoint(FOURIER, config=tiny_models.classifier())
    with pytest.raises(ModelError, match="not both"):
        perceiver_jax.load_checkpoint(FOURIER, config=tiny_models.classifier(), model="mlm")
    with pytest.raises(ModelError, match="no model named 'mlmm'"):
        perceiver_jax.load_checkpoint(FOURIER, model="mlmm")
    with pytest.raises(ModelError, match="numerics='huggingface', these are the arrays"):
        perceiver_jax.load_checkpoint(FOURIER, numerics="huggingface")


def test_our_own_files_need_nothing_else(native_file):
    params, state, config = perceiver_jax.load_checkpoint(native_file)
    assert config == tiny_models.classifier() and state == {}
    more = perceiver_jax.load_checkpoint(native_file, overrides={"encoder.num_blocks": 5})
    assert more.config.encoder.num_blocks == 5
    with pytest.raises(ModelError, match="do not fit the config inside"):
        perceiver_jax.load_checkpoint(native_file, overrides={"encoder.num_latents": 99})


def test_numerics_of_our_own_weights(native_file):
    _, _, config = perceiver_jax.load_checkpoint(native_file, numerics="huggingface")
    # An export says hidden_act="gelu_pytorch_tanh", so that is what Hugging Face computes.
    assert not config.exact_gelu and config.decoder.use_query_residual


def test_a_deepmind_kernel_is_turned_for_the_outputs_of_the_published_port():
    case = golden_cases.load("imagenet_conv_eval")
    path = PICKLES / "imagenet_conv_preprocessing.tiny.pystate"
    config = released_settings.imagenet(case.config)
    module = "image_preprocessor/~/conv2_d_downsample/~/conv"
    kernel = case.params[module]["w"]
    released = perceiver_jax.load_checkpoint(path, config=config)
    ported = perceiver_jax.load_checkpoint(path, config=config, numerics="huggingface")
    np.testing.assert_array_equal(released.params[module]["w"], kernel)
    np.testing.assert_array_equal(ported.params[module]["w"], kernel.swapaxes(0, 1))
    assert ported.config.preprocessor.stem_padding == "torch" and ported.config.exact_gelu


def test_a_work_directory(tmp_path):
    from perceiver_jax.config import to_dict

    config = tiny_models.classifier()
    params, _ = model_params(perceiver_jax.build(config))
    store = CheckpointStore(tmp_path / "run" / "checkpoints")
    averages = jax.tree.map(jax.numpy.asarray, _times(3, params))
    for step, scale, ema in ((5, 1.0, None), (7, 9.0, averages), (10, 2.0, None)):
        state = {
            "params": jax.tree.map(jax.numpy.asarray, _times(scale, params)),
            "ema": ema,
            "model_state": {},
            "opt_state": {"mu": jax.numpy.ones(3)},
            "step": jax.numpy.asarray(step),
        }
        store.save(step, state, {"model": to_dict(config)})
    store.wait()
    store.close()
    newest = perceiver_jax.load_checkpoint(tmp_path / "run")
    assert newest.config == config
    assert_trees_equal(newest.params, _times(2, params))
    _check_selected(tmp_path / "run", config, {5: _times(1, params), 10: _times(2, params)})
    first = perceiver_jax.load_checkpoint(tmp_path / "run" / "checkpoints" / "5")
    assert_trees_equal(first.params, params)
    # Where the run averages its weights, the averages are what one gets.
    averaged = perceiver_jax.load_checkpoint(tmp_path / "run" / "checkpoints" / "7")
    assert_trees_equal(averaged.params, averages)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "7")
    # A damaged newest one is passed over, and said so.
    for file in (tmp_path / "run" / "checkpoints" / "10").rglob("*"):
        if file.is_file() and file.stat().st_size > 2000:
            file.write_bytes(file.read_bytes()[:1000])
    lines: list[str] = []
    older = perceiver_jax.load_checkpoint(tmp_path / "run", report=lines.append)
    assert_trees_equal(older.params, params)
    assert len(lines) == 2 and "Checkpoint 10 is damaged" in lines[0]
    assert "Falling back to checkpoint 5" in lines[0]
    assert lines[1] == f"{tmp_path / 'run'}: the checkpoint of step 5, the newest"


def _check_selected(run, model, expected):
    """What stands for a run is the checkpoint of its result, as for `evaluate`."""
    entries = [
        {"step": step, "split": "test", "loss": loss} for step, loss in ((5, 1.0), (10, 2.0))
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in entries))
    experiment = ExperimentConfig(
        name="run",
        model=model,
        task=ClassificationConfig(num_classes=3, top_k=None),
        data=DigitsConfig(),
        trainer=TrainerConfig(
            num_steps=10, eval_every=5, checkpoint_every=5, keep=KeepConfig(metric="loss")
        ),
    )
    for select, step, how in (("last", 10, "the newest"), ("test", 5, "selected by test score")):
        config = config_lib.override(experiment, {"evaluation.select": select})
        (run / "config.json").write_text(json.dumps(config_lib.to_dict(config)))
        lines = []
        found = perceiver_jax.load_checkpoint(run, report=lines.append)
        assert_trees_equal(found.params, expected[step])
        assert lines == [f"{run}: the checkpoint of step {step}, {how}"]
    (run / "config.json").unlink()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "holds no checkpoint: expected model.safetensors"),
        (lambda path: path.write_text("hello"), "is no checkpoint that is known"),
        (lambda path: path.write_bytes(b""), "is no checkpoint that is known"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, make, words):
    make(tmp_path / "weights")
    with pytest.raises(CheckpointError, match=f"weights.* {words}"):
        perceiver_jax.load_checkpoint(tmp_path / "weights")


def test_arrays_of_no_model(tmp_path):
    path = tmp_path / "changed.safetensors"
    params, state, _ = perceiver_jax.load_checkpoint(FOURIER)
    params["perceiver_encoder/~/cross_attention/mlp/linear"]["w"] = np.ones((3, 4), np.float32)
    native.save(path, params, state, zoo.get_config("imagenet_fourier"))
    with pytest.raises(ModelError, match=r"changed\.safetensors: the arrays do not fit"):
        perceiver_jax.load_checkpoint(path)


@pytest.mark.slow
def test_loading_holds_one_copy(tmp_path):
    """Peak memory of the process grows by at most 1.3 times the file, imports included."""
    config = zoo.get_config("imagenet_learned")
    params, state = model_params(perceiver_jax.build(config))
    path = tmp_path / "weights.safetensors"
    native.save(path, params, state, config)
    program = f"""
import resource, jax
import perceiver_jax
jax.devices()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
loaded = perceiver_jax.load_checkpoint({str(path)!r})
jax.block_until_ready(loaded.params)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) < 1.3 * path.stat().st_size


def test_a_work_directory_has_the_class_names_of_its_data(tmp_path):
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    experiment = ExperimentConfig(
        name="digits",
        model=tiny_models.classifier(),
        task=ClassificationConfig(num_classes=3, top_k=None),
        data=DigitsConfig(digits=(2, 3, 5)),
        trainer=TrainerConfig(num_steps=1),
        schedule=ConstantCosine(base_lr=0.1),
    )

    def names(**changes):
        config = dataclasses.replace(experiment, **changes)
        (tmp_path / "config.json").write_text(json.dumps(config_lib.to_dict(config)))
        found = load.class_names(tmp_path)
        assert load.class_names(tmp_path / "checkpoints" / "4") == found
        return found

    assert names() == ("2", "3", "5")
    # More outputs than classes, data that have moved, data without names, no config.
    assert names(task=ClassificationConfig(num_classes=4, top_k=None)) is None
    images = FolderConfig(path=str(tmp_path / "gone"))
    assert names(data=ImagesConfig(images=images)) is None
    # What a run has noted itself is there wherever its data are.
    noted = tmp_path / load.CLASS_NAMES
    for text, expected in (('{"class_names": ["a", "b", "c"]}', ("a", "b", "c")), ("[1]", None)):
        noted.write_text(text)
        assert names(data=ImagesConfig(images=images)) == expected
    noted.unlink()
    assert names(data=SyntheticConfig(arrays={"image": ArrayConfig(shape=(8, 8, 1))})) is None
    (tmp_path / "config.json").write_text("{")
    assert load.class_names(tmp_path) is None
    (tmp_path / "config.json").unlink()
    assert load.class_names(tmp_path) is None
