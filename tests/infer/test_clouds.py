"""Meshes and files of points: how they are read, and the command line on them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceiver_jax import zoo
from perceiver_jax.data.points import views
from perceiver_jax.errors import DataError, ModelError
from perceiver_jax.infer import attention_maps, classify, clouds
from perceiver_jax.model.baselines import ConvNetConfig
from tests import tiny_models
from tests.infer.command_line import predict
from tests.infer.tiny_loaded import loaded, rereading

NAMES = ("bath", "bed", "chair", "desk", "door")
_POINTS = 9
_TETRAHEDRON = "4 4 0\n0 0 0\n30 0 0\n0 10 0\n0 0 20\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture(scope="module")
def classifier():
    """Nine points, two cross-attends, three latents, five classes."""
    points = zoo.PointsConfig(_POINTS, zoo.FourierConfig(2, max_resolution=(4, 4, 4)))
    config = dataclasses.replace(tiny_models.classifier(), preprocessor=points)
    return loaded(rereading(config, 2, "none"), NAMES)


@pytest.fixture
def things(tmp_path):
    """A folder with a file of every kind."""
    trimesh = pytest.importorskip("trimesh")
    folder = tmp_path / "things"
    (folder / "more").mkdir(parents=True)
    (folder / "a.off").write_text(f"OFF{_TETRAHEDRON}")  # As many of ModelNet40's begin.
    mesh = trimesh.load_mesh(folder / "a.off", process=False)
    for name in ("b.obj", "c.PLY", "more/d.stl"):
        (folder / name).write_bytes(_exported(mesh, name))
    cloud = np.random.default_rng(0).normal(5, 3, (20, 6))
    np.save(folder / "e.npy", cloud)
    np.savetxt(folder / "f.csv", cloud[:9], delimiter=",")
    np.savetxt(folder / "g.txt", cloud[:9])
    np.savetxt(folder / "h.xyz", cloud[:4])  # Too few.
    (folder / "i.ply").write_bytes(trimesh.PointCloud(cloud[:, :3]).export(file_type="ply"))
    (folder / "notes.md").touch()
    (folder / "README.txt").write_text("# Things\n\n3 beds, 2 chairs\n")
    return folder


def _exported(mesh, name):
    data = mesh.export(file_type=name.rpartition(".")[2].lower())
    return data.encode() if isinstance(data, str) else data


def test_a_mesh_is_sampled_and_normalised(things):
    cloud = clouds.read_cloud(things / "a.off", 500)
    assert cloud.shape == (500, 3) and cloud.dtype == np.float32
    np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-6)
    assert np.abs(cloud).max() == 1
    # The sides keep their proportions: three to one to two.
    extent = np.ptp(cloud, axis=0)
    np.testing.assert_allclose(extent / extent[1], [3, 1, 2], rtol=0.15)
    for name in ("b.obj", "c.PLY"):  # The same triangles in the same order: the same points.
        np.testing.assert_allclose(clouds.read_cloud(things / name, 500), cloud, atol=1e-5)
    other = clouds.read_cloud(things / "a.off", 500, seed=1)
    assert not np.isclose(other, cloud).all(axis=1).any()
    # The first of more points are the points of fewer, before they are normalised.
    fewer = clouds.read_cloud(things / "a.off", 100)
    moved = cloud[:100] - cloud[:100].mean(axis=0)
    np.testing.assert_allclose(fewer, moved / np.abs(moved).max(), atol=1e-5)


def test_points_are_normalised_by_hand(tmp_path):
    path = tmp_path / "cloud.xyz"
    path.write_text("10 0 0 7\n12 0 0 7\n11, 2, 0, 7\n11 -2 0 7\n")
    expected = [[-0.5, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, -1, 0]]
    np.testing.assert_allclose(clouds.read_cloud(path, 4), expected)
    np.testing.assert_allclose(clouds.read_cloud(path, 2048), expected)
    path.write_text("0.5, 0, 0\n0 0 0.5\n0 0.5 0\n")  # Inside of the cube: normalised as well.
    third = np.float32(1 / 3)
    np.testing.assert_allclose(
        clouds.read_cloud(path, 3), 1.5 * (np.eye(3)[[0, 2, 1]] - third), atol=1e-6
    )


def test_of_many_points_some_are_drawn(tmp_path):
    path = tmp_path / "line.npy"
    line = np.zeros((1000, 3))
    line[:, 0] = np.arange(1000)
    np.save(path, line)
    draws = [clouds.read_cloud(path, 100, seed)[:, 0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    for drawn in draws:
        assert len(np.unique(drawn)) == 100
        # From all over the line, and in random order: not as they stand in the file.
        counts = np.histogram(drawn, bins=4)[0]
        assert counts.min() > 10 and np.abs(np.corrcoef(drawn, np.arange(100))[0, 1]) < 0.4


BAD = {
    "empty.off": "OFF\n0 0 0\n",
    "same.txt": "1 2 3\n" * 20,
    "one.ply": "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    "property float z\nend_header\n1 2 3\n",
    "flat.off": "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n",
    "nan.off": "OFF\n3 1 0\n0 0 0\n1 nan 0\n0 1 0\n3 0 1 2\n",
    "prose.off": "What a fine chair this is.\n",
    "prose.obj": "What a fine chair this is.\n",
    "prose.ply": "What a fine chair this is.\n",
    "prose.stl": "What a fine chair this is.\n",
    "short.off": "OFF\n4 4 0\n0 0 0\n",
    "two.xyz": "1 2\n3 4\n",
    "none.txt": "",
    "words.csv": "a,b,c\n",
    "nan.csv": "1,2,nan\n",
    "prose.npy": "What a fine chair this is.\n",
    "chair.blend": "v 0 0 0\n",
}


def test_bad_files_are_named(tmp_path):
    pytest.importorskip("trimesh")
    for name, content in BAD.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError) as caught:
            clouds.read_cloud(tmp_path / name, 10)
        assert name in str(caught.value) and len(str(caught.value)) > len(str(tmp_path / name)) + 9
    with pytest.raises(DataError, match=r"neither a mesh \(.off, .obj, .ply, .stl\) nor a file of"):
        clouds.read_cloud(tmp_path / "chair.blend", 10)
    with pytest.raises(DataError, match=r"nothing\.off"):
        clouds.read_cloud(tmp_path / "nothing.off", 10)
    (tmp_path / "folder.off").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        clouds.read_cloud(tmp_path / "folder.off", 10)


CLASSIFY = ("--task=classify", "--checkpoint=x", "--output=json")


def test_classify_a_folder(classifier, things):
    result = predict(*CLASSIFY, "--top_k=2", "--batch_size=3", things, model=classifier)
    assert result.code == 1, result.err
    (error,) = (line for line in result.err.splitlines() if line.startswith("error: "))
    assert error.endswith("h.xyz: it has 4 points, too few to show a shape: 16 are needed.")
    assert result.err.splitlines()[-1] == "8 done, 1 failed"
    said = "skipped 2 files that are no meshes or files of points (README.txt, notes.md)"
    assert said in result.err
    records = result.records()
    files = ["a.off", "b.obj", "c.PLY", "e.npy", "f.csv", "g.txt", "i.ply", "more/d.stl"]
    assert [each["input"] for each in records] == [str(things / name) for name in files]
    read = [clouds.read_cloud(things / name, _POINTS) for name in files]
    assert [len(cloud) for cloud in read] == [9] * 8
    expected = classify.classify(classifier, read, top_k=2, batch_size=3)
    for record, (best, second) in zip(records, expected, strict=True):
        found = [(each["name"], each["index"]) for each in record["predictions"]]
        assert found == [(best.name, best.index), (second.name, second.index)]
        assert record["predictions"][0]["probability"] == pytest.approx(best.probability, abs=1e-5)
    # Text, with other names, other points, and a number of points of one's own.
    names = things / "names"
    names.write_text("v\nw\nx\ny\nz")
    flags = (f"--class_names={names}", "--num_points=40", "--seed=3")
    result = predict(*CLASSIFY[:2], *flags, things / "a.off", model=classifier)
    ((best, *_),) = classify.classify(classifier, [clouds.read_cloud(things / "a.off", 40, 3)])
    assert "done" not in result.err and " points of the " not in result.err
    first, line, *others = result.out.splitlines()
    assert first.endswith("a.off") and len(others) == 4
    assert line == f"{best.probability:8.2%}  {'vwxyz'[best.index]} ({best.index})"


def test_a_cloud_of_fewer_points_is_noted(classifier, things):
    result = predict(*CLASSIFY, "--num_points=40", things / "e.npy", model=classifier)
    assert result.code == 0 and len(result.records()) == 1
    said = f"{things / 'e.npy'}: it has 20 points of the 40 that --num_points asks for."
    assert said in result.err.splitlines()


def test_vertices_alone_are_points(things):
    """Also where they lie so far away that float32 would round them."""
    trimesh = pytest.importorskip("trimesh")
    cloud = np.load(things / "e.npy")[:, :3]
    expected = clouds.read_cloud(things / "e.npy", 20)
    np.testing.assert_allclose(clouds.read_cloud(things / "i.ply", 20), expected, atol=1e-6)
    text = "ply\nformat ascii 1.0\nelement vertex 20\n"
    text += "".join(f"property double {axis}\n" for axis in "xyz") + "end_header\n"
    text += "".join("{:.6f} {:.6f} {:.6f}\n".format(*row) for row in cloud + [5e8, 0, 0])
    (things / "far.ply").write_text(text)
    np.testing.assert_allclose(clouds.read_cloud(things / "far.ply", 20), expected, atol=1e-6)
    assert trimesh.load(things / "i.ply").vertices.shape == (20, 3)  # It is what it seems to be.


def test_a_bad_file_does_not_stop_the_others(classifier, things):
    for name, content in BAD.items():
        (things / name).write_text(content)
    bad = [things / name for name in BAD]
    good = [things / name for name in ("a.off", "f.csv", "g.txt")]
    missing = things / "nothing.off"
    result = predict(*CLASSIFY, good[0], *bad, *good[1:], missing, model=classifier)
    assert result.code == 1 and "Traceback" not in result.err
    assert [each["input"] for each in result.records()] == list(map(str, good))
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    # Missing ones are found out first.
    for line, name in zip(lines, ("nothing.off", *BAD), strict=True):
        assert name in line
    for alone in ("empty.off", "chair.blend"):
        result = predict(*CLASSIFY, things / alone, model=classifier)
        assert result.code == 2 and not result.out


def test_flags_that_do_not_fit(classifier, things):
    for task in ("classify", "attention"):
        arguments = (f"--task={task}", "--checkpoint=x", f"--out_dir={things}", things / "a.off")
        refused = predict(*arguments, "--image_size=9", "--normalize=unit", model=classifier)
        assert refused.code == 2 and not refused.out
        assert "--image_size and --normalize are about images, and this model reads clouds" in (
            refused.err
        )
    images = loaded(tiny_models.classifier())
    refused = predict(*CLASSIFY, "--num_points=9", things / "a.png", model=images)
    assert refused.code == 2
    assert "--num_points is about clouds of points, and this model reads images" in refused.err


def test_baselines_read_one_number_of_points(things):
    position = zoo.FourierConfig(2, max_resolution=(4, 4, 4))
    config = ConvNetConfig((3, 4), 5, 3, position, of_points=True, widths=(3,), hidden=7)
    model = loaded(config, NAMES)
    assert clouds.natural_number(config) == 12 and not clouds.takes_any_number(config)
    result = predict(*CLASSIFY, things / "a.off", things / "f.csv", model=model)
    assert result.code == 1
    assert "f.csv: it has 9 points, and this model reads exactly 12" in result.err
    ((best, *_),) = classify.classify(model, [clouds.read_cloud(things / "a.off", 12)])
    assert result.records()[0]["predictions"][0]["index"] == best.index
    refused = predict(*CLASSIFY, "--num_points=9", things / "a.off", model=model)
    assert refused.code == 2 and "reads exactly 12 of them; got --num_points=9" in refused.err
    refused = predict("--task=attention", "--checkpoint=x", "--out_dir=x", "a.off", model=model)
    assert refused.code == 2 and "cannot do --task=attention" in refused.err
    with pytest.raises(ModelError, match="reads no clouds"):
        clouds.natural_number(tiny_models.classifier())


def test_attention_to_points(classifier, things, tmp_path):
    out = tmp_path / "maps"
    arguments = ("--task=attention", "--checkpoint=x", "--output=json", f"--out_dir={out}")
    given = (things / "a.off", things / "chair.blend", things / "more")
    result = predict(*arguments, "--save_maps", "--latents=0,2", *given, model=classifier)
    assert result.code == 1 and "chair.blend" in result.err
    mesh, other = result.records()
    assert mesh["grid"] == other["grid"] == [9] and mesh["shown_latents"] == [0, 2]
    assert Path(other["input"]).name == "d.stl"
    cloud = np.load(mesh["points"])
    np.testing.assert_array_equal(cloud, clouds.read_cloud(things / "a.off", _POINTS))
    found = attention_maps.cross_attends(classifier, cloud[None])
    np.testing.assert_allclose(np.load(mesh["maps"]), found.weights, atol=1e-6)
    (best,) = classify.top(found.outputs, NAMES, 1)
    assert mesh["predicted"] == best.name
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{stem}.{kind}" for stem in "ad" for kind in
        ("attention.png", "attention.npy", "points.npy")
    )  # fmt: skip
    with Image.open(mesh["picture"]) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    # The cloud and its colours are there: what was read most of, what least, and what is behind.
    colours = {tuple(map(int, each)) for each in np.unique(pixels, axis=0)}
    assert views.BACKGROUND in colours and (252, 253, 191) in colours
