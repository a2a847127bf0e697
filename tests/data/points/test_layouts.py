"""Sets are told apart by looking, and give the same entries from a folder and from a zip file."""

import pickle
from collections import Counter

import numpy as np
import pytest

from perceiver_jax.data.conversion.parts import LeftOut
from perceiver_jax.data.points.archive import Archive
from perceiver_jax.data.points.layouts import Entry, find_layout
from perceiver_jax.data.points.meshes import Mesh
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError
from tests.data.points.archives import (
    clouds,
    mesh_files,
    tetrahedron,
    text_files,
    write_folder,
    write_hdf5,
    write_zip,
)

NOISE = {
    "__MACOSX/ModelNet2/bed/train/._bed_0001.off": b"\0\5\x16\7",
    "ModelNet2/bed/.DS_Store": b"\0\0\0\1Bud1",
    "ModelNet2/bed/train/.bed_0001.off.swp": b"b0VIM",
    "ModelNet2/bed/test/Thumbs.db": b"\xd0\xcf",
    "ModelNet2/README.txt": b"Princeton ModelNet",
}


def _inside(folder, files):
    return {f"{folder}/{name}": data for name, data in files.items()}


def _points(layout):
    """Everything that is read, by name."""
    read = {entry.name: layout.read(entry) for entry in layout.entries}
    return {
        name: (each.vertices if isinstance(each, Mesh) else each) for name, each in read.items()
    }


def test_a_zip_file_and_its_folder_hold_the_same_meshes(tmp_path):
    files = mesh_files()
    packed = find_layout(
        str(write_zip(tmp_path / "a.zip", {**NOISE, **_inside("ModelNet2", files)}))
    )
    unpacked = find_layout(str(write_folder(tmp_path / "a", {**NOISE, **_inside("M", files)})))
    bare = find_layout(str(write_folder(tmp_path / "b", files)))
    for layout in (packed, unpacked, bare):
        assert layout.kind == "meshes" and layout.class_names == ("bed", "night_stand")
        assert layout.entries == packed.entries and layout.missing == ()
        assert Counter((e.label, e.split) for e in layout.entries) == {
            (0, "train"): 7,
            (1, "train"): 7,
            (0, "test"): 3,
            (1, "test"): 3,
        }
        assert Entry("night_stand/test/night_stand_0009.off", 1, "test") in layout.entries
    expected = _points(bare)
    assert expected.keys() == files.keys()
    for layout in (packed, pickle.loads(pickle.dumps(packed)), unpacked):
        for name, vertices in _points(layout).items():
            np.testing.assert_array_equal(vertices, expected[name])
    assert len({layout.archive.fingerprint() for layout in (packed, unpacked, bare)}) == 3


def test_the_fingerprint_tells_other_files(tmp_path):
    files = mesh_files()
    first = find_layout(str(write_folder(tmp_path / "a", files))).archive.fingerprint()
    assert find_layout(str(write_folder(tmp_path / "b", files))).archive.fingerprint() == first
    assert find_layout(str(write_zip(tmp_path / "a.zip", files))).archive.fingerprint() == first
    (tmp_path / "b" / "bed/train/bed_0001.off").write_bytes(tetrahedron(1) + b"#\n")
    assert find_layout(str(tmp_path / "b")).archive.fingerprint() != first


