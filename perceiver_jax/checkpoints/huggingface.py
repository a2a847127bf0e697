"""Hugging Face checkpoints: read into our names and layouts, with either of two numerics.

`read` takes what transformers writes for its seven Perceiver classes; `hf_export.py` is the way
back. Which class it is, its names and its sizes are told by the tensors; config.json tells the
rest.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import hf_config, hf_files, hf_layouts, hf_names, native
from perceiver_jax.checkpoints.hf_export import write
from perceiver_jax.checkpoints.hf_files import is_huggingface
from perceiver_jax.checkpoints.hf_layouts import KernelLayout
from perceiver_jax.checkpoints.hf_names import Family, Place, Tensor
from perceiver_jax.checkpoints.numerics import STEM_KERNEL, Numerics, with_numerics
from perceiver_jax.errors import CheckpointError, ConfigError
from perceiver_jax.zoo import recognise, released
from perceiver_jax.zoo.families import Shapes

__all__ = ["Loaded", "class_names", "is_huggingface", "read", "with_numerics", "write"]

MARKER = "perceiver_jax"  # The key in config.json under which exports say what they are.
KERNEL_LAYOUTS = ("published", "torch")

# Updates of batch norm's averages after which they are free of what they started from, in float32.
_SETTLED = 1000


class Loaded(NamedTuple):
    """What a checkpoint holds."""

    params: dict[str, dict[str, np.ndarray]]
    state: dict[str, dict[str, np.ndarray]]
    config: zoo.ModelConfig | recognise.Undetermined  # The latter if nothing tells all of it.
    class_names: tuple[str, ...] | None
    notes: list[str]  # What was guessed or left out, each a sentence for the user.


def read(
    path: Path | str,
    *,
    numerics: Numerics = "released",
    kernel_layout: KernelLayout | None = None,
    config: zoo.ModelConfig | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Loaded:
    """Reads a folder or a file of weights, which may have its config.json beside it.

    Batch norm's averages are taken as they are; unless the file is an export of ours, Haiku's
    further entries are set as after long training: hidden average = average, without debiasing.

    Args:
      path: a folder with model.safetensors, its index and parts, or pytorch_model.bin; or such a
        file itself.
      numerics: 'released' for the structure of DeepMind's models; 'huggingface' for the outputs
        of transformers.
      kernel_layout: how the kernel of a convolutional stem lies: 'published' for the files that
        were made from DeepMind's, 'torch' for those that transformers saved after training.
        None: by the export's mark, else by the model's size, and a note says so.
      config: the model's config, in place of what config.json says.
      overrides: changes of the config, by dotted name.

    Returns:
      Parameters and state as NumPy arrays, the config, names of classes if there are any, notes.

    Raises:
      CheckpointError: no Perceiver, damaged, or not the tensors that the model has.
      ModelError: the tensors do not fit `config`.
    """
    if kernel_layout not in (None, *KERNEL_LAYOUTS):
        raise CheckpointError(
            f"kernel_layout={kernel_layout!r} does not exist; it is one of "
            f"{', '.join(KERNEL_LAYOUTS)}."
        )
    files = hf_files.find(path)
    notes: list[str] = []
    all_shapes = hf_files.shapes(files)
    shapes = {name: x for name, x in all_shapes.items() if not hf_names.is_ignored(name)}
    family = _family(files, shapes)
    marker = (files.config or {}).get(MARKER)
    marker = marker if isinstance(marker, Mapping) else {}
    saved = _marked_config(files, marker) if marker else None
    encoder = _encoder_name(family, config or saved)
    places = hf_names.name_map(family, hf_names.count_self_attends(shapes), encoder)
    _check_names(files.path, family, places, shapes)

    ours = {
        (tensor.module, tensor.name): hf_layouts.shape_from_hf(shapes[place.name], place.layout)
        for tensor, place in places.items()
        if place.name in shapes
    }
    if config is not None or files.config is None:
        found = recognise.config_for(_with_state(ours, family), config, overrides)
    else:
        found = _config(files, family, shapes, _with_state(ours, family), saved, encoder, notes)
        if overrides or found is not saved:
            found = config_lib.override(found, overrides or {})
            recognise.check(found, _with_state(ours, family), "the config that config.json tells")
    layout = _kernel_layout(kernel_layout, marker, ours, notes)
    params, state = _read_arrays(files, places, layout)
    if family.state:
        state = _whole_state(files, state, notes)
    if isinstance(found, recognise.Undetermined):
        if numerics != "released":
            raise CheckpointError(f"{files.path}: for numerics={numerics!r}, {found}")
    else:
        exact = hf_config.is_exact_gelu(files.config or {})
        if numerics == "released":
            notes += _trained_otherwise(family, marker)
        params, found = with_numerics(
            params,
            found,
            numerics,
            transpose_kernel=layout == "published",
            exact_gelu=exact,
        )
    return Loaded(params, state, found, hf_config.class_names(files.config or {}), notes)


def class_names(path: Path | str) -> tuple[str, ...] | None:
    """The names of a classifier's classes, in its config.json; None if there are none."""
    return hf_config.class_names(hf_files.find(path).config or {})


