"""Reading Hugging Face's files, and what is written equals what is read."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax.checkpoints import hf_config, hf_names, huggingface, native
from perceiver_jax.errors import CheckpointError, ModelError
from perceiver_jax.zoo import recognise, released
from tests import golden_cases
from tests.checkpoints import hf_models, hf_small

# Several times the largest difference there is; logits are up to 40, those of flow 0.06.
ATOL = {"optical-flow-perceiver": 1e-6}


@pytest.fixture(scope="module")
def tiny():
    """The tiny models, with Hugging Face's numerics."""
    return {
        name: huggingface.read(hf_small.FOLDER / name, numerics="huggingface")
        for name in hf_small.names()
    }


@pytest.mark.core
@pytest.mark.parametrize(("name", "case"), hf_small.cases())
def test_outputs_equal_those_of_transformers(name, case, tiny, highest_precision):
    loaded = tiny[name]
    model = perceiver_jax.build(loaded.config)
    inputs, arguments = hf_small.inputs(name, case)
    outputs, _ = jax.jit(model.apply)(loaded.params, loaded.state, None, *inputs, **arguments)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    expected = hf_small.outputs(name, case)
    assert set(outputs) == set(expected)
    for modality, golden in expected.items():
        golden_cases.assert_close(outputs[modality], golden, modality, atol=ATOL.get(name, 5e-5))


@pytest.mark.core
def test_released_numerics_is_the_released_structure():
    def read(name):
        return huggingface.read(hf_small.FOLDER / name)

    for name in hf_small.names():
        assert not read(name).config.exact_gelu and read(name).config.mask_outputs, name
    assert not read("vision-perceiver-learned").config.decoder.use_query_residual
    assert read("vision-perceiver-fourier").config.decoder.use_query_residual
    assert read("vision-perceiver-conv").config.preprocessor.stem_padding == "same"
    assert "query residual" in " ".join(read("vision-perceiver-learned").notes)


def test_config_json_of_the_released_models_gives_their_configs():
    """The published config.json files hold these values; the tensors' sizes are the released."""
    vision = {
        "num_latents": 512,
        "d_latents": 1024,
        "num_blocks": 8,
        "num_self_attends_per_block": 6,
        "num_self_attention_heads": 8,
        "num_cross_attention_heads": 1,
        "num_labels": 1000,
    }
    text = {"num_latents": 256, "d_latents": 1280, "d_model": 768, "qk_channels": 256}
    flow = {"num_latents": 2048, "d_latents": 512, "num_blocks": 1, "num_labels": 2}
    flow |= {"num_self_attends_per_block": 24, "num_self_attention_heads": 16}
    video = {"num_latents": 784, "d_latents": 512, "num_blocks": 1, "num_labels": 700}
    video |= {"num_self_attends_per_block": 8, "num_self_attention_heads": 8}
    one_head = {"num_cross_attention_heads": 1}
    for architecture, fields, expected in (
        ("ImageClassificationFourier", vision, released.imagenet_fourier()),
        ("ImageClassificationLearned", {**vision, "image_size": 224}, released.imagenet_learned()),
        ("ImageClassificationConvProcessing", vision, released.imagenet_conv()),
        ("MaskedLM", {**text, "v_channels": 1280}, released.mlm()),
        ("OpticalFlow", {**flow, **one_head}, released.optical_flow()),
        ("MultimodalAutoencoding", {**video, **one_head}, released.video_autoencoding()),
    ):
        family = hf_names.BY_ARCHITECTURE[f"PerceiverFor{architecture}"]
        found = hf_config.perceiver_config(family, fields)
        assert not config_lib.diff(found, expected), architecture


def assert_equal_trees(actual, expected):
    actual, expected = golden_cases.flatten(actual), golden_cases.flatten(expected)
    assert actual.keys() == expected.keys()
    for path, array in expected.items():
        assert actual[path].dtype == array.dtype, path
        assert actual[path].shape == array.shape, path
        assert actual[path].tobytes() == np.ascontiguousarray(array).tobytes(), path


