"""One config value against its annotation: check it, and parse it where it came as text."""

import ast
import dataclasses
import difflib
import enum
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_jax.errors import ConfigError

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def describe(hint: Any) -> str:
    """Returns an annotation in a user's words: "int or none", "one of 'a', 'b'"."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return "none"
    if hint is bool:
        return "true or false"
    if is_union(hint):
        return " or ".join(describe(arg) for arg in args)
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(arg) for arg in args)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"a tuple of {describe(args[0])} (such as 3,4)"
        return "a tuple (" + ", ".join(describe(arg) for arg in args) + ")"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(repr(member.name) for member in hint)
    if origin is not None and issubclass(origin, Mapping):
        return f"a mapping from names to {describe(args[1])}"
    return getattr(hint, "__name__", str(hint))


def is_union(hint: Any) -> bool:
    """Says whether an annotation is `A | B`, however it is spelled."""
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def config_classes(hint: Any) -> list[type]:
    """Returns the config classes among the members of an annotation."""
    members = typing.get_args(hint) if is_union(hint) else (hint,)
    return [each for each in members if isinstance(each, type) and dataclasses.is_dataclass(each)]


def short_name(cls: type) -> str:
    """Returns the short name of a config class: "folder", "constant_cosine"."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__.removesuffix("Config"))
    return words.lower()


def class_named(value: Any, hint: Any) -> type | None:
    """Returns the config class of `hint` that a text names, in full or short; None if none."""
    for cls in config_classes(hint):
        if isinstance(value, str) and value in (cls.__name__, short_name(cls)):
            return cls
    return None


def has_default(cls: type, name: str) -> bool:
    """Says whether a field of a config class may be left out."""
    (field,) = (each for each in dataclasses.fields(cls) if each.name == name)
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def default_of(cls: type, name: str) -> Any:
    """Returns the default of a field of a config class; None if it has none."""
    (field,) = (each for each in dataclasses.fields(cls) if each.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def coerce(value: Any, hint: Any, path: str) -> Any:
    """Returns `value` as the annotation `hint` wants it.

    Text is parsed by the annotation, as flags come as text. A whole number is taken for a float,
    a list for a tuple, the name of a class for an instance of it with its defaults; nothing else
    is converted, so that `0.5` for an int, or `1` for a bool, is an error.

    Args:
      value: what the user gave.
      hint: the annotation of the field, resolved.
      path: dotted name of the field, for the message.

    Raises:
      ConfigError: names the field, what it expects, and what it got.
    """
    try:
        return _coerce(value, hint, path)
    except _Mismatch:
        raise ConfigError(
            f"config.{path} expects {describe(hint)}, and got {value!r} ({type(value).__name__})."
            + _named_configs(value, hint)
        ) from None


def _named_configs(value: Any, hint: Any) -> str:
    """Says which names of configs a text may be, where the annotation has configs."""
    names = [short_name(each) for each in config_classes(hint)]
    if not isinstance(value, str) or not names:
        return ""
    near = difflib.get_close_matches(value.lower(), names, n=1, cutoff=0.6)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"{guess} By name there {'is' if len(names) == 1 else 'are'}: {', '.join(names)}."


class _Mismatch(Exception):
    """The value does not fit; a union may have another member that it fits."""


def _coerce(value: Any, hint: Any, path: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return value
    if hint is None or hint is type(None):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        raise _Mismatch
    if is_union(hint):
        return _coerce_union(value, typing.get_args(hint), path)
    if origin is typing.Literal:
        return _coerce_literal(value, typing.get_args(hint))
    if origin is tuple or hint is tuple:
        return _coerce_tuple(value, typing.get_args(hint), path)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise _Mismatch
        item = typing.get_args(hint)[1]
        return {key: coerce(each, item, f"{path}.{key}") for key, each in value.items()}
    if not isinstance(hint, type):  # Callable and the like: nothing to check against.
        return value
    if dataclasses.is_dataclass(hint):
        return _coerce_dataclass(value, hint, path)
    if issubclass(hint, enum.Enum):
        return _coerce_enum(value, hint)
    return _coerce_scalar(value, hint)


def _coerce_union(value: Any, members: Sequence[Any], path: str) -> Any:
    """Takes the first member that fits: exact types first, text as text last."""
    if isinstance(value, str):
        # "3" for `int | str` is the number; text stays text only where nothing else reads it.
        members = sorted(members, key=lambda member: member is str)
    else:
        members = sorted(members, key=lambda member: member is not type(value))
    for member in members:
        try:
            return _coerce(value, member, path)
        except _Mismatch:
            continue
    raise _Mismatch


def _coerce_literal(value: Any, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    for choice in choices:
        if isinstance(value, str) and value == str(choice):
            return choice
    raise _Mismatch


def _coerce_tuple(value: Any, args: Sequence[Any], path: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = _split_tuple(value)
    if not isinstance(value, (tuple, list)):
        raise _Mismatch
    if not args:
        return tuple(value)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if args == ((),):
        args = ()
    if len(args) != len(value):
        raise _Mismatch
    return tuple(_coerce(each, arg, path) for each, arg in zip(value, args, strict=True))


def _split_tuple(text: str) -> Sequence[Any]:
    text = text.strip()
    if text[:1] in ("(", "["):
        try:
            parsed = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            text = text[1:-1]  # (a,b): names without quotes
        else:
            return parsed if isinstance(parsed, (tuple, list)) else (parsed,)
    return [part.strip() for part in text.split(",") if part.strip()]


def _coerce_dataclass(value: Any, hint: type, path: str) -> Any:
    if isinstance(value, hint):
        return value
    if class_named(value, hint) is not None:
        try:
            return hint()
        except TypeError as error:
            raise ConfigError(
                f"config.{path}={value} needs values that have no default ({error}); "
                "build it in the experiment file instead."
            ) from None
    raise _Mismatch


def _coerce_enum(value: Any, hint: type[enum.Enum]) -> enum.Enum:
    if isinstance(value, hint):
        return value
    for member in hint:
        if isinstance(value, str) and value in (member.name, str(member.value)):
            return member
    raise _Mismatch


def _coerce_scalar(value: Any, hint: type) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        raise _Mismatch
    if hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _parse_int(value)
        raise _Mismatch
    if hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                raise _Mismatch from None
        raise _Mismatch
    if isinstance(value, hint):
        return value
    raise _Mismatch


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)  # 1e6 is a number of steps
    except ValueError:
        raise _Mismatch from None
    if not number.is_integer():
        raise _Mismatch
    return int(number)
