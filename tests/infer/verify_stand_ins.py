"""Small models in place of the released ones, with the outputs that transformers has for them."""

import dataclasses
import functools
import json
import shutil

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from perceiver_jax.checkpoints import huggingface
from perceiver_jax.infer import released_expectations as published
from perceiver_jax.infer import verify
from perceiver_jax.infer.released_expectations import RELEASED
from tests import golden_cases
from tests.checkpoints import hf_small

PICKLES = golden_cases.GOLDEN / "pickles"
GOLDEN = json.loads((golden_cases.GOLDEN / "hf_verify.json").read_text())
# Several times what float32 makes of these models.
SMALL = {"atol": 1e-4, "rtol": 0.0, "rounding": 0.0, "source": "transformers here"}
COCO_NAME, SINTEL_NAME = "000000039769.png", "cave_3/frame_0001.png"


def picture(height, width):
    """A picture with detail of all sizes, that nothing but whole numbers make."""
    y, x = np.mgrid[:height, :width]
    channels = (x * y // 7 + 13 * x, 3 * x + 29 * y, x * x // 50 + y)
    return np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


def write_picture(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*size)).save(path)


def nested(values):
    return tuple(map(nested, values)) if isinstance(values, list) else values


@functools.cache
def config_of(name):
    return huggingface.read(hf_small.FOLDER / name).config


def stand_in(expectation):
    """The expectation of a released model, with the tiny one's size and numbers."""
    name = expectation.name
    procedure = expectation.procedure
    if isinstance(procedure, published.Texts):
        procedure = published.Texts(
            tuple(
                published.Text(
                    name=text.name,
                    text="some words are missing.",
                    special_tokens=case["special_tokens"],
                    masked=tuple(case["masked"]),
                    predicted=tuple(case["predicted"]),
                    shape=tuple(case["shape"]),
                    logits=published.Numbers(nested(case["logits"]), **SMALL),
                )
                for text, case in zip(procedure.texts, GOLDEN["text"], strict=True)
            )
        )
    elif isinstance(procedure, published.Image):
        case = GOLDEN["image"][name.removeprefix("vision-perceiver-")]
        procedure = published.Image(
            picture=procedure.picture,
            shape=(1, 10),
            logits=published.Numbers(nested(case["logits"]), **SMALL),
            top=tuple(f"class {index}" for index in case["classes"]),
            probabilities=published.Numbers(nested(case["probabilities"]), **SMALL),
        )
    elif isinstance(procedure, published.Flow):
        case = GOLDEN["flow"]
        procedure = published.Flow(
            procedure.picture,
            tuple(case["shape"]),
            published.Numbers(nested(case["outputs"]), **{**SMALL, "atol": 2e-6}),
        )
    else:
        procedure = published.Autoencoding(64, 4, (1, 64), (1, 64, 3), (1, 11), "")
    return dataclasses.replace(expectation, config=lambda: config_of(name), procedure=procedure)


STAND_INS = tuple(map(stand_in, RELEASED))


def copy_model(name, folder):
    """Copies a tiny model, without its golden arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "model.safetensors"):
        shutil.copy(hf_small.FOLDER / name / file, folder / file)
    return folder / "model.safetensors"


def change(file, tensor, function):
    """Changes one tensor of a file."""
    tensors = load_file(file)
    tensors[tensor] = function(tensors[tensor])
    save_file(tensors, file, metadata={"format": "pt"})


def results_of(directory, expectations=STAND_INS):
    """Results about files, and those about models that are not there."""
    results = list(verify.verify(directory, expectations))
    assert all(each.reason for each in results if each.result != verify.PASS)
    there = [each for each in results if each.file is not None]
    assert results[: len(there)] == there
    return there, results[len(there) :]


def kinds(results):
    return {each.check: each.result for each in results}
