"""The tiny Hugging Face models of tests/golden/hf_small: their inputs as our models take them."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests import golden_cases

FOLDER = golden_cases.GOLDEN / "hf_small"
# transformers makes positions for another image size there, which is not the model's business.
INTERPOLATED = ("vision-perceiver-learned", "case1_interpolate")


def names() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def cases() -> list[tuple[str, str]]:
    """All cases (model, case) but the interpolated one."""
    found = [
        (name, case)
        for name in names()
        for case in json.loads((FOLDER / name / "meta.json").read_text())["cases"]
    ]
    assert INTERPOLATED in found and len(found) == 12, found
    return [each for each in found if each != INTERPOLATED]


@functools.cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    return load_file(path)


def _of_case(name: str, kind: str, case: str) -> dict[str, np.ndarray]:
    arrays = _arrays(FOLDER / name / f"{kind}.safetensors")
    return {k.removeprefix(f"{case}."): x for k, x in arrays.items() if k.startswith(f"{case}.")}


def inputs(name: str, case: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs of a case, in the form that `Model.apply` takes, and further arguments."""
    arrays = _of_case(name, "inputs", case)
    if "attention_mask" in arrays:
        return (arrays["inputs"].astype(np.int32), arrays["attention_mask"].astype(np.int32)), {}
    if name == "language-perceiver":
        return (arrays["inputs"].astype(np.int32),), {}
    if name == "optical-flow-perceiver":
        return (channels_last(arrays["frames"]),), {}
    if name == "multimodal-perceiver":
        modalities = {k.removeprefix("inputs."): x for k, x in arrays.items() if "inputs" in k}
        modalities["image"] = channels_last(modalities["image"])
        points = {
            k.removeprefix("subsampled_output_points."): x.astype(np.int32)
            for k, x in arrays.items()
            if "points" in k
        }
        return (modalities,), {"subsampled_output_points": points}
    return (channels_last(arrays["inputs"]),), {}


def outputs(name: str, case: str) -> dict[str, np.ndarray]:
    """The logits of a case, by modality; "" for those with one output."""
    arrays = _of_case(name, "outputs", case)
    return {
        k.removeprefix("logits").removeprefix("."): x
        for k, x in arrays.items()
        if k.startswith("logits")
    }


def channels_last(x: np.ndarray) -> np.ndarray:  # [..., c, y, x] -> [..., y, x, c]
    return np.moveaxis(x, -3, -1)


def copy(name, folder):
    """A copy of a model, to be changed."""
    shutil.copytree(FOLDER / name, folder)
    return folder


def changed_config(name, folder, **changes):
    """A copy whose config.json has other values."""
    copy(name, folder)
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, **changes}))
    return folder
