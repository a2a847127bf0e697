"""How programs are compiled in tests: most of their time is compiling, and most programs run once.

The older of XLA's two code generators for CPUs is the quicker one: with `quick` it halves the time
once more. Later ones have it no more, and XLA ends a process that is given a flag it does not know.
With DEFAULT_COMPILER=1 in the environment, tests compile as users do.
"""

import contextlib
import os
from collections.abc import Iterator

import jax
import jaxlib

_FLAG = "xla_cpu_use_fusion_emitters"
_HAS_BOTH = jaxlib.__version__.startswith("0.10.")  # 0.12 has not; 0.11 was not looked at.
_AS_USERS_DO = os.environ.get("DEFAULT_COMPILER") == "1"
XLA_FLAGS = f"--{_FLAG}=false" if _HAS_BOTH and not _AS_USERS_DO else ""

# The same, as environment variables for processes that tests start.
QUICK = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "XLA_FLAGS": XLA_FLAGS}


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Half the compile time, for slower programs; their values are rounded like all others."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
