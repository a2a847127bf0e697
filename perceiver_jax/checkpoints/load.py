"""Loads a checkpoint of any format, told by its content.

a DeepMind pickle                  deepmind.py
a Hugging Face folder or file      huggingface.py
our own safetensors                native.py
a work directory of a run          store.py
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import deepmind, evaluations, huggingface, native
from perceiver_jax.checkpoints.numerics import with_numerics
from perceiver_jax.data.shown import NamesClasses
from perceiver_jax.errors import CheckpointError, ModelError, UserError
from perceiver_jax.zoo import recognise

Format = Literal["deepmind", "huggingface", "safetensors", "workdir"]
WORDS: Mapping[Format, str] = {
    "deepmind": "a DeepMind pickle",
    "huggingface": "a Hugging Face checkpoint",
    "safetensors": "a safetensors file of perceiver_jax",
    "workdir": "a work directory",
}


CLASS_NAMES = "class_names.json"  # In a work directory: {"class_names": [NAME, ...]}.


class Checkpoint(NamedTuple):
    """What a file holds, and the config of the model that it belongs to."""

    params: dict[str, dict[str, jax.Array]]
    state: dict[str, dict[str, jax.Array]]
    config: zoo.ModelConfig | recognise.Undetermined


def load_checkpoint(
    path: str | Path,
    *,
    config: zoo.ModelConfig | None = None,
    model: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    numerics: Literal["released", "huggingface"] = "released",
    kernel_layout: Literal["published", "torch"] | None = None,
    report: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Loads the parameters of a model.

    The format is told by content, and the model by names and shapes: a file of the released size
    gets the released config whatever it is called. Files that carry a config (of Hugging Face, our
    own, work directories) need nothing else either.

    Args:
      path: a file or a folder; see above. Of a work directory, the checkpoint of its result: the
        newest one, or with `evaluation.select=test` the best one; DIR/checkpoints/STEP is another.
      config: the model's config, where the file does not tell it.
      model: a name of `list_models()` that agrees with the file in what arrays do not tell, such
        as numbers of heads; sizes are taken from the file.
      overrides: changes of the config, by dotted name.
      numerics: "released" puts weights back where they belong in the released models;
        "huggingface" gives the outputs of Hugging Face's port, which differ (docs/FIDELITY.md).
      kernel_layout: how a Hugging Face file holds the kernel of the conv model: "published", as
        in the published file, where it is transposed, or "torch". None: what the file says, or
        else "published" at the released size and "torch" at others.
      report: takes a line for the user where something had to be guessed or chosen, such as the
        step of a work directory; None: to stderr.

    Returns:
      (params, state, config), the arrays on the default device. Where arrays alone do not make a
      config and none was given, `config` is an `Undetermined`, which says what is needed;
      `build` refuses it with those words.

    Raises:
      CheckpointError: the file is missing, damaged or hostile.
      ModelError: the arrays fit no model, or not the one that was given.
    """
    path = Path(path)
    report = report or _to_stderr
    if config is not None and model is not None:
        raise ModelError("give config= or model=, not both.")
    base = config if config is not None else zoo.get_config(model) if model is not None else None

    kind = format_of(path)
    try:
        if kind == "huggingface":
            params, state, found, _, notes = huggingface.read(
                path,
                numerics=numerics,
                kernel_layout=kernel_layout,
                config=base,
                overrides=overrides,
            )
            for note in notes:
                report(note)
        else:
            params, state, found = _read(path, kind, base, overrides, report)
            if not isinstance(found, recognise.Undetermined):
                # Hugging Face's files of DeepMind's weights have a kernel turned round, and its
                # models of them the exact GELU; weights of ours go there as they are.
                published = kind == "deepmind"
                params, found = with_numerics(
                    params,
                    found,
                    numerics,
                    transpose_kernel=kernel_layout == "published"
                    or (published and kernel_layout is None),
                    exact_gelu=published or getattr(found, "exact_gelu", False),
                )
            elif numerics != "released":
                raise ModelError(f"for numerics={numerics!r}, {found}")
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if isinstance(found, recognise.Undetermined):
        found = dataclasses.replace(found, source=str(path))
        if kind == "huggingface":
            report(
                f"{path} has no config.json beside the weights, which would tell all about the "
                "model; copy it there."
            )
    return Checkpoint(_to_device(params), _to_device(state), found)


def _read(
    path: Path,
    kind: Format,
    base: zoo.ModelConfig | None,
    overrides: Mapping[str, Any] | None,
    report: Callable[[str], None],
) -> tuple[Any, Any, zoo.ModelConfig | recognise.Undetermined]:
    """Reads a pickle, a file of ours or a work directory, and finds or checks its config."""
    found: Any = None
    if kind == "deepmind":
        params, state = deepmind.read(path)
    elif kind == "safetensors":
        params, state, found = native.read(path)
    else:
        params, state, found = _read_workdir(path, report)
    shapes = recognise.shapes_of(params, state)
    if found is None or base is not None:
        return params, state, recognise.config_for(shapes, base, overrides)
    found = config_lib.override(found, overrides or {})
    recognise.check(found, shapes, "the config inside")
    return params, state, found


