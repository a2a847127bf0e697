"""Tiny sets of meshes and clouds in the layouts that people have."""

import dataclasses
import json
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from perceiver_jax.errors import DataError

TETRAHEDRON = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))


def off(vertices, faces, head="OFF\n") -> bytes:
    """An OFF file; faces may be polygons."""
    lines = [f"{head}{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(repr, map(float, vertex))) for vertex in vertices]
    lines += [" ".join(map(str, (len(face), *face))) for face in faces]
    return ("\n".join(lines) + "\n").encode()


def tetrahedron(number: int, head: str = "OFF\n") -> bytes:
    """A mesh of four triangles, another one for each number."""
    rng = np.random.default_rng(number)
    vertices = np.eye(4)[:, :3] * 10 + rng.uniform(-1, 1, (4, 3)).round(3)
    return off(vertices, TETRAHEDRON, head)


def mesh_files(train: int = 7, test: int = 3, classes=("bed", "night_stand")) -> dict[str, bytes]:
    """The files of a set of meshes by name, every other one with the header of the real archive."""
    files = {}
    for label, folder in enumerate(classes):
        for index in range(train + test):
            split = "train" if index < train else "test"
            head = "OFF" if index % 2 else "OFF\n"
            name = f"{folder}/{split}/{folder}_{index + 1:04}.off"
            files[name] = tetrahedron(100 * label + index, head)
    return files


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def clouds(files: dict[str, bytes], num_points: int = 20) -> dict[str, np.ndarray]:
    """A stored cloud [num_points, 3] for each mesh, by the mesh's name."""
    return {
        name: np.random.default_rng(index).normal(size=(num_points, 3)).astype(np.float32)
        for index, name in enumerate(files)
    }


def text_files(stored: dict[str, np.ndarray], name: str = "modelnet40") -> dict[str, bytes]:
    """The resampled set of some clouds: x,y,z and a normal, and the lists."""
    files, lists = {}, {"train": "", "test": ""}
    classes = dict.fromkeys(path.split("/")[0] for path in stored)
    for path, points in stored.items():
        folder, split, stem = path.removesuffix(".off").split("/")
        rows = (",".join(f"{value:.9g}" for value in point) + ",0,0,1\n" for point in points)
        files[f"{folder}/{stem}.txt"] = "".join(rows).encode()
        lists[split] += f"{stem}\n"
    for split, text in lists.items():
        files[f"{name}_{split}.txt"] = text.encode()
    files[f"{name}_shape_names.txt"] = "\n".join(classes).encode() + b"\n"
    return files


def write_hdf5(root: Path, stored: dict[str, np.ndarray], split_at: int = 4) -> Path:
    """The HDF5 set of some clouds: two files to train on, and the names of the meshes of one."""
    import h5py

    root.mkdir(parents=True)
    classes = [*dict.fromkeys(path.split("/")[0] for path in stored)]
    (root / "shape_names.txt").write_text("\n".join(classes) + "\n")
    train = [path for path in stored if "/train/" in path]
    parts = {"train0": train[:split_at], "train1": train[split_at:]}
    parts["test0"] = [path for path in stored if "/test/" in path]
    for part, paths in parts.items():
        with h5py.File(root / f"ply_data_{part}.h5", "w") as file:
            file["data"] = np.stack([stored[path] for path in paths])
            file["label"] = np.uint8([[classes.index(path.split("/")[0])] for path in paths])
    originals = [path.replace(".off", ".ply") for path in parts["train0"]]
    (root / "ply_data_train_0_id2file.json").write_text(json.dumps(originals))
    return root


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Work of 3 parts of 4 items; a process that comes to item 6 meets what `kind` says."""

    kind: str

    def items(self, part: int) -> range:
        return range(4 * part, 4 * part + 4)

    def describe(self, item: int) -> str:
        return f"mesh {item}"

    def do(self, part: int, done: Callable[[int], None]) -> None:
        for item in self.items(part):
            if item == 6:
                if self.kind == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.kind == "bug":
                    raise ZeroDivisionError("by zero")
                if self.kind == "mistake":
                    raise DataError("the disk is full")
                os._exit(3)
            done(item)
