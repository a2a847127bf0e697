"""Meshes are read as they come, refused by name if nothing can be sampled, and sampled evenly."""

import numpy as np
import pytest
from scipy import stats

from perceiver_jax.data.points.meshes import Mesh, read_mesh, sample
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError
from tests.data.points.archives import TETRAHEDRON, off, tetrahedron

SQUARE = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))
# Three triangles in three planes, of areas 200, 2 and 0.02.
UNEQUAL = Mesh(
    "unequal",
    np.array(
        [[0, 0, 0], [20, 0, 0], [0, 20, 0], [2, 0, 5], [0, 2, 5], [0, 0, 5]]
        + [[0, 0, 7], [0.2, 0, 7], [0, 0.2, 7]],
        float,
    ),
    np.arange(9).reshape(3, 3),
)


def _areas(mesh):
    corners = mesh.vertices[mesh.triangles]
    sides = corners[:, 1:] - corners[:, :1]
    return np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1) / 2


def test_points_are_uniform_by_area():
    num_points = 200_000
    heights = sample(UNEQUAL, num_points, 3)[:, 2]
    counts = [(heights == height).sum() for height in (0, 5, 7)]
    assert sum(counts) == num_points
    expected = num_points * _areas(UNEQUAL) / _areas(UNEQUAL).sum()
    np.testing.assert_allclose(expected, [198_000.2, 1980, 19.8], rtol=1e-3)  # 200 : 2 : 0.02
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    # The test can fail: as many points for each triangle, or for each vertex, are far from it.
    assert stats.chisquare(np.full(3, num_points / 3), expected).pvalue == 0


def test_points_are_uniform_within_a_triangle():
    triangle = Mesh("one", np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0]], float), np.arange(3)[None])
    x, y, _ = sample(triangle, 50_000, 1).T
    assert ((x >= 0) & (y >= 0) & (x / 3 + y <= 1 + 1e-6)).all()
    # Cut into 8 x 8 parallelograms and, along the long side, triangles of half their area.
    column, row = np.floor(x / 3 * 8).astype(int), np.floor(y * 8).astype(int)
    cells = {(i, j): 0 for i in range(8) for j in range(8 - i)}
    for cell in zip(column.tolist(), row.tolist(), strict=True):
        cells[cell] += 1
    expected = np.array([1 / 64 if i + j == 7 else 2 / 64 for i, j in cells])
    assert stats.chisquare(list(cells.values()), expected * 50_000).pvalue > 1e-3
    np.testing.assert_allclose([x.mean(), y.mean()], [1, 1 / 3], atol=0.01)  # The centroid.


def test_the_first_points_are_a_smaller_sample():
    many = sample(UNEQUAL, 4000, 5)
    np.testing.assert_array_equal(sample(UNEQUAL, 1000, 5), many[:1000])
    # And a uniform one: each quarter has its share of the second triangle, binomially.
    share = 2 / 202.02
    for quarter in np.split(many[:, 2] == 5, 4):
        assert stats.binomtest(int(quarter.sum()), 1000, share).pvalue > 1e-3


def test_a_sample_is_a_function_of_mesh_number_and_seed():
    points = sample(UNEQUAL, 100, 7)
    assert points.shape == (100, 3) and points.dtype == np.float32
    np.testing.assert_array_equal(points, sample(UNEQUAL, 100, 7))
    assert (points != sample(UNEQUAL, 100, 8)).any(axis=1).all()
    # By hand from the stream of PCG64, which NumPy keeps: triangle, then the two weights.
    u, v, w = np.random.Generator(np.random.PCG64(7)).random(3)
    assert u * 202.02 < 200
    a, b, c = UNEQUAL.vertices[:3]
    by_hand = (1 - v**0.5) * a + v**0.5 * ((1 - w) * b + w * c)
    np.testing.assert_allclose(points[0], by_hand, rtol=1e-6)