@pytest.mark.core
@pytest.mark.parametrize("name", hf_models.CONFIGS)
def test_what_is_written_is_read_back_to_the_bit(name, tmp_path):
    config, params, state = hf_models.model(name)
    notes = huggingface.write(tmp_path / "export", params, state, config)
    assert bool(notes) == (name in ("learned", "conv", "mlm"))
    loaded = huggingface.read(tmp_path / "export")
    assert not loaded.notes and loaded.class_names is None
    assert loaded.config == config
    assert_equal_trees(loaded.params, params)
    assert_equal_trees(loaded.state, state)
    assert huggingface.is_huggingface(tmp_path / "export")
    assert huggingface.is_huggingface(tmp_path / "export" / "model.safetensors")
    # The file alone stands for the folder.
    assert huggingface.read(tmp_path / "export" / "model.safetensors").config == config


@pytest.mark.parametrize("name", hf_small.names())
def test_tiny_models_are_written_and_read_back(name, tmp_path, tiny):
    loaded = tiny[name]
    huggingface.write(tmp_path / "export", loaded.params, loaded.state, loaded.config)
    again = huggingface.read(tmp_path / "export")
    assert again.config == loaded.config
    assert_equal_trees(again.params, loaded.params)
    assert_equal_trees(again.state, loaded.state)
    # The tensors are those of the original, but for the type of a counter.
    original = load_file(hf_small.FOLDER / name / "model.safetensors")
    written = load_file(tmp_path / "export" / "model.safetensors")
    for tensor, array in original.items():
        if not tensor.endswith("num_batches_tracked"):
            assert written[tensor].tobytes() == array.tobytes(), tensor
    assert written.keys() == original.keys()
    fields = json.loads((tmp_path / "export" / "config.json").read_text())
    expected = json.loads((hf_small.FOLDER / name / "config.json").read_text())
    of_training = {"attention_probs_dropout_prob", "initializer_range", "layer_norm_eps"}
    of_training |= {"transformers_version"}
    for key in expected.keys() - of_training:
        assert fields[key] == expected[key], key


def test_an_export_without_our_mark_gives_the_same_config(tmp_path):
    """What config.json says to transformers, and the tensors, tell the same as our own entry."""
    for name in hf_models.CONFIGS:
        config, params, state = hf_models.model(name)
        folder = tmp_path / name
        huggingface.write(folder, params, state, config)
        fields = json.loads((folder / "config.json").read_text())
        del fields["perceiver_jax"]
        (folder / "config.json").write_text(json.dumps(fields))
        loaded = huggingface.read(folder)
        assert_equal_trees(loaded.params, params)
        assert not config_lib.diff(loaded.config, config), name


def test_an_export_that_transformers_gave_another_head(tmp_path):
    config, params, state = hf_models.model("conv")
    huggingface.write(tmp_path / "x", params, state, config)
    tensors = load_file(tmp_path / "x" / "model.safetensors")
    for name in ("weight", "bias"):
        key = f"perceiver.decoder.decoder.final_layer.{name}"
        tensors[key] = tensors[key][:3].copy()
    save_file(tensors, tmp_path / "x" / "model.safetensors")
    loaded = huggingface.read(tmp_path / "x")
    assert "changed since perceiver_jax wrote them" in loaded.notes[0]
    assert not any("kernel" in note for note in loaded.notes)
    assert loaded.config == config_lib.override(config, {"decoder.num_classes": 3})


