"""Out of memory, in words."""

import contextlib
import re
from collections.abc import Iterator

import jax

from perceiver_jax.errors import UserError


class OutOfMemory(UserError):
    """A device has less memory than a step or an evaluation takes."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns JAX's error about memory into one that names the settings that help.

    Raises:
      OutOfMemory: the device had too little.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        asked = re.search(r"allocat\w+ (\d+) bytes", str(error))
        size = f" {int(asked.group(1)) / 2**30:.1f} GiB at once were asked for." if asked else ""
        raise OutOfMemory(
            f"A device has too little memory.{size} What helps, from the cheapest: "
            "trainer.remat=layers, trainer.precision=bfloat16, trainer.accumulate=4 or a smaller "
            "trainer.batch_size, more devices along trainer.mesh.fsdp; if it was an evaluation, a "
            "smaller trainer.eval_batch_size. `python -m perceiver_jax.inspect --config=… "
            "--mesh=…` says what a training step takes. What was saved is whole."
        ) from error