def test_triangles_without_area_are_never_hit():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9], [9, 9, 9], [8, 8, 8]], float)
    flat = [[3, 3, 3], [3, 4, 5], [3, 5, 4], [5, 5, 3]]  # A point, duplicate vertices, lines.
    mesh = Mesh("mixed", vertices, np.array([*flat, [0, 1, 2], *flat]))
    points = sample(mesh, 5000, 0)
    assert points.max() <= 1 and (points[:, 2] == 0).all()
    # Corners on a line whose product of sides is not quite 0 in floating point.
    third = np.array([[0.1, 0.3, 0.7], [0.2, 0.6, 1.4], [0.3, 0.9, 2.1]]) * np.pi
    with pytest.raises(CorruptExample, match="line.off: its triangles have no area: all corners"):
        read_mesh(off(third, [(0, 1, 2)]), "line.off")


def test_duplicate_vertices_and_unused_ones_change_nothing():
    vertices = [*SQUARE[:3], *SQUARE[2:], SQUARE[0], (7, 7, 7)]
    doubled = read_mesh(off(vertices, [(0, 1, 2), (3, 4, 5)]), "doubled.off")
    plain = read_mesh(off(SQUARE, [(0, 1, 2), (2, 3, 0)]), "plain.off")
    np.testing.assert_array_equal(sample(doubled, 500, 2), sample(plain, 500, 2))


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1, 1e6, 1e25])
def test_coordinates_stay_as_they_are_at_any_scale(scale):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]) * scale
    points = sample(read_mesh(off(vertices, TETRAHEDRON), "scaled.off"), 300, 4)
    base = sample(read_mesh(off(vertices / scale, TETRAHEDRON), "base.off"), 300, 4)
    np.testing.assert_allclose(points / np.float32(scale), base, rtol=1e-4, atol=1e-6)


def test_a_mesh_far_from_the_origin_keeps_its_shape():
    far = read_mesh(off(np.array(SQUARE) + [1e9, 0, 0], [(0, 1, 2), (2, 3, 0)]), "far.off")
    near = read_mesh(off(SQUARE, [(0, 1, 2), (2, 3, 0)]), "near.off")
    moved = sample(near, 400, 6) - np.float32([0.5, 0.5, 0])
    np.testing.assert_allclose(sample(far, 400, 6), moved, atol=1e-6)
    assert len(np.unique(sample(far, 400, 6)[:, 0])) == 400


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"OFF\n", b"OFF"),  # OFF4 4 0, as in ModelNet40.
        lambda text: text.replace(b"OFF\n", b"OFF "),
        lambda text: text.replace(b"OFF\n", b"off\n\n"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"OFF\n", b"OFF").replace(b"\n", b"\r\n"),
        lambda text: (
            b"# made by hand\n\n" + text.replace(b" 0\n", b" 0 # edges\n\n# vertices\n", 1)
        ),
        lambda text: text.replace(b"\n", b"  \n\n") + b"\n\n",
        lambda text: text.replace(b"4 4 0", b"4 4"),
        lambda text: text.replace(b"3 0 2 1", b"3 0 2 1 255 0 0").replace(b"OFF", b"COFF"),
        lambda text: text + b"some more\n",
    ],
)
def test_headers_and_line_ends_as_they_come(change):
    plain = read_mesh(tetrahedron(3), "plain.off")
    assert plain.vertices.shape == (4, 3) and plain.triangles.tolist() == [*map(list, TETRAHEDRON)]
    assert change(tetrahedron(3)) != tetrahedron(3)
    changed = read_mesh(change(tetrahedron(3)), "changed.OFF")
    np.testing.assert_array_equal(changed.vertices, plain.vertices)
    np.testing.assert_array_equal(changed.triangles, plain.triangles)


def test_polygons_become_triangles():
    pentagon = [(0, 0, 0), (2, 0, 0), (2, 1, 0), (1, 2, 0), (0, 1, 0)]
    mesh = read_mesh(off(pentagon, [(0, 1, 2, 3, 4)]), "pentagon.off")
    assert len(mesh.triangles) == 3 and _areas(mesh).sum() == pytest.approx(3)
    mesh = read_mesh(off([*pentagon, (0, 0, 4)], [(0, 1, 2, 3, 4), (0, 1, 5)]), "mixed.off")
    assert len(mesh.triangles) == 4 and _areas(mesh).sum() == pytest.approx(7)
    # A line has no area, and is no reason to refuse the rest.
    assert _areas(read_mesh(off(SQUARE, [(0, 1), (0, 1, 2)]), "line.off")).sum() == 0.5


