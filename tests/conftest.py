"""Sets JAX up for all tests: the CPU, as eight devices, before anything computes."""

import os
from collections.abc import Iterator

import hypothesis
import jax
import pytest

# For this process ...
jax.config.update("jax_platforms", "cpu")
# ... which sees eight devices, so that sharded programs are tested as such ...
jax.config.update("jax_num_cpu_devices", 8)
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


@pytest.fixture
def highest_precision() -> Iterator[None]:
    """Float32 products in full float32, as the golden arrays were computed.

    A CPU does that anyway; with this, a test says that it depends on it.
    """
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """Half the compile time, for slower programs; their values are rounded like all others.

    For tests that compile a small program and run it once.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