def _family(files: hf_files.Files, shapes: hf_config.Shapes) -> Family:
    """The class that the tensors are of."""
    family = hf_names.recognise(shapes)
    stated = ((files.config or {}).get("architectures") or [None])[0]
    if family is not None:
        return family
    some = ", ".join(sorted(shapes)[:3]) or "none"
    said = f" config.json says {stated!r}." if stated else ""
    raise CheckpointError(
        f"{files.path} is not one of Hugging Face's Perceiver models "
        f"({', '.join(hf_names.BY_ARCHITECTURE)}).{said} Its tensors: {some}, ..."
    )


def _trained_otherwise(family: Family, marker: Mapping[str, Any]) -> list[str]:
    """A warning where released numerics would not suit weights that transformers trained."""
    if marker or family.architecture != "PerceiverForImageClassificationLearned":
        return []
    return [
        "With released numerics the decoder of learned positions has no query residual, as in "
        "DeepMind's model. Weights trained with transformers need numerics='huggingface'."
    ]


def _check_names(
    path: Path, family: Family, places: Mapping[Tensor, Place], shapes: hf_config.Shapes
) -> None:
    expected = {place.name for place in places.values() if place.layout != "count"}
    allowed = {place.name for place in places.values()}
    lines = []
    for what, names in (
        ("missing", sorted(expected - shapes.keys())),
        ("unexpected", sorted(shapes.keys() - allowed)),
    ):
        if names:
            more = f", and {len(names) - 4} more" if len(names) > 4 else ""
            lines.append(f"  {what}: {', '.join(names[:4])}{more}")
    if lines:
        raise CheckpointError(
            f"{path} has not the tensors of {family.architecture}:\n" + "\n".join(lines)
        )


def _config(
    files: hf_files.Files,
    family: Family,
    shapes: hf_config.Shapes,
    ours: Shapes,
    saved: zoo.ModelConfig | None,
    encoder: str,
    notes: list[str],
) -> zoo.ModelConfig:
    """The config, with the released structure, that config.json tells."""
    if saved is not None:
        if recognise.expected_shapes(saved) == ours:
            return saved
        notes.append(
            "The weights were changed since perceiver_jax wrote them, so the model is described "
            "by transformers' values in config.json."
        )
    assert files.config is not None
    fields = {**hf_config.DEFAULTS, **files.config, **hf_config.sizes(family, shapes)}
    path = files.folder / hf_files.CONFIG
    stated, found = fields["num_self_attends_per_block"], hf_names.count_self_attends(shapes)
    if stated != found:
        raise CheckpointError(
            f"{path} has num_self_attends_per_block={stated!r:.60}, but the weights have {found} "
            "self-attends. Is a part of the weights missing?"
        )
    config = hf_config.perceiver_config(family, fields, from_file=str(path))
    return dataclasses.replace(config, encoder_name=encoder)


