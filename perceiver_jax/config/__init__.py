"""Typed, locked configs: frozen dataclasses that can be overridden, saved, compared and loaded.

  values.py  one value against its annotation: `coerce`
  tree.py    a whole config: `override`, `diff`
  serial.py  to JSON and back: `to_dict`, `from_dict`
  files.py   experiment files and the command line: `load_experiment`, `split_overrides`

A config is a frozen dataclass whose fields are plain values, enums, tuples, other configs, or
mappings from names to configs. It holds no arrays and imports nothing that runs. Validation is in
`__post_init__`, which runs again after every override; derived values are properties.
"""

from perceiver_jax.config.files import load_experiment, split_overrides
from perceiver_jax.config.serial import from_dict, to_dict
from perceiver_jax.config.tree import diff, override

__all__ = ["diff", "from_dict", "load_experiment", "override", "split_overrides", "to_dict"]