def test_other_formats_give_the_same_surface(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    plain = read_mesh(tetrahedron(5), "plain.off")
    made = trimesh.Trimesh(plain.vertices, plain.triangles, process=False)
    for suffix in (".obj", ".ply", ".stl"):
        path = tmp_path / f"it{suffix}"
        made.export(path)
        mesh = read_mesh(path)
        assert len(mesh.triangles) == 4 and mesh.name == str(path)
        assert _areas(mesh).sum() == pytest.approx(_areas(plain).sum(), rel=1e-5)
    parts = b"mtllib gone.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
    parts += b"o one\nusemtl a\nf 1 2 3\no two\nusemtl b\nf 3//1 4//1 1//1\nl 1 2\nvn 0 0 1\n"
    mesh = read_mesh(parts, "parts.obj")  # Both objects, and no materials.
    assert len(mesh.triangles) == 2 and _areas(mesh).sum() == pytest.approx(1)


TRIANGLE = [(0, 0, 0), (1, 0, 0), (0, 1, 0)]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("nan.off", off([*TRIANGLE[:2], (0, float("nan"), 0)], [(0, 1, 2)]), "vertex 2 is .*nan"),
        ("inf.off", off([(float("inf"), 0, 0), *TRIANGLE], [(1, 2, 3)]), "vertex 0 is .*inf"),
        ("huge.off", off([*TRIANGLE, (1e200, 0, 0)], [(0, 1, 2)]), "of up to 1e.200"),
        ("bare.off", off(TRIANGLE, []), "no surface: 3 vertices and 0 triangles"),
        ("none.off", off([], []), "no surface: 0 vertices"),
        ("point.off", off([(1, 2, 3)] * 3, [(0, 1, 2)]), "no area"),
        ("beyond.off", off(TRIANGLE, [(0, 1, 3)]), "has vertex 3; there are 3"),
        ("before.off", off(TRIANGLE, [(0, 1, -1)]), "has vertex -1; there are 3"),
        ("empty.off", b"", "it is empty"),
        ("headless.off", b"4 4 0\n0 0 0\n", "does not begin with OFF"),
        ("short.off", b"OFF\n", "nothing after OFF"),
        ("short.off", tetrahedron(0)[:-10], "cut short: 4 vertices and 4 faces .* 7 lines follow"),
        ("short.off", b"OFF9999999999 9999999999 0\n0 0 0\n", "cut short"),
        ("face.off", off(TRIANGLE, [(0, 1, 2)]).replace(b"3 0 1", b"4 0 1"), "fewer corners"),
        ("words.off", off(TRIANGLE, [(0, 1, 2)]).replace(b"1.0", b"one", 1), "words.off: ."),
        ("cloud.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no surface"),
        ("beyond.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "beyond.obj: ."),
        ("empty.ply", b"", "it is empty"),
        ("cut.ply", b"ply\nformat ascii 1.0\nelement vertex 3\n", "cut.ply"),
        ("empty.stl", b"\n", "it is empty"),
        ("cut.stl", bytes(80) + b"\x05\0\0\0" + bytes(60), "cut.stl"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(name, data, reason):
    with pytest.raises(CorruptExample, match=reason) as caught:
        read_mesh(data, name)
    assert str(caught.value).startswith(f"{name}: ")


def test_what_is_no_mesh_file_is_an_error_of_the_users(tmp_path):
    for path in (tmp_path / "gone.off", tmp_path / "mesh.blend"):
        with pytest.raises(DataError, match=path.name) as caught:
            read_mesh(path)
        assert not isinstance(caught.value, CorruptExample)
        (tmp_path / "mesh.blend").write_bytes(b"BLENDER")
    with pytest.raises(CorruptExample, match="flat: its triangles have no area"):
        sample(Mesh("flat", np.zeros((3, 3)), np.arange(3)[None]), 5, 0)
