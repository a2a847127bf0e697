"""Tiny sets of meshes and clouds in the layouts that people have."""

import zipfile
from pathlib import Path

import numpy as np

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
