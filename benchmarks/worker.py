"""The inner side of the protocol: a process that answers requests, one line of JSON each.

A request is `{"do": NAME, ...arguments}`, and the answer an object; `{"error": TEXT}` where it
could not be done. Answers go out through the standard output that the process was started with;
whatever else writes to standard output goes to standard error. The process ends with its input.

Needs nothing but the standard library, so that a contender of any kind can be measured with no
more in its process than it brings along.
"""

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import process_memory
from perceiver_jax.errors import UserError

Answer = Mapping[str, Any]
# How JAX and PyTorch say that an allocation failed.
_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "ut of memory", "not enough memory")


class Refusal(Exception):
    """A contender cannot do a piece of work. The message says why, for the table."""


def serve(requests: Mapping[str, Callable[..., Answer]]) -> None:
    """Answers requests until the input ends.

    Args:
      requests: what to call for each name, with the arguments of the request.
    """
    process_memory.be_killed_first()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print must not look like an answer.
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = dict(requests[request.pop("do")](**request))
        except (Refusal, UserError) as error:
            answer = {"error": str(error)}
        except Exception as error:  # Whatever it is, the others are to go on.
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
            answer["out_of_memory"] = isinstance(error, MemoryError) or any(
                words in str(error) for words in _OUT_OF_MEMORY
            )
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def needs(*packages: str) -> None:
    """Raises Refusal, with the way to install them, unless all packages can be imported."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise Refusal(
                f"{package} cannot be imported by {sys.executable} ({error}); install the peers as "
                "benchmarks/requirements.txt says, and name their Python by --peer_python"
            ) from error
