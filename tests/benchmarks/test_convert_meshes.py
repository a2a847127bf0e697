"""The archive that the conversion is measured on: ModelNet40's names, and no two equal meshes."""

from collections import Counter

import numpy as np

from benchmarks import convert_meshes
from perceiver_jax.data.points.layouts import find_layout
from perceiver_jax.data.points.meshes import Mesh, read_mesh

MESH = Mesh(
    "a",
    np.array([[0, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 2]], float),
    np.array([[0, 1, 2], [0, 1, 3]]),
)


def test_the_names_are_those_of_modelnet40():
    names = convert_meshes.names(12_311)
    assert len(set(names)) == 12_311
    assert Counter(name.split("/")[2] for name in names) == {"train": 9843, "test": 2468}
    assert names[625:627] == [
        "ModelNet40/airplane/train/airplane_0626.off",
        "ModelNet40/airplane/test/airplane_0627.off",
    ]
    few = convert_meshes.names(100)
    assert len({name.split("/")[1] for name in few}) > 30


def test_copies_have_another_size_and_both_headers():
    found = dict(convert_meshes.copies(MESH, [3, 8]))
    assert found[3].startswith(b"OFF4 2 0\n") and found[8].startswith(b"OFF\n4 2 0\n")
    for number, extent in ((3, 10.03), (8, 10.08)):
        mesh = read_mesh(found[number], "copy.off")
        np.testing.assert_array_equal(mesh.triangles, MESH.triangles)
        np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [extent, extent, extent / 2])


def test_the_archive_is_a_set(tmp_path):
    (tmp_path / "own").mkdir()
    for number, data in convert_meshes.copies(MESH, range(3)):
        (tmp_path / "own" / f"{number}.off").write_bytes(data)
    convert_meshes.make_archive(tmp_path, tmp_path / "all.zip", 80)
    layout = find_layout(str(tmp_path / "all.zip"))
    assert len(layout.entries) == 80
    read = {layout.read(entry).vertices.tobytes() for entry in layout.entries}
    assert len(read) == 80
