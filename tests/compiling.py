"""How programs are compiled in tests: most of their time is compiling, and most programs run once.

The older of XLA's two code generators for CPUs is the quicker one: with `quick` it halves the time
once more. A jaxlib that does not know the flag would end the process, so its library is asked.
With DEFAULT_COMPILER=1 in the environment, tests compile as users do.
"""

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxlib

_FLAG = "xla_cpu_use_fusion_emitters"


def _xla_knows(flag: str) -> bool:
    (folder,) = jaxlib.__path__
    library = Path(folder) / "libjax_common.so"
    if not library.is_file():
        return False
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(flag.encode()) >= 0


_AS_USERS_DO = os.environ.get("DEFAULT_COMPILER") == "1"
XLA_FLAGS = f"--{_FLAG}=false" if not _AS_USERS_DO and _xla_knows(_FLAG) else ""

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
