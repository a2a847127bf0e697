"""The files of a Hugging Face checkpoint: found, recognised and read tensor by tensor."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.checkpoints import native
from perceiver_jax.errors import CheckpointError, require

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_MAPPED_BYTES = 64 * 2**20
OTHER_STATE = "perceiver_jax_state.safetensors"  # Of ours: what their format has no place for.
_WEIGHT_FILES = (
    WEIGHTS,
    f"{WEIGHTS}.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class Files:
    """The files of one checkpoint."""

    path: Path  # What the user named.
    weights: tuple[Path, ...]  # One, or the parts of one.
    config: Mapping[str, Any] | None  # The values of config.json; None: there is none.

    @property
    def folder(self) -> Path:
        return self.weights[0].parent


def is_huggingface(path: Path | str) -> bool:
    """Says, by its content, whether `path` is a file or folder as transformers writes them.

    Safetensors files that are not our own count as such, and torch's files: `read` says what is
    wrong with those of other models.
    """
    path = Path(path)
    if path.is_dir():
        if any((path / name).is_file() for name in _WEIGHT_FILES):
            return True
        config = path / CONFIG
        return config.is_file() and b'"model_type"' in config.read_bytes()
    if not path.is_file():
        return False
    return _is_torch(path) or (_is_safetensors(path) and not native.is_native(path))


def find(path: Path | str) -> Files:
    """The files that `path`, a folder or a file of weights, stands for.

    Raises:
      CheckpointError: there are no weights, or a JSON file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in _WEIGHT_FILES if (path / name).is_file()]
        if not found:
            raise CheckpointError(
                f"{path} has no weights: expected one of {', '.join(_WEIGHT_FILES)}. If it was "
                "cloned, fetch the large files too (git lfs pull)."
            )
        weights = found[0]
    elif path.is_file():
        weights = path
    else:
        raise CheckpointError(f"{path} does not exist.")
    config = weights.parent / CONFIG
    parts = _parts(weights) if weights.name.endswith(".index.json") else (weights,)
    return Files(path, parts, _read_json(config) if config.is_file() else None)


def shapes(files: Files) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by its name; reads no tensor of a safetensors file."""
    found: dict[str, tuple[int, ...]] = {}
    for path in files.weights:
        found |= _torch_shapes(path) if _is_torch(path) else _safetensors_shapes(path)
    return found


def tensors(files: Files) -> Iterator[tuple[str, np.ndarray]]:
    """Yields all tensors, one after the other; floating ones as float32."""
    for path in files.weights:
        yield from _torch_tensors(path) if _is_torch(path) else native.read_tensors(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds no JSON object.")
    return values


def _parts(index: Path) -> tuple[Path, ...]:
    """The files that an index names, all of which must lie beside it."""
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f'{index} has no "weight_map".')
    parts = sorted({str(name) for name in names.values()})
    for name in parts:
        if Path(name).name != name:
            raise CheckpointError(f"{index} names {name!r}, which is no file beside it.")
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index} names {name}, which is missing. Download it, too.")
    return tuple(index.parent / name for name in parts)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(1) == b"{" and size <= path.stat().st_size - 8


def _safetensors_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise native.damaged(path, error) from error


def _is_torch(path: Path) -> bool:
    """Says whether torch wrote a file: a zip archive with a pickle in it, or its older format."""
    with path.open("rb") as file:
        # The older format starts with the pickle of a magic number.
        if file.read(64).find(0x1950A86A20F9469CFC6C.to_bytes(10, "little")) >= 0:
            return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _load_torch(path: Path) -> dict[str, Any]:
    require("torch", purpose=f"Reading {path.name}, a file of torch's,")
    import torch

    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # The older format cannot be mapped.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # Unpickling fails in many ways.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} cannot be read as a file of torch's weights, from which nothing but tensors "
            f"is taken: {reason[:200]}"
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in loaded.values()
    ):
        raise CheckpointError(f"{path} is no mapping from names to tensors.")
    return loaded


def _torch_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(tensor.shape) for name, tensor in _load_torch(path).items()}


def _torch_tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    names: list[str] | None = None
    while names is None or names:
        # Opened anew now and then, for the reason that `native.read_tensors` gives.
        loaded, num_bytes = _load_torch(path), 0
        names = list(loaded) if names is None else names
        while names and num_bytes < _MAPPED_BYTES:
            tensor = loaded[names[0]]
            num_bytes += tensor.nbytes
            if tensor.is_floating_point():
                tensor = tensor.float()
            yield str(names.pop(0)), tensor.numpy()
