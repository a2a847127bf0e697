"""Exports in transformers itself, where torch and transformers are installed (extra `hf`).

The small golden cases of the released models have bands, widths and heads that no class of
transformers has, so most tests here are of small models that it can express. At full size, two
golden cases go through it as they are.
"""

import shutil
import tempfile

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.checkpoints import hf_fields, huggingface
from perceiver_jax.errors import CheckpointError
from perceiver_jax.model.position_encoding import (
    fourier_features,
    linear_positions,
    subsampled_positions,
)
from tests import golden_cases
from tests.checkpoints import hf_models, hf_small

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.usefixtures("highest_precision"),
    # What the two libraries deprecate in themselves is no concern here.
    pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning"),
]

ATOL = 1e-4


def load(folder, config):
    """The export in transformers; fails if a weight is left over, missing or made anew."""
    architecture = hf_fields.family_of(config).architecture
    model, info = getattr(transformers, architecture).from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values()), info
    return model.eval()


def channels_first(x):  # [..., y, x, c] -> [..., c, y, x]
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, -3)))


def theirs(model, name, inputs, points=None):
    """Outputs of transformers for inputs of ours, by modality."""
    arguments = {}
    if name in ("mlm", "text"):
        arguments["attention_mask"] = torch.from_numpy(inputs[1])
        given = torch.from_numpy(inputs[0])
    elif name == "multimodal":
        given = {key: torch.from_numpy(x) for key, x in inputs[0].items() if key != "image"}
        given["image"] = channels_first(inputs[0]["image"])
        arguments["subsampled_output_points"] = {
            key: torch.from_numpy(x) for key, x in points.items()
        } | {"label": None}
    elif name == "flow":
        given = flow_patches(inputs[0])
    else:
        given = channels_first(inputs[0])
    with torch.no_grad():
        logits = model(given, **arguments).logits
    logits = logits if isinstance(logits, dict) else {"": logits}
    return {key: x.numpy() for key, x in logits.items()}


def flow_patches(frames):  # [b, 2, y, x, 3] -> [b, 2, 27, y, x], zeros around
    padded = np.pad(frames, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = frames.shape[2:4]
    shifted = [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return channels_first(np.concatenate(shifted, axis=-1))


def ours(config, params, state, inputs, **arguments):
    model = perceiver_jax.build(config)
    outputs, _ = jax.jit(model.apply)(params, state, None, *inputs, **arguments)
    return outputs if isinstance(outputs, dict) else {"": outputs}


POINTS = {"image": np.array([0, 5, 100, 191]), "audio": np.array([0, 3])}


@pytest.mark.parametrize("name", hf_models.CONFIGS)
def test_outputs_agree(name, tmp_path):
    config, params, state = hf_models.model(name)
    inputs = hf_models.inputs(name)
    notes = huggingface.write(tmp_path / "export", params, state, config)
    points = {"subsampled_output_points": POINTS} if name == "multimodal" else {}
    actual = theirs(load(tmp_path / "export", config), name, inputs, POINTS)
    released = ours(config, params, state, inputs, **points)
    largest = max(float(np.abs(x).max()) for x in actual.values())
    assert largest > (1e-3 if name == "flow" else 0.3)
    if name == "mlm":
        real = inputs[1].astype(bool)
        released, unmasked = {"": np.asarray(released[""])[real]}, {"": actual[""][real]}
    else:
        unmasked = actual

    def difference(mine, other):
        assert mine.keys() == other.keys()
        return max(float(np.abs(np.asarray(mine[key]) - other[key]).max()) for key in other)

    if name in ("learned", "conv"):
        # Their classes have another structure, and the export says so.
        assert notes and difference(released, actual) > 100 * ATOL
    else:
        assert difference(released, unmasked) < ATOL
    # With their numerics all outputs agree: read from the export, which has our tanh GELU.
    loaded = huggingface.read(tmp_path / "export", numerics="huggingface")
    assert not loaded.config.exact_gelu
    same = ours(loaded.config, loaded.params, loaded.state, inputs, **points)
    assert difference(same, actual) < 2e-5


def test_tokenizer_and_image_processor(tmp_path):
    config, params, state = hf_models.model("mlm")
    huggingface.write(tmp_path / "text", params, state, config)
    tokenizer = transformers.PerceiverTokenizer.from_pretrained(tmp_path / "text")
    assert tokenizer.model_max_length == 19
    encoded = tokenizer("Zürich", padding="max_length").input_ids
    expected = [4, *(byte + 6 for byte in "Zürich".encode()), 5]
    assert encoded == expected + [0] * (19 - len(expected))

    names = ["a", "b", "c", "d", "e"]
    config, params, state = hf_models.model("fourier")
    huggingface.write(tmp_path / "image", params, state, config, class_names=names)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "image")
    image = np.zeros((300, 400, 3), np.uint8)
    assert processor(image, return_tensors="np").pixel_values.shape == (1, 3, 224, 224)
    assert load(tmp_path / "image", config).config.id2label[4] == "e"


def test_files_of_torch(tmp_path):
    """pytorch_model.bin, of today's format and of the old one, and one that wants to run code."""
    for name in ("vision-perceiver-conv", "sequence-classification"):
        known = huggingface.read(hf_small.FOLDER / name)
        arrays = hf_small._arrays(hf_small.FOLDER / name / "model.safetensors")
        tensors = {key: torch.from_numpy(x.copy()) for key, x in arrays.items()}
        for old in (False, True):
            folder = tmp_path / f"{name}-{old}"
            shutil.copytree(hf_small.FOLDER / name, folder)
            (folder / "model.safetensors").unlink()
            torch.save(
                tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not old
            )
            assert huggingface.is_huggingface(folder / "pytorch_model.bin")
            loaded = huggingface.read(folder)
            assert loaded.config == known.config
            for path, array in golden_cases.flatten(known.params).items():
                np.testing.assert_array_equal(golden_cases.flatten(loaded.params)[path], array)
    torch.save({"x": shutil.rmtree}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="nothing but tensors"):
        huggingface.read(folder)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 55, 56, 224, 368, 496, 1920])
