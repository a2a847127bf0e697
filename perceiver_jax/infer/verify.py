"""Checks the released checkpoints in a folder against what was published about their outputs."""

import dataclasses
import functools
import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.checkpoints import hf_files, huggingface, native
from perceiver_jax.checkpoints.load import Checkpoint, format_of, load_checkpoint
from perceiver_jax.errors import CheckpointError, DataError, ModelError, UserError
from perceiver_jax.infer import images
from perceiver_jax.infer import released_expectations as published
from perceiver_jax.infer import released_procedures as procedures
from perceiver_jax.infer.loaded import LoadedModel
from perceiver_jax.infer.released_expectations import RELEASED, Expectation
from perceiver_jax.zoo import recognise

Kind = Literal["PASS", "FAIL", "not checked"]
PASS: Kind = "PASS"
FAIL: Kind = "FAIL"
NOT_CHECKED: Kind = "not checked"

# Levels of folders in the one that is verified in which checkpoints are looked for: as many as
# Hugging Face's cache has.
DEPTH = 3
# Files of these names that are no checkpoint are damaged ones; others are something else.
_SUFFIXES = (".pystate", ".pickle", ".safetensors")

EXIT_ALL_PASSED, EXIT_SOME_FAILED, EXIT_NOTHING_CHECKED = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Result:
    """One check of one file."""

    file: str | None  # Relative to the folder; None for a model of which there is no file.
    model: str | None  # As Hugging Face calls it; None if it was not recognised.
    check: str
    result: Kind
    difference: float | None = None  # See released_procedures.Outcome.
    tolerance: float | None = None
    rounding: float | None = None
    reason: str = ""  # Of all that is no plain PASS.


