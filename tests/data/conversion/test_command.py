"""What Ctrl-C says while a set is made."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, signal, sys

from perceiver_jax.data.conversion.command import making

with making(sys.argv[1], sys.argv[2] or None, "part-*"):
    os.kill(os.getpid(), signal.SIGINT)
"""
_ANEW = "Interrupted before anything was converted: the same command begins anew."
_KEPT = "Interrupted. What is converted is kept: the same command goes on from there."


def test_ctrl_c_says_what_is_kept(tmp_path):
    def interrupted(name):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, tmp_path, name],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 130
        return done.stderr.strip()

    parts = tmp_path / "own.parts"
    parts.mkdir()
    for name in ("plan.json", ".part-0.4711.partial.npz"):
        (parts / name).touch()
    assert interrupted("own") == _ANEW
    (parts / "part-0.npz").touch()
    assert interrupted("own") == interrupted("") == _KEPT
    assert interrupted("other") == _ANEW
