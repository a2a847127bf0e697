"""`python -m perceiver_jax.predict` without a process of its own: a start costs seconds."""

import contextlib
import io
import json
import sys
from typing import NamedTuple
from unittest import mock

from absl import flags

from perceiver_jax import predict as command
from perceiver_jax.infer import loaded as loading


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def records(self):
        """What --output=json printed: every line is one object."""
        return [json.loads(line) for line in self.out.splitlines()]


def predict(*arguments, model=None):
    """Runs the command line; with `model`, that is loaded whatever --checkpoint says."""
    before = set(flags.FLAGS)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("perceiver_jax.errors.exit_on_interrupt"))
        stack.enter_context(mock.patch.object(sys, "argv", ["predict", *map(str, arguments)]))
        if model is not None:
            stack.enter_context(mock.patch.object(loading, "load", lambda *_, **__: model))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            command.main()
            code = 0
        except SystemExit as error:
            code = error.code or 0
        finally:
            for name in set(flags.FLAGS) - before:
                flags.FLAGS.remove_flag_values([name])
            flags.FLAGS.unparse_flags()
    return Result(code, out.getvalue(), err.getvalue())