def _encoder_name(family: Family, config: zoo.ModelConfig | None) -> str:
    """The name of the encoder's module, which theirs says nothing about."""
    if isinstance(config, zoo.PerceiverConfig):
        return config.encoder_name
    is_multimodal = family.architecture == "PerceiverForMultimodalAutoencoding"
    return "encoder" if is_multimodal else "perceiver_encoder"


def _with_state(ours: Shapes, family: Family) -> Shapes:
    """Adds the entries of Haiku's batch norm that Hugging Face has no place for."""
    added = dict(ours)
    for module, name in family.state:
        if name == "average":
            added[module, "hidden"] = ours[module, name]
            added[module, "counter"] = ()
    return added


def _marked_config(files: hf_files.Files, marker: Mapping[str, Any]) -> zoo.ModelConfig:
    try:
        saved = config_lib.from_dict(marker["config"])
        if isinstance(saved, zoo.ModelConfig):
            return saved
        reason = f"it is a {type(saved).__name__}"
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise CheckpointError(
        f"{files.folder / hf_files.CONFIG} has a {MARKER!r} entry that cannot be read: {reason}. "
        "Use the perceiver_jax that wrote it, or remove the entry."
    )


def _kernel_layout(
    asked: KernelLayout | None,
    marker: Mapping[str, Any],
    ours: Shapes,
    notes: list[str],
) -> KernelLayout:
    """How the stem's kernel lies. It cannot be told from the numbers."""
    if asked is not None or STEM_KERNEL not in ours:
        return asked or "torch"
    if marker.get("kernel_layout") in KERNEL_LAYOUTS:
        return marker["kernel_layout"]
    published = _is_of_size(ours, released.imagenet_conv())
    layout: KernelLayout = "published" if published else "torch"
    reason = (
        "it has the released model's size, and the published file has height and width exchanged"
        if published
        else "it has not the released model's size, so transformers trained it"
    )
    notes.append(
        f"The layout of the stem's kernel cannot be told from a file; taken as {layout!r}, because "
        f"{reason}. kernel_layout= (--kernel_layout) decides otherwise."
    )
    return layout


def _is_of_size(ours: Shapes, config: zoo.PerceiverConfig) -> bool:
    """Says whether arrays have the shapes of a model; with little effort, if not even nearly."""
    encoder = config.encoder
    latents = ours.get((f"{config.encoder_name}/~/trainable_position_encoding", "pos_embs"))
    if latents != (encoder.num_latents, encoder.latent_channels):
        return False
    expected = recognise.expected_shapes(config)
    return all(expected.get(key) == shape for key, shape in ours.items())


def _read_arrays(
    files: hf_files.Files, places: Mapping[Tensor, Place], layout: KernelLayout
) -> tuple[native.Tree, native.Tree]:
    by_name = {place.name: (tensor, place.layout) for tensor, place in places.items()}
    trees: dict[str, native.Tree] = {"params": {}, "state": {}}
    for name, array in hf_files.tensors(files):
        if name in by_name:
            tensor, how = by_name[name]
            trees[tensor.group].setdefault(tensor.module, {})[tensor.name] = hf_layouts.from_hf(
                array, how, layout
            )
    return trees["params"], trees["state"]


def _whole_state(files: hf_files.Files, read: native.Tree, notes: list[str]) -> native.Tree:
    """Batch norm's state as Haiku has it: `hidden`, the average before debiasing, and `counter`."""
    other = files.folder / hf_files.OTHER_STATE
    if other.is_file():
        saved = native.read(other)[1]
        if all(
            np.array_equal(entries["average"], saved.get(module, {}).get("average", np.nan))
            for module, entries in read.items()
        ):
            return saved
        notes.append(
            f"{other.name} is of other weights, and was left out: batch norm's averages changed."
        )
    counters = [int(entries.pop("counter")) for entries in read.values() if "counter" in entries]
    for entries in read.values():
        entries["hidden"] = entries["average"].copy()
        # Haiku divides by 1 - decay^counter, which for a small counter would not be 1.
        entries["counter"] = np.asarray(max([_SETTLED, *counters]), np.int32)
    return read
