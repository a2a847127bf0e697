"""Prepared clouds are read in any order, by any process, and held out by a hash of their names."""

import pickle

import numpy as np
import pytest

from perceiver_jax.data.points.convert import Conversion
from perceiver_jax.data.points.layouts import find_layout
from perceiver_jax.data.points.meshes import read_mesh
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.source import Source
from perceiver_jax.errors import ConfigError, DataError
from tests.data.points.archives import mesh_files, write_folder

pytest.importorskip("tensorflow_datasets")

FILES = mesh_files(60, 4, classes=("bed", "chair", "night_stand"))


def _make(root, name, files, num_points=17, seed=0):
    from perceiver_jax.data.points import builder

    layout = find_layout(str(write_folder(root / f"{name}_meshes", files)))
    conversion = Conversion(layout, num_points, seed, root / f"{name}.parts")
    for part in range(conversion.num_parts):
        conversion.do(part, lambda item: None)
    builder.write(name, str(root), conversion)
    return ModelNetConfig(name=name, data_dir=str(root))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return _make(tmp_path_factory.mktemp("sets"), "own", FILES)


def _names(source):
    return [source.describe(index).split("(")[1].rstrip(")") for index in range(len(source))]


def test_an_example_is_a_cloud_in_the_coordinates_of_its_mesh(config):
    for split, count in (("train", 180), ("test", 12)):
        source = config.open(split)
        assert isinstance(source, Source) and len(source) == count
        assert source.class_names == ("bed", "chair", "night_stand") and source.num_points == 17
        for index, name in list(enumerate(_names(source)))[::7]:
            example = source[index]
            points = example["points"]
            assert points.shape == (17, 3) and points.dtype == np.float32
            assert example["label"].dtype == np.int32
            assert source.class_names[example["label"]] == name.split("/")[0]
            # On the surface: each point is a mixture of three of the four corners.
            corners = read_mesh(FILES[name], name).vertices
            square = np.vstack([corners.T, np.ones(4)])
            mixture = np.linalg.solve(square, np.vstack([points.T, np.ones(17)]))
            np.testing.assert_allclose(mixture.min(axis=0), 0, atol=1e-5)
            points += 1  # A copy, which may be written to.
            assert (source[index]["points"] != points).all()
        assert sorted(_names(source)) == sorted(name for name in FILES if f"/{split}/" in name)
        assert source.describe(3).startswith(f"{source.directory}, {split} 3 (")
        for index in (-1, count):
            with pytest.raises(IndexError):
                source[index]


def test_it_can_be_pickled_before_and_after_it_was_read(config):
    source = config.open("train")
    before = pickle.dumps(source)
    expected = source[5]["points"]
    after = pickle.dumps(source)
    assert len(before) == len(after) < 2000
    for data in (before, after):
        np.testing.assert_array_equal(pickle.loads(data)[5]["points"], expected)


def test_what_is_held_out_is_drawn_by_name(config, tmp_path):
    import dataclasses

    whole = _names(config.open("train"))
    held = dataclasses.replace(config, hold_out=60)
    valid, train = held.open("valid"), held.open("train")
    assert _names(valid) == whole[:60] and _names(train) == whole[60:]
    np.testing.assert_array_equal(train[0]["points"], config.open("train")[60]["points"])
    assert len(held.open("test")) == 12
    # Of all classes, a third of each or so; not in the order of the files.
    counts = np.bincount([valid[index]["label"] for index in range(60)])
    assert ((counts - 20) ** 2 / 20).sum() < 13.8  # Chi-squared, 2 degrees of freedom: 0.999.
    assert whole != sorted(whole)
    # The same ones at other points, and whatever else is there.
    other = _make(tmp_path, "other", FILES, num_points=3, seed=9)
    assert _names(dataclasses.replace(other, hold_out=60).open("valid")) == whole[:60]
    fewer = {name: data for name, data in FILES.items() if name not in whole[100:]}
    fewer = _make(tmp_path, "fewer", fewer, num_points=3)
    assert _names(fewer.open("train")) == whole[:100]
    for hold_out in (180, 200):
        with pytest.raises(
            DataError, match="must leave some of the 180 training clouds of the set"
        ):
            dataclasses.replace(config, hold_out=hold_out).open("valid")
    with pytest.raises(DataError, match=r"no split 'valid'; say how many with --config\.data\.p"):
        config.open("valid")


def test_what_is_missing_or_none_of_clouds_is_refused(config, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="has no split 'dev'; it has: train, valid, test"):
        config.open("dev")
    with pytest.raises(DataError) as caught:
        ModelNetConfig(data_dir=str(tmp_path)).open("train")
    assert f"'modelnet40' is not in {tmp_path}. If it is elsewhere" in str(caught.value)
    assert (
        "\n    python -m perceiver_jax.data.points.prepare --source=ModelNet40.zip "
        f"--name=modelnet40 --data_dir={tmp_path}\n" in str(caught.value)
    )
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        DataError, match=f"(?s)'own' is not in {tmp_path}.*--source=FOLDER --name=own"
    ):
        ModelNetConfig(name="own").open("train")
    from tests.golden_cases import GOLDEN

    with pytest.raises(DataError, match="none of labelled clouds: its features are .*image"):
        ModelNetConfig(name="imagenet2012", data_dir=str(GOLDEN)).open("train")
    for fields in ({"name": ""}, {"hold_out": -1}):
        with pytest.raises(ConfigError, match=f"data.points.{[*fields][0]}"):
            ModelNetConfig(**fields)
