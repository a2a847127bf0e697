"""Sets JAX up for all tests: the CPU, as eight devices, before anything computes."""

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

from tests import compiling

# For this process ...
jax.config.update("jax_platforms", "cpu")
# ... which sees eight devices, so that sharded programs are tested as such ...
jax.config.update("jax_num_cpu_devices", 8)
# ... and which compiles quickly. XLA reads its flags once, when the devices are made.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {compiling.XLA_FLAGS}".strip())
    jax.devices()
# ... and for those that tests start, which see one, as a user's laptop does.
os.environ["JAX_PLATFORMS"] = "cpu"
# Figures are drawn to files only, also where a display is at hand.
os.environ["MPLBACKEND"] = "Agg"

# Random examples are the same in every run, and a slow machine is not a failure: an example may
# take as long as it takes to compile.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


_CACHE = {
    "jax_persistent_cache_min_compile_time_secs": 0.05,  # What is quicker costs as much to keep.
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiles each program once in this process: many tests make the same ones anew."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    for name, value in _CACHE.items():
        jax.config.update(name, value)


@pytest.fixture
def highest_precision() -> Iterator[None]:
    """Float32 products in full float32, as the golden arrays were computed.

    A CPU does that anyway; with this, a test says that it depends on it.
    """
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """Half the compile time, for tests that compile a small program and run it once."""
    with compiling.quick():
        yield