def test_positions_and_bands_round_as_torchs(size):
    positions = linear_positions((size,), "torch")[:, 0]
    torchs = torch.linspace(-1, 1, size).numpy() if size > 1 else np.array([-1], np.float32)
    np.testing.assert_array_equal(positions, torchs)
    points = np.arange(size)
    subsampled = subsampled_positions(points, (size,), "torch")[:, 0]
    expected = -1 + 2 * torch.from_numpy(points) / torch.tensor(size)
    np.testing.assert_array_equal(subsampled, expected.numpy())
    config = zoo.FourierConfig(num_bands=64, rounded_as="torch")
    # At position 1/2, the sines and cosines of a quarter turn for every whole number of a band.
    features = np.asarray(fourier_features(np.full((1, 1), 0.5, np.float32), config, (size,)))[0]
    phases = np.float32(np.pi) * (np.float32(0.5) * torch.linspace(1, size / 2, 64).numpy())
    expected = np.concatenate([[0.5], np.sin(phases), np.cos(phases)])
    golden_cases.assert_close(features, expected, atol=2e-6)


@pytest.mark.slow
def test_full_size_video():
    """Bands of up to 15,360 half-turns show the last bit of a position."""
    from tests.zoo import released_arrays

    model = perceiver_jax.build("video_autoencoding")
    shapes, _ = model.abstract_params()
    params = released_arrays.tree(shapes, released_arrays.parameter)
    modalities, points = released_arrays.inputs("video_autoencoding")
    config = huggingface.with_numerics(params, model.config, "huggingface", exact_gelu=False)[1]
    mine = ours(config, params, {}, (modalities,), subsampled_output_points=points)
    with tempfile.TemporaryDirectory() as folder:
        huggingface.write(folder, params, {}, model.config)
        loaded = load(folder, model.config)
    for key, expected in theirs(loaded, "multimodal", (modalities,), points).items():
        golden_cases.assert_close(mine[key], expected, key, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "atol"), [("imagenet_fourier", 3e-4), ("mlm", 5e-3)])
def test_full_size_golden_outputs(name, atol, tmp_path):
    """The tolerance is that of our own test of these cases: the golden arrays' own error."""
    from tests.zoo import released_arrays

    model = perceiver_jax.build(name)
    shapes, _ = model.abstract_params()
    params = released_arrays.tree(shapes, released_arrays.parameter)
    huggingface.write(tmp_path / "export", params, {}, model.config)
    loaded = huggingface.read(tmp_path / "export")
    assert loaded.config == model.config
    inputs = released_arrays.inputs(name)
    kind = {"imagenet_fourier": "fourier"}.get(name, name)
    actual = theirs(load(tmp_path / "export", model.config), kind, inputs)[""]
    with np.load(golden_cases.GOLDEN / "full" / f"{name}.npz") as file:
        expected = file["outputs/out"]
    if name == "mlm":
        real = inputs[1].astype(bool)
        actual, expected = actual[real], expected[real]
    golden_cases.assert_close(actual, expected, atol=atol)