class TestKernelLayout:
    def kernels(self, path, **arguments):
        loaded = huggingface.read(path, **arguments)
        return loaded.params["image_preprocessor/~/conv2_d_downsample/~/conv"]["w"], loaded.notes

    def test_of_a_file_that_does_not_say(self):
        path = hf_small.FOLDER / "vision-perceiver-conv"
        stored = load_file(path / "model.safetensors")[
            "perceiver.input_preprocessor.convnet.conv.weight"
        ]
        torch, notes = self.kernels(path)
        np.testing.assert_array_equal(torch, stored.transpose(2, 3, 1, 0))
        assert "'torch'" in notes[0] and "kernel_layout" in notes[0]
        published, notes = self.kernels(path, kernel_layout="published")
        np.testing.assert_array_equal(published, stored.transpose(3, 2, 1, 0))
        assert not notes
        # Hugging Face's outputs come from the kernel as it lies there, whatever it was meant as.
        for layout in ("published", "torch"):
            theirs, _ = self.kernels(path, kernel_layout=layout, numerics="huggingface")
            np.testing.assert_array_equal(theirs, torch)
        with pytest.raises(CheckpointError, match="kernel_layout='hwio' does not exist"):
            self.kernels(path, kernel_layout="hwio")

    def test_of_a_pickle_of_deepminds(self):
        config, params, _ = hf_models.model("conv")
        kernel = params["image_preprocessor/~/conv2_d_downsample/~/conv"]["w"]
        theirs, changed = huggingface.with_numerics(
            params, config, "huggingface", transpose_kernel=True
        )
        swapped = theirs["image_preprocessor/~/conv2_d_downsample/~/conv"]["w"]
        np.testing.assert_array_equal(swapped, kernel.swapaxes(0, 1))
        assert changed.preprocessor.stem_padding == "torch" and changed.exact_gelu
        same, unchanged = huggingface.with_numerics(
            params, config, "released", transpose_kernel=True
        )
        assert unchanged == config
        assert same["image_preprocessor/~/conv2_d_downsample/~/conv"]["w"] is kernel
        with pytest.raises(CheckpointError, match="numerics='hf' does not exist"):
            huggingface.with_numerics(params, config, "hf")


def test_the_published_size_means_the_published_kernel():
    shapes = dict(recognise.expected_shapes(released.imagenet_conv()))
    notes = []
    assert huggingface._kernel_layout(None, {}, shapes, notes) == "published"
    assert "'published'" in notes[0]
    shapes["classification_decoder/~/basic_decoder/output", "b"] = (10,)
    assert huggingface._kernel_layout(None, {}, shapes, notes) == "torch"


class TestBatchNormState:
    def test_counts_as_settled_if_not_ours(self):
        loaded = huggingface.read(hf_small.FOLDER / "vision-perceiver-conv")
        assert len(loaded.state) == 2
        for entries in loaded.state.values():
            np.testing.assert_array_equal(entries["hidden"], entries["average"])
            # What Haiku divides by has no share of the start left, so averages go on from there.
            assert np.float32(1) - np.float32(0.9) ** np.float32(entries["counter"]) == 1

    def test_is_left_out_where_transformers_went_on_training(self, tmp_path):
        config, params, state = hf_models.model("conv")
        huggingface.write(tmp_path / "x", params, state, config)
        tensors = load_file(tmp_path / "x" / "model.safetensors")
        mean = tensors["perceiver.input_preprocessor.convnet.batchnorm.running_mean"]
        mean += 1
        save_file(tensors, tmp_path / "x" / "model.safetensors")
        loaded = huggingface.read(tmp_path / "x")
        assert "was left out" in loaded.notes[0]
        entries = loaded.state["image_preprocessor/~/conv2_d_downsample/~/batchnorm/~/mean_ema"]
        np.testing.assert_array_equal(entries["average"].ravel(), mean)
        np.testing.assert_array_equal(entries["hidden"].ravel(), mean)


def test_parts_with_an_index_and_half_precision(tmp_path):
    name = "vision-perceiver-fourier"
    whole = huggingface.read(hf_small.FOLDER / name)
    tensors = load_file(hf_small.FOLDER / name / "model.safetensors")
    hf_small.copy(name, tmp_path / "parts")
    (tmp_path / "parts" / "model.safetensors").unlink()
    weight_map = {}
    for i, dtype in enumerate((np.float16, ml_dtypes.bfloat16)):
        part = {k: x.astype(dtype) for k, x in sorted(tensors.items())[i::2]}
        save_file(part, tmp_path / "parts" / f"model-{i}.safetensors")
        weight_map |= dict.fromkeys(part, f"model-{i}.safetensors")
    index = tmp_path / "parts" / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    loaded = huggingface.read(tmp_path / "parts")
    for path, array in golden_cases.flatten(loaded.params).items():
        assert array.dtype == np.float32
        golden_cases.assert_close(array, golden_cases.flatten(whole.params)[path], path, atol=0.02)
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(CheckpointError, match="no file beside it"):
        huggingface.read(tmp_path / "parts")
    index.write_text(json.dumps({"weight_map": {"a": "model-7.safetensors"}}))
    with pytest.raises(CheckpointError, match="model-7.safetensors, which is missing"):
        huggingface.read(tmp_path / "parts")


