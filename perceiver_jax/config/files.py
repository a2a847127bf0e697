"""Experiment files, and config overrides on the command line."""

import difflib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_jax.errors import ConfigError, UserError

if TYPE_CHECKING:
    from perceiver_jax.train.config import ExperimentConfig


def load_experiment(spec: str) -> "ExperimentConfig":
    """Returns the experiment that "experiments/digits.py:permuted" names.

    An experiment file is Python that defines `VARIANTS`, a dict from names to functions without
    arguments that return an `ExperimentConfig`. Without ":variant" the first one is taken.

    Args:
      spec: path of the file, and optionally a variant.

    Raises:
      ConfigError: no such file or variant, or the file fails.
    """
    from perceiver_jax.train.config import ExperimentConfig

    path, variant = _split_spec(spec)
    variants = _load_variants(path)
    name = variant if variant is not None else next(iter(variants))
    if name not in variants:
        near = difflib.get_close_matches(name, variants, n=1, cutoff=0.6)
        hint = f"Did you mean {near[0]}? " if near else ""
        example = near[0] if near else next(iter(variants))
        raise ConfigError(
            f"{path} has no variant {name!r}. {hint}It has: {', '.join(variants)} "
            f"(the first is the default). Write --config={path}:{example}."
        )
    try:
        config = variants[name]()
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(f"{path}:{name} failed: {_last_frame(error, path)}") from error
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"{path}:{name} returned {type(config).__name__}; a variant returns an "
            "ExperimentConfig (perceiver_jax.train.config)."
        )
    return config


def _split_spec(spec: str) -> tuple[Path, str | None]:
    path, separator, variant = spec.rpartition(":")
    if not separator or Path(spec).exists():
        return Path(spec), None
    return Path(path), variant


def _load_variants(path: Path) -> dict:
    if not path.is_file():
        folder, usual = path.parent, Path("experiments")
        # A bare name: the folder of experiments tells more than the files that lie about here.
        bare = folder.resolve() == Path.cwd() and usual.is_dir()
        if bare or not folder.is_dir():
            folder = usual
        others = sorted(str(each) for each in folder.glob("*.py"))
        listed = f" {folder}/ has: {', '.join(others)}." if others else ""
        raise ConfigError(
            f"The experiment file {str(path)!r} does not exist (looked in {Path.cwd()}).{listed} "
            "Write --config=FILE.py or --config=FILE.py:VARIANT."
        )
    name = f"perceiver_jax_experiment_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"The experiment file {str(path)!r} is not a Python file (*.py).")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module  # dataclasses look their module up while they are made
    try:
        module_spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise ConfigError(f"The experiment file failed: {_last_frame(error, path)}") from error
    variants = getattr(module, "VARIANTS", None)
    if not isinstance(variants, dict) or not variants:
        raise ConfigError(
            f"{path} defines no VARIANTS. Add a dict from names to functions that return an "
            'ExperimentConfig, such as VARIANTS = {"default": make_config}.'
        )
    return variants


def _last_frame(error: BaseException, path: Path) -> str:
    """Returns "FILE, line N: Error: message" for the deepest line of the user's own file."""
    what = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SyntaxError):
        return what
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve() == path.resolve():
            return f"{path}, line {frame.lineno}: {what}"
    return f"{path}: {what}"


def split_overrides(argv: Sequence[str], flag: str = "config") -> tuple[list[str], dict[str, str]]:
    """Takes `--config.a.b=value` and `--config.a.b value` out of a command line.

    They are taken out before absl parses the rest, because absl knows only flags that are defined
    beforehand, and which names exist is known only once the experiment file has been read. The
    dataclass flags of ml_collections would define them, but need mutable configs, cannot set an
    optional field back to None, and do not run `__post_init__` again.

    Args:
      argv: the command line, program name first.
      flag: what stands before the first dot.

    Returns:
      What remains for absl, and the overrides as text by dotted name; the last of two wins.
    """
    rest: list[str] = []
    changes: dict[str, str] = {}
    arguments = list(argv)
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            rest += [argument, *arguments[position:]]
            break
        bare = argument.removeprefix("-").removeprefix("-")
        if not argument.startswith("-") or not bare.startswith(flag + "."):
            rest.append(argument)
            continue
        key, separator, value = bare.removeprefix(flag + ".").partition("=")
        if not separator:
            if position == len(arguments) or arguments[position].startswith("--"):
                raise ConfigError(f"{argument} needs a value: write {argument}=VALUE.")
            value = arguments[position]
            position += 1
        changes[key] = value
    return rest, changes
