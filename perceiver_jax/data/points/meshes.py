"""Files of meshes, and points drawn at random on their surface.

Points lie where the surface is, as many on each part as it has area. A mesh's vertices do not: they
crowd where a modeller drew detail, and a flat wall has four. Models trained on vertices learn that.
"""

import dataclasses
import io
import itertools
import re
import struct
from pathlib import Path

import numpy as np

from perceiver_jax.data.source import CorruptExample, decoding
from perceiver_jax.errors import DataError, require

MESH_SUFFIXES = (".off", ".obj", ".ply", ".stl")

_LARGEST = 1e30  # Coordinates beyond this leave no room for arithmetic in float32.
_FAR = 1e4  # So many times its extent from the origin, float32 rounds a mesh's shape visibly.
_FLAT = 1e-12  # A triangle of less area, its longest side being 1, is a line with rounding errors.
_UNREADABLE = (  # What parsers raise at text that makes no sense.
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
    struct.error,
)
# The word, which may stand right before the counts (`OFF490 518 0`), after blanks and comments.
_OFF_WORD = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:\s*#[^\r\n]*)*\s*(\w*?OFF)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, eq=False)  # Arrays have no one answer to ==.
class Mesh:
    """A surface made of triangles, in the file's own units and axes."""

    name: str  # For messages: the file that it came from.
    vertices: np.ndarray  # [vertices, 3], float64.
    triangles: np.ndarray  # [triangles, 3], int64: each has the numbers of three vertices.


def read_mesh(file: str | Path | bytes, name: str = "") -> Mesh:
    """Reads an .off, .obj, .ply or .stl file; polygons become triangles.

    Args:
      file: its path, or what is in it.
      name: the file's name, for its suffix and for messages; needed where `file` is bytes.

    Raises:
      CorruptExample: the file makes no sense, is cut short, has coordinates that are no numbers,
        no triangles, or no area; the message begins with the name.
      DataError: there is no such file, or its name says that it is no mesh.
      UserError: trimesh is not installed.
    """
    if not isinstance(file, bytes):
        name = name or str(file)
        try:
            file = Path(file).read_bytes()
        except OSError as error:
            raise DataError(f"the mesh {name} cannot be read: {error.strerror}.") from error
    mesh = _read(file, name)
    _check_vertices(mesh)
    _check_surface(mesh)
    return mesh


def read_ply(path: str | Path) -> Mesh | np.ndarray:
    """Reads a .ply file: a mesh, or, where it has vertices only, points [points, 3], float32.

    Points are moved to the middle of their box: scanners give them in metres from far away.

    Raises:
      CorruptExample, DataError, UserError: see `read_mesh`.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"the file {path} cannot be read: {error.strerror}.") from error
    mesh = _read(data, str(path))
    _check_vertices(mesh)
    if not len(mesh.triangles):
        low, high = _box(mesh.vertices)
        return (mesh.vertices - (low + high) / 2).astype(np.float32)
    _check_surface(mesh)
    return mesh


def sample(mesh: Mesh, num_points: int, seed: int) -> np.ndarray:  # [num_points, 3], float32
    """Draws points on the surface: uniform by area, independent of each other.

    They come in random order, so the first n of them are a smaller sample, and the same one that
    `num_points=n` gives. A mesh that lies so far from the origin that float32 would round its shape
    is moved there; all others keep their coordinates.

    Args:
      mesh: a mesh whose triangles have area, such as `read_mesh` returns.
      num_points: how many.
      seed: 0 or more. The points are a function of the arguments alone.

    Raises:
      CorruptExample: no triangle has area.
    """
    corners = mesh.vertices[mesh.triangles]  # [triangles, corners, 3]
    areas = _areas(corners)
    hittable = np.flatnonzero(areas)
    if not hittable.size:
        raise CorruptExample(f"{mesh.name}: its triangles have no area.")
    low, high = _box(corners)
    if np.abs([low, high]).max() > _FAR * (high - low).max():
        corners = corners - (low + high) / 2
    # Not NumPy's choice(): what it draws may change with NumPy; the stream of random() does not.
    draws = np.random.Generator(np.random.PCG64(seed)).random((num_points, 3))
    ends = np.cumsum(areas)
    # side="right" never hits a triangle without area; the product may round up to the very end.
    hit = np.searchsorted(ends, draws[:, 0] * ends[-1], side="right")
    hit = np.minimum(hit, hittable[-1])
    # The root makes them uniform in the triangle: a strip at distance r of a corner is r long.
    root = np.sqrt(draws[:, 1])
    weights = np.stack([1 - root, root * (1 - draws[:, 2]), root * draws[:, 2]], axis=1)
    return np.einsum("pc,pcd->pd", weights, corners[hit]).astype(np.float32)


def draw(points: np.ndarray, num_points: int, seed: int) -> np.ndarray:  # [num_points, ...]
    """Draws some of the points of a cloud [n, ...], all different, in random order.

    The first n of them are what `num_points=n` draws.

    Args:
      points: at least `num_points` of them.
      num_points: how many.
      seed: 0 or more.
    """
    # Not NumPy's shuffle(): what it gives may change with NumPy; the stream of random() does not.
    order = np.random.Generator(np.random.PCG64(seed)).random(len(points)).argsort(kind="stable")
    return points[order[:num_points]]


def _read(file: bytes, name: str) -> Mesh:
    suffix = Path(name).suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise DataError(f"{name} is no mesh by its name: {', '.join(MESH_SUFFIXES)} are read.")
    if not file.strip():
        raise CorruptExample(f"{name}: it is empty.")
    with decoding(name, *_UNREADABLE):
        vertices, triangles = _parse_off(file) if suffix == ".off" else _parse(file, suffix)
    return Mesh(name, vertices, triangles)


def _parse_off(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Parses an OFF file: at once if all faces are triangles, else line by line.

    Not by trimesh (5.2.0), which takes ten times as long, fails at files that have polygons of
    several sizes, and takes a file that was cut short for a whole one.
    """
    word = _OFF_WORD.match(data)
    if word is None:
        raise ValueError("it does not begin with OFF")
    lines = data[word.end() :].splitlines()
    if b"#" in data:
        lines = [line.split(b"#")[0] for line in lines]
    lines = [line for line in lines if line and not line.isspace()]
    if not lines:
        raise ValueError("it has nothing after OFF")
    num_vertices, num_faces = (int(count) for count in lines[0].split()[:2])
    if min(num_vertices, num_faces) < 0 or len(lines) <= num_vertices + num_faces:
        raise ValueError(
            f"it is cut short: {num_vertices} vertices and {num_faces} faces are announced, and "
            f"{len(lines) - 1} lines follow"
        )
    lines = lines[1 : 1 + num_vertices + num_faces]
    if word.group(1).upper() == b"OFF":
        numbers = np.fromstring(b" ".join(lines), sep=" ")
        if numbers.size == 3 * num_vertices + 4 * num_faces:
            faces = numbers[3 * num_vertices :].reshape(num_faces, 4)
            if (faces[:, 0] == 3).all():
                return numbers[: 3 * num_vertices].reshape(-1, 3), faces[:, 1:].astype(np.int64)
    vertices = np.array([line.split()[:3] for line in lines[:num_vertices]], np.float64)
    fans = [_fan([int(word) for word in _corners(line)]) for line in lines[num_vertices:]]
    triangles = np.array([triangle for fan in fans for triangle in fan], np.int64)
    return vertices.reshape(num_vertices, 3), triangles.reshape(-1, 3)


