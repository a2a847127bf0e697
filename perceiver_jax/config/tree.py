"""A whole config: change some fields by name, and compare two configs."""

import contextlib
import dataclasses
import difflib
import functools
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from perceiver_jax.config import values
from perceiver_jax.errors import ConfigError

T = TypeVar("T")

_WHOLE = ""  # Key of a change to the field itself, beside changes below it.
_MISSING = "(not set)"


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Returns the resolved annotation of each field of a dataclass that can be set."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def override(config: T, changes: Mapping[str, Any]) -> T:
    """Returns a copy of `config` with some fields changed.

    Args:
      config: a frozen dataclass.
      changes: values by dotted name ("encoder.num_latents"), or nested mappings, or both. A value
        is a Python value, or text that is parsed by the field's type: `3`, `1e-3`, `true`, `none`,
        `3,4` for a tuple, a name for an enum. The name of a class makes a config of it, with its
        defaults and the changes below the field: "FolderConfig", or `folder` for short. Parts of
        a tuple are named by number: "stages.0.width".

    All changes to one dataclass are made at once, so `__post_init__` judges the result and not the
    states on the way; the order of `changes` does not matter. A change to a whole field comes
    before changes below it.

    Raises:
      ConfigError: an unknown name (with the nearest ones and all valid ones), or a wrong type.
    """
    return _apply(config, _to_tree(changes), path="")


def _to_tree(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Turns dotted names into nested dicts; the value of a leaf is under the key `_WHOLE`."""
    tree: dict[str, Any] = {}
    for key, value in changes.items():
        if not isinstance(key, str) or not all(key.split(".")):
            raise ConfigError(f"{key!r} is no config name; write names joined by single dots.")
        node = tree
        for part in key.split("."):
            node = node.setdefault(part, {})
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            _merge(node, _to_tree(value))
        else:
            node[_WHOLE] = value
    return tree


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if key != _WHOLE and key in into:
            _merge(into[key], value)
        else:
            into[key] = value


def _apply(value: Any, tree: dict[str, Any], path: str, hint: Any = Any) -> Any:
    """Applies the changes of `tree` below `value`; the caller has applied tree[_WHOLE].

    Args:
      value: a config, a mapping or a tuple.
      tree: the changes.
      path: dotted name of `value`.
      hint: annotation of the field that it stands in, for messages.
    """
    children = {key: node for key, node in tree.items() if key != _WHOLE}
    if not children:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = field_types(type(value))
        changed = {}
        for key, node in children.items():
            if key not in hints:
                raise _unknown_key(path, key, hints, type(value), hint)
            changed[key] = _change(getattr(value, key), node, hints[key], _join(path, key))
        with _naming(path, type(value)):
            return dataclasses.replace(value, **changed)
    if isinstance(value, Mapping):
        for key in children:
            if key not in value:
                raise _unknown_key(path, key, value, type(value))
        return {
            key: _change(each, children[key], Any, _join(path, key)) if key in children else each
            for key, each in value.items()
        }
    if isinstance(value, tuple):
        items = list(value)
        for key, node in children.items():
            if not key.isdigit() or int(key) >= len(items):
                raise _unknown_key(path, key, map(str, range(len(items))), tuple)
            hint = Any if dataclasses.is_dataclass(items[int(key)]) else type(items[int(key)])
            items[int(key)] = _change(items[int(key)], node, hint, _join(path, key))
        return tuple(items)
    raise ConfigError(
        f"config.{_join(path, next(iter(children)))} does not exist: config.{path} is {value!r}, "
        "which has no parts. Set the whole field first."
    )


def _change(old: Any, tree: dict[str, Any], hint: Any, path: str) -> Any:
    """Returns the new value of one field: the whole first, then what is below it."""
    if _WHOLE in tree:
        cls = values.class_named(tree[_WHOLE], hint)
        if cls is not None:
            return _make(cls, tree, path, hint)
        old = values.coerce(tree[_WHOLE], hint, path)
    elif old is None and tree:
        # A part of an optional config that is off: nothing says which class is meant if several.
        options = values.config_classes(hint)
        if len(options) == 1:
            return _make(options[0], tree, path, hint)
    return values.coerce(_apply(old, tree, path, hint), hint, path)


def _make(cls: type, tree: dict[str, Any], path: str, hint: Any) -> Any:
    """Makes a config of class `cls` with its defaults, but for the changes of `tree`."""
    hints = field_types(cls)
    given: dict[str, Any] = {}
    for key, node in tree.items():
        if key == _WHOLE:
            continue
        if key not in hints:
            raise _unknown_key(path, key, hints, cls, hint)
        given[key] = _change(values.default_of(cls, key), node, hints[key], _join(path, key))
    missing = [key for key in hints if key not in given and not values.has_default(cls, key)]
    if missing:
        needs = " and ".join(f"config.{_join(path, key)}" for key in missing)
        raise ConfigError(
            f"config.{path}={values.short_name(cls)} ({cls.__name__}) needs {needs} as well, which "
            f"{'has' if len(missing) == 1 else 'have'} no default: set "
            f"{'it' if len(missing) == 1 else 'them'} beside it."
        )
    with _naming(path, cls):
        return cls(**given)


@contextlib.contextmanager
def _naming(path: str, cls: type) -> Iterator[None]:
    """Says which config it is whose `__post_init__` raises."""
    try:
        yield
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        where = f"config.{path}" if path else "config"
        raise ConfigError(f"{where} ({cls.__name__}): {error}") from error


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown_key(
    path: str, key: str, valid: Iterable[str], cls: type, hint: Any = Any
) -> ConfigError:
    """The error for a name that a config of class `cls`, in a field of type `hint`, has not."""
    names = list(valid)
    lines = [f"config.{_join(path, key)} does not exist."]
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
    if near:
        lines.append("Did you mean " + " or ".join(f"config.{_join(path, n)}" for n in near) + "?")
    for other in values.config_classes(hint):
        if other is not cls and key in field_types(other):
            short = values.short_name(other)
            lines.append(f"{other.__name__} has it: set config.{path}={short} beside it.")
    if isinstance(getattr(cls, key, None), property):
        lines.append("It is computed from other fields: set those.")
    where = f"config.{path}" if path else "config"
    lines.append(f"{where} ({cls.__name__}) has: {', '.join(names) or 'nothing'}.")
    return ConfigError("\n".join(lines))


def diff(a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    """Returns where two configs differ: (dotted name, value in `a`, value in `b`), in field order.

    Configs of different classes differ as a whole. A name that only one side has is shown with
    the value "(not set)" on the other.
    """
    return list(_diff(a, b, ""))


def _diff(a: Any, b: Any, path: str) -> Iterable[tuple[str, Any, Any]]:
    if type(a) is type(b) and dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            yield from _diff(
                getattr(a, field.name), getattr(b, field.name), _join(path, field.name)
            )
    elif isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            yield from _diff(a.get(key, _MISSING), b.get(key, _MISSING), _join(path, key))
    elif isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        if not any(dataclasses.is_dataclass(each) for each in (*a, *b)):
            if a != b:
                yield (path, a, b)
            return
        for i, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _diff(left, right, _join(path, str(i)))
    elif type(a) is not type(b) or a != b:
        yield (path, a, b)
