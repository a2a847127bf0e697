"""Our own safetensors: what is saved comes back, and damage is noticed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import perceiver_jax
from perceiver_jax.checkpoints import native
from perceiver_jax.errors import CheckpointError
from tests import tiny_models
from tests.random_params import model_params

CONFIG = tiny_models.classifier()


@pytest.fixture(scope="module")
def params():
    return model_params(perceiver_jax.build(CONFIG))[0]


@pytest.fixture
def file(tmp_path: Path, params) -> Path:
    path = tmp_path / "model.safetensors"
    native.save(path, params, {"norm": {"counter": np.int32(7)}}, CONFIG, class_names=list("abcde"))
    return path


def test_what_is_saved_comes_back_to_the_bit(file, params):
    read, state, config = native.read(file)
    assert config == CONFIG and native.class_names(file) == tuple("abcde")
    assert list(state) == ["norm"] and state["norm"]["counter"] == np.int32(7)
    assert state["norm"]["counter"].shape == () and state["norm"]["counter"].dtype == np.int32
    assert {m: set(e) for m, e in read.items()} == {m: set(e) for m, e in params.items()}
    for module, entries in params.items():
        for name, array in entries.items():
            np.testing.assert_array_equal(read[module][name], array)
    assert [each.name for each in file.parent.iterdir()] == ["model.safetensors"]


def test_others_may_read_the_file(file):
    mask = os.umask(0)
    os.umask(mask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~mask


def test_names_are_those_that_are_documented(file, params):
    names = load_file(file)
    module = "perceiver_encoder/~/cross_attention/attention/linear"
    np.testing.assert_array_equal(names[f"params/{module}/w"], params[module]["w"])


def test_arrays_that_are_not_contiguous(tmp_path, params):
    turned = {"module": {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3).T}}
    native.save(tmp_path / "x.safetensors", turned, {}, CONFIG)
    read, _, _ = native.read(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read["module"]["w"], [[0, 3], [1, 4], [2, 5]])


def test_a_failed_write_leaves_what_was_there(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr("safetensors.numpy.save_file", _fail)
    with pytest.raises(CheckpointError, match="cannot be written: disk full"):
        native.save(file, {"m": {"w": np.ones(3)}}, {}, CONFIG)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == ["model.safetensors"]


def _fail(*args, **kwargs):
    raise OSError("disk full")


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_truncated_file(file, length):
    content = file.read_bytes()
    file.write_bytes(content[:length])
    with pytest.raises(CheckpointError, match="model.safetensors.*(damaged|cut off)"):
        native.read(file)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "not a safetensors file of perceiver_jax"),
        ({"format": "perceiver_jax", "version": "2"}, "version '2' .* reads version 1"),
        ({"format": "perceiver_jax", "version": "1"}, "config inside cannot be read"),
        (
            {
                "format": "perceiver_jax",
                "version": "1",
                "config": json.dumps({"__class__": "os:system"}),
            },
            "os:system",
        ),
    ],
)
def test_metadata_that_are_not_ours(tmp_path, metadata, words):
    path = tmp_path / "other.safetensors"
    save_file({"params/a/w": np.ones(2, np.float32)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=words):
        native.read(path)