def _corners(face: bytes) -> list[bytes]:
    """Returns the corners in the line of a face: their number, the corners, perhaps a colour."""
    words = face.split()
    count = int(words[0])
    if not 0 <= count < len(words):
        raise ValueError(f"a face is {face.decode(errors='replace')!r}: it has fewer corners")
    return words[1 : 1 + count]


def _fan(corners: list[int]) -> list[tuple[int, int, int]]:
    """Returns the triangles between the first corner of a polygon and each side."""
    return [(corners[0], *pair) for pair in itertools.pairwise(corners[1:])]


def _parse(data: bytes, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """Parses a file by trimesh: all its parts as one mesh, without materials."""
    require("trimesh", purpose="Reading meshes")
    import trimesh

    scene = trimesh.load_scene(
        io.BytesIO(data), file_type=suffix[1:], process=False, skip_materials=True
    )
    mesh = scene.to_mesh()
    triangles = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    if not len(triangles):  # Then it has no vertices either, but the file may.
        vertices = [each.vertices for each in scene.geometry.values()]
        return np.concatenate([np.empty((0, 3)), *vertices]), triangles
    return np.asarray(mesh.vertices, np.float64), triangles


def _check_vertices(mesh: Mesh) -> None:
    """Refuses coordinates that cannot be computed with."""
    vertices = mesh.vertices
    if not len(vertices):
        raise _no_surface(mesh)
    if not np.isfinite(vertices).all():
        bad = int(np.flatnonzero(~np.isfinite(vertices).all(axis=1))[0])
        raise CorruptExample(
            f"{mesh.name}: vertex {bad} is {vertices[bad].tolist()}, which is no place."
        )
    if np.abs(vertices).max() > _LARGEST:
        raise CorruptExample(
            f"{mesh.name}: it has coordinates of up to {np.abs(vertices).max():.3g}, which no "
            f"arithmetic in float32 stands; they must stay below {_LARGEST:g}."
        )


def _check_surface(mesh: Mesh) -> None:
    """Refuses triangles that cannot be sampled."""
    vertices, triangles = mesh.vertices, mesh.triangles
    if not len(triangles):
        raise _no_surface(mesh)
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise CorruptExample(
            f"{mesh.name}: a triangle has vertex "
            f"{int(triangles.min() if triangles.min() < 0 else triangles.max())}; there are "
            f"{len(vertices)}, counted from 0."
        )
    if not _areas(vertices[triangles]).any():
        raise CorruptExample(
            f"{mesh.name}: its triangles have no area: all corners of each lie on a line."
        )


def _no_surface(mesh: Mesh) -> CorruptExample:
    return CorruptExample(
        f"{mesh.name}: it has no surface: {len(mesh.vertices)} vertices and "
        f"{len(mesh.triangles)} triangles."
    )


def _areas(corners: np.ndarray) -> np.ndarray:  # [triangles, 3, 3] -> [triangles]
    """Returns the triangles' areas, in units of the largest extent squared; lines have 0."""
    low, high = _box(corners)
    extent = (high - low).max()
    if extent == 0:
        return np.zeros(len(corners))
    first, second, third = ((corners[:, i - 2] - corners[:, i]) / extent for i in range(3))
    normals = np.cross(first, second)
    areas = np.sqrt(_squares(normals)) / 2
    longest = np.maximum(np.maximum(_squares(first), _squares(second)), _squares(third))
    return np.where(areas > _FLAT * longest, areas, 0)


def _squares(vectors: np.ndarray) -> np.ndarray:  # [n, 3] -> [n]
    """Returns the squares of the lengths of vectors."""
    return np.einsum("nd,nd->n", vectors, vectors)


def _box(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # [triangles, 3, 3] -> [3], [3]
    """Returns the lowest and the highest coordinates of corners."""
    places = corners.reshape(-1, 3).T.copy()  # NumPy is ten times as fast along long rows.
    return places.min(axis=1), places.max(axis=1)