def test_links_and_other_formats_are_meshes_too_and_other_files_are_listed(tmp_path):
    root = write_folder(tmp_path / "real", mesh_files())
    (tmp_path / "links").mkdir()
    for folder in ("bed", "night_stand"):
        (tmp_path / "links" / folder).symlink_to(root / folder)
    (root / "bed/train/notes.doc").write_bytes(b"see bed_0003")
    (root / "bed/train/BED.OBJ").write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (root / "bed/Test").mkdir()
    (root / "bed/test/bed_0009.off").rename(root / "bed/Test/bed_0009.off")
    (root / "bed/val").mkdir()
    (root / "bed/val/bed_0200.off").write_bytes(b"OFF")
    layout = find_layout(str(tmp_path / "links"))
    assert len(layout.entries) == 21
    assert Entry("bed/Test/bed_0009.off", 0, "test") in layout.entries
    entry = next(entry for entry in layout.entries if entry.name == "bed/train/BED.OBJ")
    read = layout.read(entry)
    assert isinstance(read, Mesh) and read.name == entry.name and len(read.triangles) == 1
    reason = "it is no mesh by its name (.off, .obj, .ply, .stl)"
    assert layout.missing == (
        LeftOut("bed/train/notes.doc", "train", reason),
        LeftOut("bed/val/bed_0200.off", "bed/val", "it is in no folder CLASS/train or CLASS/test"),
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_resampled_set(tmp_path, packed):
    stored = clouds(mesh_files())
    files = text_files(stored)
    files["modelnet40_train.txt"] += b"bed_0099\r\nsofa_0001\r\n\r\nbed_0001\n"
    del files["bed/bed_0003.txt"]
    files |= {f"modelnet10_{name}.txt": b"bed_0001\n" for name in ("train", "test")}
    files["modelnet10_shape_names.txt"] = b"bed\n"
    files = _inside("modelnet40_normal_resampled", files)
    write = write_zip if packed else write_folder
    path = str(write(tmp_path / "set", files))
    layout = find_layout(path)
    assert layout.kind == "text files of points"
    assert layout.class_names == ("bed", "night_stand")
    assert [(each.name, each.split) for each in layout.missing] == [
        ("bed/bed_0003.txt", "train"),
        ("bed/bed_0099.txt", "train"),
        ("sofa_0001", "train"),
    ]
    assert "there is no such file" in layout.missing[0].reason
    assert "class 'sofa' is not in" in layout.missing[2].reason
    assert Counter(entry.split for entry in layout.entries) == {"train": 13, "test": 6}
    assert Entry("night_stand/night_stand_0009.txt", 1, "test") in layout.entries
    read = _points(layout)
    for name, points in stored.items():
        folder, _, stem = name.removesuffix(".off").split("/")
        if stem != "bed_0003":
            np.testing.assert_array_equal(read[f"{folder}/{stem}.txt"], points)
    # The other list of the same folder, by its name.
    assert find_layout(path, "modelnet10").class_names == ("bed",)
    assert len(find_layout(path, "modelnet10").entries) == 2


def test_the_hdf5_set(tmp_path):
    stored = clouds(mesh_files())
    root = write_hdf5(tmp_path / "modelnet40_ply_hdf5_2048", stored)
    files = {f"set/{path.name}": path.read_bytes() for path in root.iterdir()}
    for layout in (
        find_layout(str(root)),
        find_layout(str(write_zip(tmp_path / "set.zip", files))),
        pickle.loads(pickle.dumps(find_layout(str(root)))),
    ):
        assert layout.kind == "HDF5 files of points"
        assert layout.class_names == ("bed", "night_stand")
        names = [entry.name for entry in layout.entries]
        assert names[0] == "ply_data_train0.h5/0 (bed/train/bed_0001.ply)"
        assert names[4] == "ply_data_train1.h5/0" and names[-1] == "ply_data_test0.h5/5"
        in_order = [name for split in ("/train/", "/test/") for name in stored if split in name]
        for entry, name, points in zip(
            layout.entries, in_order, _points(layout).values(), strict=True
        ):
            np.testing.assert_array_equal(points, stored[name])
            assert (layout.class_names[entry.label], entry.split) == tuple(name.split("/")[:2])


def test_hdf5_files_that_do_not_fit_are_refused(tmp_path):
    import h5py

    root = write_hdf5(tmp_path / "set", clouds(mesh_files()))
    whole = (root / "ply_data_test0.h5").read_bytes()

    def refused(message):
        with pytest.raises(DataError, match=message):
            find_layout(str(root))

    (root / "ply_data_test0.h5").write_bytes(whole[: len(whole) // 2])
    refused("ply_data_test0.h5 in .* is no whole HDF5 file")
    with h5py.File(root / "ply_data_test0.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 5, 3)), [[0], [2]]
    refused("has labels from 0 to 2, but shape_names.txt has 2 classes")
    with h5py.File(root / "ply_data_test0.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 5, 3)), [[0]]
    refused(r"data must be \[clouds, points, 3\].*got shapes \[2, 5, 3\] and \[1, 1\]")
    with h5py.File(root / "ply_data_test0.h5", "w") as file:
        file["points"] = np.zeros((2, 5, 3))
    refused("has no 'data'; it has: points")
    (root / "ply_data_test0.h5").unlink()
    refused("HDF5 files of points of 2 classes, but none to test on")
    (root / "shape_names.txt").unlink()
    refused("no shape_names.txt")


def test_a_damaged_part_of_a_zip_file_is_one_corrupt_mesh(tmp_path):
    path = write_zip(tmp_path / "a.zip", mesh_files())
    data = bytearray(path.read_bytes())
    at = data.index(b"bed_0002.off") + len("bed_0002.off") + 20
    data[at : at + 10] = bytes(10)
    path.write_bytes(data)
    layout = find_layout(str(path))
    damaged = [entry for entry in layout.entries if "bed_0002" in entry.name]
    with pytest.raises(CorruptExample, match="bed_0002.off"):
        layout.read(damaged[0])
    assert sum(isinstance(layout.read(e), Mesh) for e in layout.entries if e not in damaged) == 19


def test_what_is_no_set_is_refused(tmp_path):
    def refused(path, message, name=None):
        with pytest.raises(DataError, match=message):
            find_layout(str(path), name)

    refused(tmp_path / "gone.zip", "there is no .*gone.zip; name the downloaded zip file")
    packed = write_zip(tmp_path / "a.zip", mesh_files())
    (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:-100])
    refused(tmp_path / "cut.zip", "was not downloaded to its end")
    empty = write_folder(tmp_path / "other", {"train/images/bed_0001.jpeg": b"\xff\xd8"})
    refused(empty, r"holds no set that is known here.*It has 1 file: train/images/bed_0001.jpeg")
    both = {**_inside("ModelNet10", mesh_files()), **_inside("ModelNet40", mesh_files())}
    message = "several sets of meshes, in ModelNet10/, ModelNet40/. Name the folder of one"
    refused(write_zip(tmp_path / "both.zip", both), message)
    untested = {name: data for name, data in mesh_files().items() if "/test/" not in name}
    refused(write_folder(tmp_path / "b", untested), "meshes of 2 classes, but none to test on")
    lists = {**text_files(clouds(mesh_files()), "a"), **text_files(clouds(mesh_files()), "b")}
    ambiguous = write_folder(tmp_path / "c", lists)
    refused(ambiguous, "lists of several sets, a, b: say which is meant with a --name that begins")
    assert len(find_layout(str(ambiguous), "b_seed1").entries) == 20
    write_folder(tmp_path / "c" / "meshes", mesh_files())
    refused(ambiguous, "several sets: text files of points and meshes. Name the", "b")
    (tmp_path / "b" / "bed" / "train" / "gone.off").symlink_to("nowhere")
    with pytest.raises(DataError, match="bed/train/gone.off in .*b cannot be read: No such file"):
        Archive.at(str(tmp_path / "b")).fingerprint()
