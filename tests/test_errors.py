"""How a user's mistake is shown."""

import subprocess
import sys

import pytest

from perceiver_jax import errors


def test_require_names_the_pip_command() -> None:
    with pytest.raises(errors.UserError) as caught:
        errors.require("no_such_package_x", purpose="The test", pip_name="no-such-x")
    message = str(caught.value)
    assert "The test needs the package 'no-such-x'" in message
    assert f"{sys.executable} -m pip install no-such-x" in message


def test_require_passes_for_what_is_there() -> None:
    errors.require("json", purpose="The test")


_INTERRUPTED_WHERE_EXCEPTIONS_GET_LOST = """
    import gc, os, signal
    gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGINT))
    gc.collect()
    return 3
"""


@pytest.mark.parametrize(
    ("body", "code", "in_stderr", "traceback"),
    [
        ("raise errors.DataError('the file is missing')", 2, "error: the file is missing", False),
        ("raise KeyboardInterrupt", 130, "Interrupted.", False),
        (_INTERRUPTED_WHERE_EXCEPTIONS_GET_LOST, 130, "Interrupted.", False),
        ("return 7", 7, "", False),
        ("return None", 0, "", False),
        ("raise ValueError('a bug')", 1, "ValueError: a bug", True),
    ],
)
def test_run_main(body: str, code: int, in_stderr: str, traceback: bool) -> None:
    program = (
        f"from perceiver_jax import errors\ndef main(argv):\n    {body}\nerrors.run_main(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert in_stderr in done.stderr
    assert ("Traceback" in done.stderr) == traceback