def verify(
    directory: str | Path,
    expectations: Sequence[Expectation] = RELEASED,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> Iterator[Result]:
    """Checks all checkpoints in a folder, one after the other.

    Checkpoints are told by their content, down to three levels of folders, and pictures by their
    names, at any depth; hidden folders are left out. No more than one model is held at a time. A
    file that cannot be loaded fails, and does not stop the others.

    Args:
      directory: the folder.
      expectations: what is known about models.
      tell: takes a line about what is being done.

    Yields:
      The results of every file, and then "not checked" for each model without a file.

    Raises:
      DataError: there is no such folder.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"there is no folder {directory}; give the one with the released files.")
    seen = set()
    for path in find_checkpoints(directory):
        name = str(path.relative_to(directory)) if path != directory else path.resolve().name
        tell(f"checking {name}")
        for result in _check_file(directory, path, name, expectations):
            seen.add(result.model)
            yield result
        gc.collect()  # A model and its compiled programs hold each other.
    for each in expectations:
        if each.name not in seen:
            reason = (
                f"there is no checkpoint of it; put {each.pickle} (DeepMind) or the files of "
                f"deepmind/{each.name} (Hugging Face) into the folder"
            )
            yield Result(None, each.name, "all", NOT_CHECKED, reason=reason)


def exit_code(results: Iterable[Result]) -> int:
    """0 if all checks that were done passed, 1 if some failed, 2 if none was done."""
    kinds = {each.result for each in results}
    if FAIL in kinds:
        return EXIT_SOME_FAILED
    return EXIT_ALL_PASSED if PASS in kinds else EXIT_NOTHING_CHECKED


def find_checkpoints(directory: Path) -> list[Path]:
    """Lists files and Hugging Face folders that are, or should be, checkpoints.

    A file that a folder of Hugging Face's stands for is not listed again.
    """
    folders: list[Path] = []
    files: list[Path] = []
    covered: set[Path] = set()
    for folder, names in _walk(directory, DEPTH):
        if _is_huggingface_folder(folder):
            folders.append(folder)
            # In Hugging Face's cache, these are links to files of other names elsewhere.
            covered |= {(folder / name).resolve() for name in names}
        else:
            files += [folder / name for name in names]
    found = [path for path in files if path.resolve() not in covered and _is_checkpoint(path)]
    return sorted([*folders, *found])


def _walk(directory: Path, depth: int | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Yields folders with the names of their files, sorted; hidden ones are left out."""
    for root, folders, names in os.walk(directory):
        folder = Path(root)
        level = len(folder.relative_to(directory).parts)
        deeper = depth is None or level < depth
        folders[:] = sorted(name for name in folders if not name.startswith(".") and deeper)
        yield folder, sorted(name for name in names if not name.startswith("."))


def _is_huggingface_folder(folder: Path) -> bool:
    try:
        return format_of(folder) == "huggingface"
    except (CheckpointError, OSError):
        return False


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint by its content, or should be one by its name."""
    if not path.is_file():
        return False
    try:
        return format_of(path) in ("deepmind", "huggingface", "safetensors")
    except (CheckpointError, OSError):
        return path.suffix.lower() in _SUFFIXES


def _check_file(
    directory: Path, path: Path, name: str, expectations: Sequence[Expectation]
) -> list[Result]:
    """All results of one file; the model is let go at the end."""
    notes: list[str] = []
    try:
        other = _other_model(path)
        if other:
            return [Result(name, None, "all", NOT_CHECKED, reason=other)]
        checkpoint, family = _load(path, expectations, notes)
    except Exception as error:  # One file must not stop the others, whatever is wrong with it.
        return [_failed_to_run(name, None, "loading", error)]
    expectation = next((each for each in expectations if each.family == family), None)
    if isinstance(checkpoint, str) or expectation is None:
        reason = (
            checkpoint
            if isinstance(checkpoint, str)
            else f"nothing is published about a model of the family {family!r}"
        )
        return [Result(name, None, "all", NOT_CHECKED, reason=reason)]

    loaded = LoadedModel(zoo.build(checkpoint.config), checkpoint.params, checkpoint.state)
    read_picture = functools.partial(read_picture_in, directory)
    results: list[Result] = []
    try:
        for outcome in procedures.check(loaded, expectation.procedure, read_picture):
            reasons = [outcome.reason] if outcome.reason else []
            results.append(
                Result(
                    name,
                    expectation.name,
                    outcome.check,
                    PASS if outcome.passed else FAIL,
                    outcome.difference,
                    outcome.tolerance,
                    outcome.rounding,
                    " ".join([*reasons, *(notes if not outcome.passed else [])]),
                )
            )
    except DataError as error:
        results.append(Result(name, expectation.name, "all", NOT_CHECKED, reason=str(error)))
    except Exception as error:
        results.append(_failed_to_run(name, expectation.name, "running", error))
    return results


def _failed_to_run(name: str, model: str | None, check: str, error: Exception) -> Result:
    if type(error) is UserError:  # A package is missing: nothing is wrong with the file.
        return Result(name, model, check, NOT_CHECKED, reason=str(error))
    told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return Result(name, model, check, FAIL, reason=told)


def _other_model(path: Path) -> str:
    """Why a sound file is none that something is published about; "" if it may be one."""
    config: Any = {}
    if path.is_dir() and (path / hf_files.CONFIG).is_file():
        try:
            config = json.loads((path / hf_files.CONFIG).read_text(encoding="utf-8"))
        except ValueError:
            pass  # Loading says what is wrong.
    if not isinstance(config, dict):
        config = {}
    kind = config.get("model_type", "perceiver")
    if kind != "perceiver":
        return f"its config.json says that it is a {kind!r}"
    if huggingface.MARKER in config or _is_own(
        path / "model.safetensors" if path.is_dir() else path
    ):
        return "perceiver_jax wrote it; check the released file that it was made from"
    return ""


def _is_own(path: Path) -> bool:
    try:
        return path.is_file() and native.is_native(path)
    except CheckpointError:
        return False  # Loading says what is wrong, or it is no safetensors file.


def _load(
    path: Path, expectations: Sequence[Expectation], notes: list[str]
) -> tuple[Checkpoint | str, str | None]:
    """Loads a checkpoint.

    Returns:
      The checkpoint, or why it is of no model that is expected; and its family.
    """

    def load(**options: Any) -> Checkpoint:
        notes.clear()
        return load_checkpoint(path, report=notes.append, **options)

    try:
        checkpoint = load(numerics="huggingface")
    except (CheckpointError, ModelError):
        # Perhaps arrays of another size than the released, with no config: of the one expected?
        found = load().config
        if not isinstance(found, recognise.Undetermined):
            raise
        configs = [each.config() for each in expectations if each.family == found.family]
        try:
            checkpoint = load(numerics="huggingface", config=configs[0])
        except (IndexError, ModelError):
            return _not_released(found.family), found.family
    shapes = recognise.shapes_of(checkpoint.params, checkpoint.state)
    family = recognise.recognise(shapes)
    if family is None:
        return "it is of no family that is known", None
    for each in expectations:
        if each.family == family.name and recognise.expected_shapes(each.config()) != shapes:
            return _not_released(family.name), family.name
    return checkpoint, family.name


def _not_released(family: str) -> str:
    return f"it is a model of the family {family!r}, but not of the released size"


def read_picture_in(directory: Path, picture: published.Picture) -> np.ndarray:
    """Finds and reads a picture in a folder.

    Returns:
      [y, x, 3] uint8.

    Raises:
      DataError: it is not there, cannot be read, or is not of its size.
    """
    path = find_picture(directory, picture)
    if path is None:
        raise DataError(f"it needs {picture.title}: {picture.mend}")
    pixels = images.read_image(path)
    if pixels.shape[:2] != picture.size:
        height, width = pixels.shape[:2]
        raise DataError(
            f"{path} is {width} x {height} pixels, and {picture.title} is {picture.size[1]} x "
            f"{picture.size[0]}: {picture.mend}"
        )
    return pixels


def find_picture(directory: Path, picture: published.Picture) -> Path | None:
    """The file in a folder, at any depth, that is most likely a picture; None if none may be."""
    ranked: list[tuple[int, Path]] = []
    for folder, names in _walk(directory):
        for name in names:
            relative = (folder / name).relative_to(directory)
            if any(part.lower() in picture.excluded for part in relative.parts[:-1]):
                continue
            for rank, ending in enumerate(picture.endings):
                top_level = ending.startswith("./")
                wanted = Path(ending.lower()).parts
                parts = tuple(part.lower() for part in relative.parts)
                if parts == wanted or (not top_level and parts[-len(wanted) :] == wanted):
                    ranked.append((rank, folder / name))
                    break
    return min(ranked)[1] if ranked else None
