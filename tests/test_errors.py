"""How a user's mistake is shown."""

import os
import subprocess
import sys
from pathlib import Path

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


_PROGRAM = """
import sys
from perceiver_jax import errors
def main(argv):
    {}
errors.run_main(main)
"""
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
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body)], capture_output=True, text=True
    )
    assert done.returncode == code
    assert in_stderr in done.stderr
    assert ("Traceback" in done.stderr) == traceback


@pytest.mark.parametrize(
    "body",
    [
        "for i in range(10**5): print(i)",  # Much, which fails on the way,
        "print('late')",  # and little, which fails when Python ends.
        "[print(i, file=sys.stderr) for i in range(10**5)]",
        "raise errors.DataError('of which nobody reads')",
    ],
)
def test_output_that_nobody_reads_ends_a_command_without_a_word(body: str) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    both = "stderr" in body or "raise" in body
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body)],
        stdout=writes,
        stderr=writes if both else subprocess.PIPE,
    )
    os.close(writes)
    assert (done.returncode, done.stderr or b"") == (141, b"")


def test_a_pipe_that_breaks_elsewhere_is_told() -> None:
    body = "raise BrokenPipeError('of a process that reads')"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(body)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "BrokenPipeError: of a process that reads" in done.stderr


def test_a_file_whose_name_is_like_a_flag_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "-1nilez17Dg.wav").touch()
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for argument, hint in (("-1nilez17Dg.wav", True), ("-other.wav", False)):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM.format("return 0"), argument],
            capture_output=True, text=True, cwd=tmp_path, env=root,
        )  # fmt: skip
        assert done.returncode == 2 and "Unknown command line flag" in done.stderr
        assert (
            "Dg.wav'. If the file is meant, write ./-1nilez17Dg.wav. --help" in done.stderr
        ) == hint