def format_of(path: str | Path) -> Format:
    """The format of a file or folder, by its content.

    Raises:
      CheckpointError: there is nothing at `path`, or nothing that is known.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Give the path of a checkpoint.")
    if path.is_dir():
        if _step_of(path) is not None or (path / "checkpoints").is_dir():
            return "workdir"
        if huggingface.is_huggingface(path):
            return "huggingface"
        raise CheckpointError(
            f"The folder {path} holds no checkpoint: expected model.safetensors or "
            "pytorch_model.bin (Hugging Face), or checkpoints/ (a work directory)."
        )
    if deepmind.is_pickle(path):
        return "deepmind"
    if huggingface.is_huggingface(path):
        return "safetensors" if _is_safetensors(path) and native.is_native(path) else "huggingface"
    if _is_safetensors(path):
        return "safetensors" if native.is_native(path) else "huggingface"
    raise CheckpointError(
        f"{path} is no checkpoint that is known: neither a pickle of DeepMind's, nor a "
        "safetensors or PyTorch file. It may be damaged, or cut off."
    )


def class_names(path: str | Path) -> tuple[str, ...] | None:
    """Names of a classifier's classes, where the checkpoint holds them, or the run's data set."""
    path = Path(path)
    kind = format_of(path)
    if kind == "workdir":
        return _class_names_of_run(path)
    if kind == "safetensors":
        return native.class_names(path)
    if kind == "huggingface":
        return huggingface.class_names(path)
    return None


def run_config(path: str | Path) -> Any:
    """The experiment's config, where the checkpoint is a run's work directory and has it."""
    path = Path(path)
    if format_of(path) != "workdir":
        return None
    try:
        return config_lib.from_dict(json.loads((_run_of(path) / "config.json").read_text()))
    except (OSError, ValueError, UserError):  # ValueError: no JSON, or no text at all.
        return None


def _class_names_of_run(path: Path) -> tuple[str, ...] | None:
    """The names that a run's data set gives its classes: as the run has noted them.

    Of runs that older versions did, what the data set says, if it is still where it was.
    """
    run, noted = run_config(path), _run_of(path) / CLASS_NAMES
    data = getattr(run, "data", None)
    try:
        if noted.exists():
            names = tuple(json.loads(noted.read_text())["class_names"])
        else:
            names = tuple(data.class_names()) if isinstance(data, NamesClasses) else ()
    # ValueError: no JSON, or no text at all; the others: JSON of something else.
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None
    # A model may have more outputs than the data have classes.
    task = getattr(run, "task", None)
    return names if names and len(names) == getattr(task, "num_classes", None) else None


def _is_safetensors(path: Path) -> bool:
    """Eight bytes of length, and then JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{"


def _step_of(path: Path) -> int | None:
    """The step of one checkpoint inside a work directory: DIR/checkpoints/STEP."""
    inside = path.absolute().parent.name == "checkpoints"
    return int(path.name) if inside and path.name.isdigit() else None


def _run_of(path: Path) -> Path:
    """The work directory that `path` is, or that one of its checkpoints is in."""
    return path if _step_of(path) is None else path.parent.parent


def _read_workdir(path: Path, report: Callable[[str], None]) -> tuple[Any, Any, zoo.ModelConfig]:
    # Imported late: Orbax takes more memory than many a checkpoint.
    from perceiver_jax.checkpoints.store import CheckpointStore

    step = _step_of(path)
    whole = step is None  # The run, and not one of its checkpoints.
    directory = path / "checkpoints" if whole else path.parent
    store = CheckpointStore(directory, read_only=True, report=report)
    try:
        selected = _selected(path, store.steps(), report) if whole else None
        step, tree, saved = store.read_tree(step if selected is None else selected)
    finally:
        store.close()
    if whole:
        how = "the newest" if selected is None else "selected by test score"
        report(f"{path}: the checkpoint of step {step}, {how}")
    model = saved["model"]
    config = zoo.get_config(model) if isinstance(model, str) else config_lib.from_dict(model)
    # Where a run averages its weights, the averages are what it evaluates and what others use.
    params = tree.get("ema") or tree["params"]
    return params, tree.get("model_state", {}), config


def _selected(path: Path, steps: Sequence[int], report: Callable[[str], None]) -> int | None:
    """Returns the step of the result of a run with `evaluation.select=test`; of others None."""
    run = run_config(path)
    try:
        if run.evaluation.select != "test":
            return None
        by = evaluations.ranking(run.trainer.keep, run.task.headline)
    except AttributeError:  # None, or no experiment as this version knows them: then the newest.
        return None
    metrics = path / "metrics.jsonl"
    return evaluations.selected_step(metrics, run.trainer.eval_split, by, steps, report)


def _to_device(tree: dict[str, dict[str, Any]]) -> dict[str, dict[str, jax.Array]]:
    """Moves arrays over one by one, and lets each go; aligned ones become JAX's as they are."""
    moved: dict[str, dict[str, jax.Array]] = {}
    for module in sorted(tree):
        entries = tree[module]
        moved[module] = {name: jax.device_put(entries.pop(name)) for name in sorted(entries)}
    return moved


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
