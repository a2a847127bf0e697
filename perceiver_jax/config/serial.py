"""Configs to JSON and back. A saved config names the classes that rebuild it."""

import dataclasses
import enum
import importlib
from collections.abc import Mapping
from typing import Any

from perceiver_jax.config import tree, values
from perceiver_jax.errors import ConfigError

_PACKAGE = "perceiver_jax"
_CLASS = "__class__"
_ENUM = "__enum__"


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a config as JSON-able values; every dataclass carries "__class__": "module:Name".

    Raises:
      ConfigError: the config holds something that is no config value, or a class that does not
        belong to perceiver_jax and could not be read back.
    """
    encoded = _encode(config, "")
    if not isinstance(encoded, dict) or _CLASS not in encoded:
        raise ConfigError(f"Expected a config dataclass, and got {type(config).__name__}.")
    return encoded


def from_dict(data: Mapping[str, Any]) -> Any:
    """Rebuilds what `to_dict` saved.

    A file may come from anywhere, so only dataclasses and enums of perceiver_jax are made.

    Raises:
      ConfigError: a foreign or unknown class, an unknown or missing key, a wrong type.
    """
    return _decode(data, "")


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _where(path: str) -> str:
    return f"config.{path}" if path else "config"


def _encode(value: Any, path: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        if isinstance(value, enum.Enum):  # an enum that is also an int or a str
            return _encode_enum(value, path)
        return value
    if isinstance(value, enum.Enum):
        return _encode_enum(value, path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        _check_ours(_name(type(value)), path)
        encoded: dict[str, Any] = {_CLASS: _name(type(value))}
        for field in dataclasses.fields(value):
            if field.init:
                encoded[field.name] = _encode(getattr(value, field.name), f"{path}.{field.name}")
        return encoded
    if isinstance(value, tuple):
        return [_encode(each, f"{path}.{i}") for i, each in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _encode(each, f"{path}.{key}") for key, each in value.items()}
    raise ConfigError(
        f"{_where(path.lstrip('.'))} is {value!r} ({type(value).__name__}), which is no config "
        "value. A config holds None, bool, int, float, str, enums, tuples, mappings and configs."
    )


def _encode_enum(value: enum.Enum, path: str) -> dict[str, str]:
    _check_ours(_name(type(value)), path)
    return {_ENUM: _name(type(value)), "name": value.name}


def _check_ours(name: str, path: str) -> None:
    module = name.partition(":")[0]
    if module != _PACKAGE and not module.startswith(_PACKAGE + "."):
        raise ConfigError(
            f"{_where(path.lstrip('.'))} names the class {name!r}. Only classes of {_PACKAGE} can "
            "stand in a saved config, because reading one must not run code from elsewhere."
        )


def _find_class(name: Any, path: str) -> type:
    if not isinstance(name, str) or name.count(":") != 1:
        raise ConfigError(f"{_where(path)}: {name!r} is no class name; expected 'module:Name'.")
    _check_ours(name, path)
    module_name, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise ConfigError(
            f"{_where(path)} was saved with the class {name!r}, which this version of {_PACKAGE} "
            "does not have. Use the version that saved it."
        ) from None
    if not isinstance(found, type) or _name(found) != name:
        raise ConfigError(f"{_where(path)}: {name!r} is not a config class.")
    return found


def _decode(data: Any, path: str) -> Any:
    if isinstance(data, list):
        return tuple(_decode(each, _below(path, i)) for i, each in enumerate(data))
    if not isinstance(data, Mapping):
        return data
    if _ENUM in data:
        cls = _find_class(data[_ENUM], path)
        if not issubclass(cls, enum.Enum) or data.get("name") not in cls.__members__:
            raise ConfigError(f"{_where(path)}: {data.get('name')!r} is not in {data[_ENUM]}.")
        return cls[data["name"]]
    if _CLASS not in data:
        return {key: _decode(each, _below(path, key)) for key, each in data.items()}
    cls = _find_class(data[_CLASS], path)
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{_where(path)}: {data[_CLASS]!r} is not a config class.")
    hints = tree.field_types(cls)
    unknown = [key for key in data if key != _CLASS and key not in hints]
    if unknown:
        raise ConfigError(
            f"{_where(path)} ({cls.__name__}) has no field {unknown[0]!r}; it has: "
            f"{', '.join(hints)}."
        )
    decoded = {
        key: values.coerce(_decode(data[key], _below(path, key)), hint, _below(path, key))
        for key, hint in hints.items()
        if key in data
    }
    try:
        return cls(**decoded)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{_where(path)} ({cls.__name__}) cannot be rebuilt: {error}") from None


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
