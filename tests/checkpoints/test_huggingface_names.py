"""The map of names and layouts equals the one that both sides' models were compared by."""

import gzip
import json

import numpy as np
import pytest

from perceiver_jax.checkpoints import hf_layouts, hf_names
from tests import golden_cases
from tests.checkpoints import hf_small

# By model, rows of [our name, Hugging Face's, shape there, operation]; see `_LAYOUTS`.
GOLDEN = json.loads(gzip.decompress((golden_cases.GOLDEN / "hf_name_map.json.gz").read_bytes()))
INVENTORIES = json.loads((golden_cases.GOLDEN / "inventories.json").read_text())
MODELS = {
    "language-perceiver": ("PerceiverForMaskedLM", "mlm"),
    "vision-perceiver-learned": ("PerceiverForImageClassificationLearned", "imagenet_learned"),
    "vision-perceiver-fourier": ("PerceiverForImageClassificationFourier", "imagenet_fourier"),
    "vision-perceiver-conv": ("PerceiverForImageClassificationConvProcessing", "imagenet_conv"),
    "optical-flow-perceiver": ("PerceiverForOpticalFlow", "optical_flow"),
    "multimodal-perceiver": ("PerceiverForMultimodalAutoencoding", "video_autoencoding"),
}
_LAYOUTS = {"same": "id", "matrix": "T", "kernel": "OIWH", "vector": "squeeze"}


def our_map(model):
    architecture, name = MODELS[model]
    num_self_attends = hf_names.count_self_attends(row[1] for row in GOLDEN[model])
    encoder = "encoder" if name == "video_autoencoding" else "perceiver_encoder"
    family = hf_names.BY_ARCHITECTURE[architecture]
    return hf_names.name_map(family, num_self_attends, encoder)


@pytest.mark.core
@pytest.mark.parametrize("model", MODELS)
def test_is_a_bijection_of_the_right_names(model):
    found = our_map(model)
    assert len({place.name for place in found.values()}) == len(found)
    ours = {
        f"{tensor.module}/{tensor.name}": (place.name, _LAYOUTS[place.layout])
        for tensor, place in found.items()
        if place.layout != "count"
    }
    golden = {row[0]: (row[1], row[3]) for row in GOLDEN[model]}
    assert ours == golden


@pytest.mark.parametrize("model", MODELS)
def test_layouts_give_the_shapes_there_and_back(model):
    inventory = INVENTORIES[MODELS[model][1]]
    shapes = {
        f"{module}/{name}": tuple(shape)
        for group in ("params", "state")
        for module, entries in inventory.get(group, {}).items()
        for name, (shape, _) in entries.items()
    }
    there = {row[1]: tuple(row[2]) for row in GOLDEN[model]}
    for tensor, place in our_map(model).items():
        if place.layout == "count":
            continue
        shape = shapes[f"{tensor.module}/{tensor.name}"]
        # No memory for values: a broadcast zero has the shape.
        array = np.broadcast_to(np.float32(0), shape)
        if array.size < 1_000_000:
            moved = hf_layouts.to_hf(array, place.layout)
            assert moved.shape == there[place.name], tensor
            assert hf_layouts.from_hf(moved, place.layout).shape == shape
        assert hf_layouts.shape_from_hf(there[place.name], place.layout) == shape


def test_layouts_move_the_right_numbers():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # y, x, in, out
    moved = hf_layouts.to_hf(kernel, "kernel")
    assert moved[4, 3, 1, 2] == kernel[1, 2, 3, 4] and moved.flags.c_contiguous
    np.testing.assert_array_equal(hf_layouts.from_hf(moved, "kernel"), kernel)
    # Published: all axes of [y, x, in, out] reversed.
    np.testing.assert_array_equal(hf_layouts.from_hf(kernel.T, "kernel", "published"), kernel)
    matrix = np.arange(6).reshape(2, 3)
    assert hf_layouts.to_hf(matrix, "matrix")[2, 1] == matrix[1, 2]
    np.testing.assert_array_equal(
        hf_layouts.from_hf(hf_layouts.to_hf(matrix, "matrix"), "matrix"), matrix
    )
    for layout in ("same", "matrix"):
        assert not np.shares_memory(hf_layouts.from_hf(matrix, layout), matrix)
    count = hf_layouts.to_hf(np.asarray(7, np.int32), "count")
    assert count.dtype == np.int64 and hf_layouts.from_hf(count, "count").dtype == np.int32


def test_families_are_told_by_their_names():
    for model, (architecture, _) in MODELS.items():
        names = [row[1] for row in GOLDEN[model]]
        assert hf_names.recognise(names).architecture == architecture
    text = hf_names.BY_ARCHITECTURE["PerceiverForSequenceClassification"]
    names = [place.name for place in hf_names.name_map(text, 2).values()]
    assert hf_names.recognise(names) is text
    weights = hf_small._arrays(hf_small.FOLDER / "sequence-classification" / "model.safetensors")
    assert set(names) == set(weights)
    assert hf_names.recognise(["bert.pooler.weight"]) is None
    # The model without a head.
    assert hf_names.recognise(["perceiver.embeddings.latents", "perceiver.x"]) is None
