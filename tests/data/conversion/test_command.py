"""What commands that make sets say: of their flags, and when Ctrl-C ends them."""

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os, signal, sys

from perceiver_jax.data.conversion.command import making

with making(sys.argv[1], sys.argv[2] or None, "part-*", "part (of 32)"):
    os.kill(os.getpid(), signal.SIGINT)
"""
_IMPORTING = """
import os, runpy, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "absl"):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
runpy.run_module(sys.argv[1], run_name="__main__")
"""
_ANEW = "Interrupted. No part (of 32) was complete: the same command begins anew."
_KEPT = "Interrupted. What is converted is kept: the same command goes on from there."


@pytest.mark.parametrize(
    "name", ["audioset.prepare", "audioset.beam", "audioset.asterisk", "points.prepare",
             "points.furniture"]
)  # fmt: skip
def test_ctrl_c_while_a_command_is_imported_is_no_traceback(name):
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTING, f"perceiver_jax.data.{name}"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "\nInterrupted.\n")


def test_help_lists_the_flags_of_the_pipeline():
    done = subprocess.run(
        [sys.executable, "-m", "perceiver_jax.data.audioset.beam", "--help"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert "--beam_options:" in done.stdout and "--segments:" in done.stdout


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
