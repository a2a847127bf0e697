"""How fast meshes become clouds: an archive as large as ModelNet40, made of real meshes.

    python -m benchmarks.convert_meshes --meshes=FOLDER [--workdir=DIR] [--count=12311]

makes DIR/ModelNet40.zip of the meshes (.off, .obj, .ply, .stl) that are anywhere in FOLDER: 12,311
OFF files in 40 classes, 9,843 to train and 2,468 to test on, copies under other names, each scaled
differently, so that no two are equal; every other one has a header like the archive's `OFF490 518
0`. Then converts it with perceiver_jax.data.points.prepare, checks the counts, and prints the rate.
Stopped and started again, it goes on: the archive is made once, whole or not at all.
"""

import itertools
import os
import pathlib
import time
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from perceiver_jax.atomic import replacing
from perceiver_jax.data.points.convert import available_cores
from perceiver_jax.data.points.known import MODELNET40
from perceiver_jax.data.points.layouts import SPLITS
from perceiver_jax.data.points.meshes import MESH_SUFFIXES, Mesh, read_mesh
from perceiver_jax.data.points.modelnet import ModelNetConfig
from perceiver_jax.data.points.prepare import prepare
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, UserError, run_main

WHOLE = sum(map(sum, MODELNET40.values()))


def names(count: int) -> list[str]:
    """Returns the names of `count` files of ModelNet40; of fewer than all, spread over all."""
    found = [
        f"ModelNet40/{folder}/{split}/{folder}_{number + 1:04d}.off"
        for folder, counts in MODELNET40.items()
        for split, number in zip(
            itertools.chain.from_iterable(
                itertools.repeat(split, size) for split, size in zip(SPLITS, counts, strict=True)
            ),
            range(sum(counts)),
            strict=True,
        )
    ]
    return [found[index * WHOLE // count] for index in range(count)]


def copies(mesh: Mesh, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Gives a mesh as OFF files, each of another size: (number, what is in the file)."""
    faces = "\n".join(map("3 %d %d %d".__mod__, map(tuple, mesh.triangles.tolist())))
    centre = mesh.vertices.mean(axis=0)
    vertices = (mesh.vertices - centre) / np.ptp(mesh.vertices, axis=0).max()
    for number in numbers:
        scaled = (vertices * (10 + 0.01 * number)).tolist()
        places = "\n".join(map("%.6f %.6f %.6f".__mod__, map(tuple, scaled)))
        between = "" if number % 2 else "\n"
        head = f"OFF{between}{len(vertices)} {len(mesh.triangles)} 0"
        yield number, f"{head}\n{places}\n{faces}\n".encode()


def make_archive(folder: pathlib.Path, out: pathlib.Path, count: int) -> None:
    """Writes the archive.

    Raises:
      DataError: there are no meshes in the folder.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MESH_SUFFIXES)
    if not paths:
        raise DataError(f"{folder} has no meshes ({', '.join(MESH_SUFFIXES)}).")
    print(f"{len(paths):,} meshes; making {out} of them, with {count:,} files.", flush=True)
    meshes = []
    for path in paths[:count]:
        try:
            meshes.append(read_mesh(path))
        except CorruptExample as error:
            print(f"left out    {error}")
    files = names(count)
    size = 0
    with (
        replacing(out) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for index, mesh in enumerate(meshes):
            for number, data in copies(mesh, range(index, count, len(meshes))):
                archive.writestr(files[number], data)
                size += len(data)
    triangles = [len(mesh.triangles) for mesh in meshes]
    print(
        f"{size / 1e9:.2f} GB of OFF files, {out.stat().st_size / 1e9:.2f} GB as a zip file; "
        f"triangles a mesh: {np.median(triangles):,.0f} (median), {np.mean(triangles):,.0f} "
        f"(mean), {max(triangles):,} (most).",
        flush=True,
    )


def define_flags() -> None:
    """Defines the flags; here and not on import, so that tests may import this file."""
    flags.DEFINE_string("meshes", None, "A folder of real meshes.", required=True)
    flags.DEFINE_string("workdir", "runs/convert_meshes", "Where archive and set go.")
    flags.DEFINE_integer("count", WHOLE, "Meshes to convert.", lower_bound=80, upper_bound=WHOLE)
    flags.DEFINE_integer("num_points", 2048, "Points of each cloud.", lower_bound=1)
    flags.DEFINE_integer("workers", None, "Processes; one a core if not given.")


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    given = flags.FLAGS
    if len(argv) > 1:
        raise UserError(f"unexpected arguments: {' '.join(argv[1:])}")
    whole = given.count == WHOLE
    workdir = pathlib.Path(given.workdir).expanduser()
    archive = workdir / ("ModelNet40.zip" if whole else f"ModelNet40_{given.count}.zip")
    if not archive.exists():
        start = time.monotonic()
        make_archive(pathlib.Path(given.meshes).expanduser(), archive, given.count)
        print(f"Made in {time.monotonic() - start:,.0f} s.", flush=True)
    workers = given.workers or available_cores()
    done = prepare(
        os.fspath(archive),
        os.fspath(workdir),
        name="modelnet40" if whole else f"meshes_{given.count}",
        num_points=given.num_points,
        workers=workers,
        report=lambda line: print(line, flush=True),
    )
    config = ModelNetConfig(name=done.name, data_dir=os.fspath(workdir))
    found = {split: len(config.open(split)) for split in SPLITS}
    print(
        f"{found['train']:,} to train and {found['test']:,} to test on, {len(done.left_out):,} "
        f"left out, {given.num_points:,} points each."
    )
    if done.seconds:
        print(
            f"{done.converted:,} meshes in {done.seconds:,.1f} s on {workers} cores: "
            f"{done.converted / done.seconds:,.1f} meshes/s."
        )


if __name__ == "__main__":
    define_flags()
    run_main(main)
