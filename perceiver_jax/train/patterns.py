"""Parts of a model by glob pattern, as `config.fresh`, `skip`, `frozen` and `learning_rates` do.

A pattern names a module with all that lies beneath it, or one array as module/name:

  perceiver_encoder                 the whole encoder
  *basic_decoder/output             one layer: its w and b
  */self_attention_[012]            three blocks
  */layer_norm*/scale               one array of many layers

So it is compared with every beginning of "module/name" that ends before a slash. `*` stands for
any text, slashes included.
"""

import difflib
import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perceiver_jax.errors import ConfigError

Tree = Mapping[str, Mapping[str, Any]]  # module -> name -> anything


def matches(pattern: str, module: str, name: str) -> bool:
    """Says whether `pattern` names the array `name` of `module`, or something that it is in."""
    return any(fnmatch.fnmatchcase(path, pattern) for path in _beginnings(f"{module}/{name}"))


def matches_any(patterns: Sequence[str], module: str, name: str) -> bool:
    """Says whether one of `patterns` names the array."""
    return any(matches(pattern, module, name) for pattern in patterns)


def _beginnings(path: str) -> Iterator[str]:
    """Yields "a", "a/b" and "a/b/c" of "a/b/c"."""
    parts = path.split("/")
    for i in range(len(parts)):
        yield "/".join(parts[: i + 1])


def split(tree: Tree, patterns: Sequence[str]) -> tuple[Any, Any]:
    """Returns the arrays that no pattern names, and those that one does.

    `join` puts them together again. Modules of which nothing is left are not there. Without
    patterns the first is `tree` itself.
    """
    if not patterns:
        return tree, {}
    rest: dict[str, dict[str, Any]] = {}
    named: dict[str, dict[str, Any]] = {}
    for module, entries in tree.items():
        for name, value in entries.items():
            into = named if matches_any(patterns, module, name) else rest
            into.setdefault(module, {})[name] = value
    return rest, named


def join(first: Tree, second: Tree) -> Any:
    """Returns the arrays of both trees as one; `first` itself if there is nothing in `second`."""
    if not second:
        return first
    modules = dict.fromkeys([*first, *second])
    return {module: {**first.get(module, {}), **second.get(module, {})} for module in modules}


def check(patterns: Sequence[str], tree: Tree, field: str, owner: str = "the model") -> None:
    """Makes sure that every pattern names something.

    Args:
      patterns: see above.
      tree: what there is.
      field: the field of the config that the patterns stand in.
      owner: what `tree` belongs to, in words.

    Raises:
      ConfigError: a pattern names nothing; says which names are nearest.
    """
    for pattern in patterns:
        if not split(tree, (pattern,))[1]:
            near = " or ".join(nearest(pattern, tree))
            raise ConfigError(
                f"config.{field}: {pattern!r} matches no module of {owner}. "
                + (f"Did you mean {near}? " if near else "")
                + "The modules are listed by `python -m perceiver_jax.inspect`."
            )


def nearest(pattern: str, tree: Tree, count: int = 3) -> list[str]:
    """Returns the modules of `tree` whose whole name, or the last part of it, is most alike."""
    names: dict[str, list[str]] = {}
    for module in tree:
        for path in _beginnings(module):
            last = path.rpartition("/")[2]
            if not last.startswith("~"):
                for key in {path, last}:
                    names.setdefault(key, [])
                    if path not in names[key]:
                        names[key].append(path)
    wanted = pattern.strip("*/")
    alike = difflib.get_close_matches(wanted, names, n=count, cutoff=0.6)
    found = [path for key in alike for path in names[key]]
    return list(dict.fromkeys(found))[:count]


def parse_rate(text: str) -> tuple[str, float]:
    """Returns the pattern and the factor of "PATTERN=FACTOR", an entry of `learning_rates`.

    Raises:
      ConfigError: it is not of this form, or the factor is no positive number.
    """
    pattern, equals, number = (part.strip() for part in text.rpartition("="))
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if not equals or not pattern or math.isnan(factor):
        raise ConfigError(
            f"config.learning_rates: {text!r} must be PATTERN=FACTOR, such as "
            "perceiver_encoder=0.1."
        )
    if not 0 < factor < math.inf:
        mend = "; to leave parts as they are, name them in config.frozen" if factor == 0 else ""
        raise ConfigError(
            f"config.learning_rates: the factor of {text!r} must be a number above 0{mend}."
        )
    return pattern, factor


def layerwise_rates(
    num_layers: int, decay: float, *, inputs: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns `learning_rates` that fall from the decoder to the inputs, a factor a layer.

    Of `num_layers` self-attention blocks the last gets `decay`, the one before it decay**2 and so
    on; the rest of the encoder (its cross-attends and the latents) and `inputs` get
    decay**(num_layers + 1). The decoder keeps the rate. (Bao et al. 2022, BEiT, App. H, fine-tune
    Transformers in this way.)

    Args:
      num_layers: self-attention blocks with weights of their own: the encoder's
        `self_attends_per_block`.
      decay: factor from one block to the one before it.
      inputs: patterns of what lies before the encoder and trains, such as `image_preprocessor`.
    """
    encoder = "perceiver_encoder"
    blocks = [
        f"{encoder}/~/self_attention{f'_{i}' if i else ''}={decay ** (num_layers - i):g}"
        for i in range(num_layers)
    ]
    below = [f"{pattern}={decay ** (num_layers + 1):g}" for pattern in (encoder, *inputs)]
    return (*blocks, *below)
