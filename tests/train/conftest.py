"""Compiles each program of the trainer's tests once: every run makes the same ones anew."""

from collections.abc import Iterator

import jax
import pytest

_OPTIONS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@pytest.fixture(scope="package", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in (*_OPTIONS, "jax_compilation_cache_dir")}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    for name, value in _OPTIONS.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
