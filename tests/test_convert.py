"""The command, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from perceiver_jax.checkpoints import huggingface, native
from tests import golden_cases
from tests.checkpoints import hf_models, hf_small

ROOT = Path(__file__).parents[1]


def convert(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "perceiver_jax.convert", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def done(source, target, kind, *arguments):
    result = convert(f"--from={source}", f"--to={target}", f"--format={kind}", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fails(*arguments):
    result = convert(*arguments)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.core
def test_there_and_back(tmp_path):
    """The tensors of the original come back, through our own file, and the classes' names."""
    source = tmp_path / "source"
    config, params, state = hf_models.model("conv")
    names = ["cat", "dog", "cow", "hen", "pig"]
    huggingface.write(source, params, state, config, class_names=names)
    ours, back = tmp_path / "ours.safetensors", tmp_path / "deep" / "back"

    text = done(source, ours, "safetensors")
    count = sum(x.size for x in golden_cases.flatten(params).values())
    assert "a Hugging Face checkpoint: a model of the kind 'image classifier with a conv" in text
    assert f"{count:,} parameters, 258 values of state" in text
    assert f"{ours.stat().st_size:,} bytes" in text
    assert native.class_names(ours) == tuple(names)

    text = done(ours, back, "huggingface")
    assert (
        "a safetensors file of perceiver_jax" in text
        and "note: PerceiverForImageClassificationConv" in text
    )
    original = load_file(source / "model.safetensors")
    written = load_file(back / "model.safetensors")
    assert original.keys() == written.keys()
    for name, tensor in original.items():
        assert tensor.tobytes() == written[name].tobytes(), name
    loaded = huggingface.read(back)
    assert loaded.config == config and loaded.class_names == tuple(names)
    for path, array in golden_cases.flatten(state).items():
        np.testing.assert_array_equal(golden_cases.flatten(loaded.state)[path], array)


def test_numerics_overrides_and_a_name(tmp_path):
    """A file without its config.json, told by a model's name and the values that differ."""
    weights = hf_small.FOLDER / "vision-perceiver-fourier" / "model.safetensors"
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(weights.read_bytes())
    target = tmp_path / "ours.safetensors"
    overrides = ("--config.encoder.num_blocks=2", "--config.encoder.self_attend_heads=4")
    arguments = ("--model=imagenet_fourier", "--numerics=huggingface", *overrides)
    done(alone, target, "safetensors", *arguments)
    config = native.read(target)[2]
    expected = huggingface.read(weights, numerics="huggingface").config
    assert config == expected and config.exact_gelu


def test_mistakes(tmp_path):
    message = fails("--from=x")
    assert "--format=huggingface" in message
    target = tmp_path / "there.safetensors"
    target.write_text("something")
    arguments = (f"--from={hf_small.FOLDER / 'vision-perceiver-fourier'}", f"--to={target}")
    assert "exists; choose a new file" in fails(*arguments, "--format=safetensors")
    assert "not an empty folder" in fails(*arguments, "--format=huggingface")
    assert target.read_text() == "something"
