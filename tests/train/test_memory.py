"""What is said where a device has too little memory."""

import jax
import jax.numpy as jnp
import pytest

from perceiver_jax.train import memory


def test_a_device_that_has_too_little() -> None:
    with pytest.raises(memory.OutOfMemory, match="GiB at once .*accumulate.*eval_batch"):
        with memory.explained():
            jax.block_until_ready(jnp.zeros((1 << 46,), jnp.float32) + 1)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), memory.explained():
        raise ZeroDivisionError
    with pytest.raises(jax.errors.JaxRuntimeError, match="^INTERNAL"), memory.explained():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
