"""Writes a model as a folder that transformers' `from_pretrained` takes."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.atomic import make_readable
from perceiver_jax.checkpoints import hf_fields, hf_files, hf_layouts, hf_names, native
from perceiver_jax.checkpoints.hf_names import Family, Tensor
from perceiver_jax.errors import CheckpointError
from perceiver_jax.zoo import recognise

_VERSION = 1
_SPECIAL_TOKENS = ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[CLS]", "[SEP]")
_NUM_TOKENS = 256 + len(_SPECIAL_TOKENS)


def write(
    folder: Path | str,
    params: Mapping[str, Mapping[str, Any]],
    state: Mapping[str, Mapping[str, Any]],
    config: zoo.ModelConfig,
    *,
    class_names: Sequence[str] | None = None,
) -> list[str]:
    """Writes weights and config for the class of transformers that fits, and what it needs beside.

    `huggingface.read(folder)` gives back equal parameters, state and config, to the bit.

    Args:
      folder: a new or an empty one. It is there when all is written, or not at all.
      params: of the model of `config`.
      state: of the model of `config`.
      config: the model's.
      class_names: names of a classifier's classes, by index.

    Returns:
      Notes: how outputs of transformers will differ from ours.

    Raises:
      CheckpointError: no class can express the config, the arrays are not its model's, or the
        folder is not empty.
    """
    family = hf_fields.family_of(config)
    assert isinstance(config, zoo.PerceiverConfig)
    recognise.check(config, recognise.shapes_of(params, state))
    shapes = {Tensor("params", *key): shape for key, shape in recognise.shapes_of(params).items()}
    fields = hf_fields.fields_of(config, shapes)
    tensors = _tensors(family, config, {"params": params, "state": state})
    files = {
        hf_files.CONFIG: {
            "architectures": [family.architecture],
            "model_type": "perceiver",
            "dtype": "float32",
            **_labels(fields.pop("num_labels", None), class_names),
            **fields,
            "perceiver_jax": {
                "version": _VERSION,
                "kernel_layout": "torch",
                "config": config_lib.to_dict(config),
            },
        },
        **_processor_files(config),
    }
    _write_folder(Path(folder), tensors, files, state, config)
    return [
        f"{family.architecture} differs from this model: {what}. numerics='huggingface' gives "
        "its outputs here."
        for what in hf_fields.deviations(config)
    ]


def _tensors(
    family: Family,
    config: zoo.PerceiverConfig,
    trees: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, np.ndarray]:
    towers = f"{config.encoder_name}/~/self_attention"
    num_self_attends = sum(
        module.startswith(towers) and module.endswith("/mlp/linear") for module in trees["params"]
    )
    places = hf_names.name_map(family, num_self_attends, config.encoder_name)
    without_place = [
        f"{module}/{name}"
        for module, entries in trees["params"].items()
        for name in entries
        if Tensor("params", module, name) not in places
    ]
    if without_place:
        raise CheckpointError(f"{family.architecture} has no place for {without_place[0]}.")
    tensors = {}
    for (group, module, name), place in places.items():
        array = np.asarray(trees[group][module][name])
        if array.dtype.kind not in "iub":
            array = array.astype(np.float32, copy=False)
        tensors[place.name] = hf_layouts.to_hf(array, place.layout)
    return tensors


def _labels(num_labels: int | None, class_names: Sequence[str] | None) -> dict[str, Any]:
    """The entries of config.json that name classes, and so say how many there are."""
    if num_labels is None:
        return {}
    if class_names is not None and len(class_names) != num_labels:
        raise CheckpointError(
            f"{len(class_names)} class names were given for a model of {num_labels} classes."
        )
    names = [f"LABEL_{i}" for i in range(num_labels)] if class_names is None else class_names
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def _processor_files(config: zoo.PerceiverConfig) -> dict[str, dict[str, Any]]:
    """What transformers' tokenizer or image processor reads, for models that have one."""
    inputs = config.preprocessor
    if isinstance(inputs, zoo.TokensConfig) and inputs.vocab_size == _NUM_TOKENS:
        tokens = {f"{token[1:-1].lower()}_token": token for token in _SPECIAL_TOKENS}
        return {
            "tokenizer_config.json": {
                "tokenizer_class": "PerceiverTokenizer",
                "model_max_length": inputs.length,
                **tokens,
            },
            "special_tokens_map.json": tokens,
        }
    if isinstance(inputs, zoo.ImageConfig) and len(inputs.shape) == 2:
        size = dict(zip(("height", "width"), inputs.shape, strict=True))
        return {
            "preprocessor_config.json": {
                "image_processor_type": "PerceiverImageProcessor",
                # The crop is 7/8 of the shorter side: size / crop_size.
                "do_center_crop": True,
                "crop_size": {side: round(n * 256 / 224) for side, n in size.items()},
                "do_resize": True,
                "size": size,
                "resample": 3,  # Bicubic.
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            }
        }
    return {}


def _write_folder(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    files: Mapping[str, Mapping[str, Any]],
    state: Mapping[str, Mapping[str, Any]],
    config: zoo.PerceiverConfig,
) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        with _new_folder(folder) as temporary:
            save_file(dict(tensors), temporary / hf_files.WEIGHTS, metadata={"format": "pt"})
            make_readable(temporary / hf_files.WEIGHTS)
            for name, values in files.items():
                text = json.dumps(values, indent=2, ensure_ascii=False)
                (temporary / name).write_text(text + "\n", encoding="utf-8")
            if state:
                # Hugging Face has a place for batch norm's averages only.
                native.save(temporary / hf_files.OTHER_STATE, {}, state, config)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be written: {error}.") from error


def check_is_new(folder: Path) -> None:
    """Raises CheckpointError unless there is nothing yet where a folder is to be written."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists and is not an empty folder; choose a new one.")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `folder`, which takes its place when the block ends well."""
    check_is_new(folder)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    temporary.mkdir()
    try:
        yield temporary
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
