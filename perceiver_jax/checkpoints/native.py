"""Our own file for weights: one safetensors file that carries the config of its model.

Tensors are named `params/<module>/<name>` and `state/<module>/<name>`; module names contain "/",
names do not. The metadata hold {"format": "perceiver_jax", "version": "1", "config": JSON}, and
"class_names" (JSON) where they are known. Any reader of safetensors can open it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax.atomic import replacing
from perceiver_jax.checkpoints import aligned
from perceiver_jax.errors import CheckpointError, ConfigError, UserError

Tree = dict[str, dict[str, np.ndarray]]

FORMAT = "perceiver_jax"
VERSION = "1"

_MAPPED_BYTES = 2 * 2**20  # See read_tensors.


def save(
    path: str | os.PathLike[str],
    params: Mapping[str, Mapping[str, Any]],
    state: Mapping[str, Mapping[str, Any]],
    config: Any,
    *,
    class_names: Sequence[str] | None = None,
) -> None:
    """Writes weights and the config of their model. An existing file is replaced at the end.

    Args:
      path: the file, usually named `*.safetensors`.
      params: {module: {name: array}}.
      state: the same for what is not trained; {} for most models.
      config: the model's config, such as a `zoo.PerceiverConfig`.
      class_names: names of a classifier's classes, by index.

    Raises:
      CheckpointError: the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(config_lib.to_dict(config)),
    }
    if class_names is not None:
        metadata["class_names"] = json.dumps(list(class_names))
    tensors = {
        f"{kind}/{module}/{name}": np.ascontiguousarray(array).reshape(np.shape(array))
        for kind, tree in (("params", params), ("state", state))
        for module, entries in tree.items()
        for name, array in entries.items()
    }
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except UserError as error:
        raise CheckpointError(str(error)) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be written: {error}.") from error


def is_native(path: str | os.PathLike[str]) -> bool:
    """Says whether a file is a safetensors file of ours, by what its header says."""
    return _read_metadata(Path(path)).get("format") == FORMAT


def read(path: str | os.PathLike[str]) -> tuple[Tree, Tree, Any]:
    """Reads what `save` wrote.

    Returns:
      params, state and the config.

    Raises:
      CheckpointError: the file is damaged, or of a later version.
    """
    path = Path(path)
    metadata = _read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a safetensors file of perceiver_jax: its metadata lack "
            f'"format": "{FORMAT}".'
        )
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {metadata.get('version')!r} of our format, and this perceiver_jax "
            f"reads version {VERSION}. Use the perceiver_jax that wrote it."
        )
    try:
        config = config_lib.from_dict(json.loads(metadata["config"]))
    except (KeyError, ValueError, ConfigError, AttributeError) as error:
        raise CheckpointError(f"{path}: the config inside cannot be read: {error}") from error
    trees: dict[str, Tree] = {"params": {}, "state": {}}
    for name, array in read_tensors(path):
        kind, _, rest = name.partition("/")
        module, _, parameter = rest.rpartition("/")
        if kind not in trees or not module or not parameter:
            raise CheckpointError(
                f"{path} holds a tensor {name!r}; expected params/<module>/<name> or "
                "state/<module>/<name>."
            )
        trees[kind].setdefault(module, {})[parameter] = array
    return trees["params"], trees["state"], config


def class_names(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Names of the classes, if the file has any."""
    found = _read_metadata(Path(path)).get("class_names")
    return None if found is None else tuple(json.loads(found))


def read_tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the tensors of any safetensors file, one by one; floating ones as float32.

    Raises:
      CheckpointError: the file is damaged, or holds types that NumPy does not know.
    """
    import ml_dtypes
    from safetensors import SafetensorError, safe_open

    del ml_dtypes  # Imported so that NumPy knows bfloat16.
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
        while names:
            # The file is mapped, and what was read of it counts as this process's memory until it
            # is closed: opened anew now and then, loading takes the memory of the arrays alone.
            with safe_open(path, framework="numpy") as file:
                num_bytes = 0
                while names and num_bytes < _MAPPED_BYTES:
                    name = names.pop(0)
                    array = file.get_tensor(name)
                    num_bytes += array.nbytes
                    if array.dtype.kind not in "iub":
                        array = array.astype(np.float32, copy=False)
                    yield name, aligned.copy(array)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for a safetensors file that cannot be read."""
    return CheckpointError(
        f"{path} cannot be read as a safetensors file: {error}. It is damaged or cut off; copy or "
        "download it again."
    )


def _read_metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, error) from error