def test_class_names(tmp_path):
    names = ["crane", "crane", "Köchel"] + ["x", "y"]
    config, params, state = hf_models.model("fourier")
    huggingface.write(tmp_path / "x", params, state, config, class_names=names)
    assert huggingface.read(tmp_path / "x").class_names == tuple(names)
    assert huggingface.class_names(tmp_path / "x") == tuple(names)
    assert huggingface.class_names(hf_small.FOLDER / "vision-perceiver-conv") is None
    with pytest.raises(CheckpointError, match="2 class names were given for a model of 5"):
        huggingface.write(tmp_path / "y", params, state, config, class_names=["a", "b"])


class TestWithoutConfigJson:
    def weights(self, name, folder):
        shutil.copy(hf_small.FOLDER / name / "model.safetensors", folder)
        return folder / "model.safetensors"

    @pytest.mark.parametrize("name", hf_small.names())
    def test_arrays_load_and_the_rest_is_asked_for(self, name, tmp_path):
        path = self.weights(name, tmp_path)
        known = huggingface.read(hf_small.FOLDER / name)
        loaded = huggingface.read(path)
        assert_equal_trees(loaded.params, known.params)
        assert isinstance(loaded.config, recognise.Undetermined)
        assert "encoder.self_attend_heads" in loaded.config.needed
        with pytest.raises(CheckpointError, match="self_attend_heads"):
            huggingface.read(path, numerics="huggingface")
        given = huggingface.read(path, config=known.config, numerics="huggingface")
        assert (
            given.config == huggingface.read(hf_small.FOLDER / name, numerics="huggingface").config
        )

    def test_a_config_of_other_sizes(self, tmp_path):
        path = self.weights("vision-perceiver-fourier", tmp_path)
        with pytest.raises(ModelError, match="do not fit"):
            huggingface.read(path, config=released.mlm())


def test_overrides(tmp_path):
    path = hf_small.FOLDER / "vision-perceiver-fourier"
    overrides = {"encoder.num_blocks": "5", "exact_gelu": "true"}
    config = huggingface.read(path, overrides=overrides).config
    assert config.encoder.num_blocks == 5 and config.exact_gelu
    with pytest.raises(ModelError, match="71 of its 72 arrays agree"):
        huggingface.read(path, overrides={"encoder.num_latents": "5"})


def test_is_huggingface(tmp_path):
    assert all(huggingface.is_huggingface(hf_small.FOLDER / name) for name in hf_small.names())
    assert not huggingface.is_huggingface(tmp_path)
    assert not huggingface.is_huggingface(tmp_path / "nothing")
    config, params, state = hf_models.model("fourier")
    native.save(tmp_path / "ours.safetensors", params, state, config)
    assert not huggingface.is_huggingface(tmp_path / "ours.safetensors")
    (tmp_path / "text").write_text("{}")
    assert not huggingface.is_huggingface(tmp_path / "text")
    (tmp_path / "empty").write_text("")
    assert not huggingface.is_huggingface(tmp_path / "empty")


_MEMORY = """
import re, sys
from pathlib import Path
import jax.numpy as jnp
import perceiver_jax
from perceiver_jax.checkpoints import huggingface
def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
jnp.zeros(3).block_until_ready()
huggingface.read(sys.argv[1])  # Imports, and what tracing takes.
before = peak()
params, state, config = perceiver_jax.load_checkpoint(sys.argv[2])
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's counters")
def test_loading_takes_the_memory_of_the_arrays(tmp_path):
    config = released.imagenet_fourier()
    shapes, _ = perceiver_jax.build(config).abstract_params()
    params = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    huggingface.write(tmp_path / "big", params, {}, config)
    small = hf_small.FOLDER / "vision-perceiver-fourier"
    added = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(small), str(tmp_path / "big")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    size = (tmp_path / "big" / "model.safetensors").stat().st_size
    # What is mapped of the file at a time comes to it, and matters less for larger files.
    assert size - 2**20 < int(added) < 1.3 * size + 64 * 2**20
