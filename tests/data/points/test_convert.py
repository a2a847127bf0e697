"""Clouds are a function of source, number of points and seed, whoever converts, whatever stops."""

import json

import numpy as np
import pytest

from perceiver_jax.atomic import replacing
from perceiver_jax.data.conversion.parts import convert
from perceiver_jax.data.points.convert import Conversion, check_enough_points, cloud
from perceiver_jax.data.points.layouts import find_layout
from perceiver_jax.data.points.meshes import read_mesh, sample
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import ConfigError, DataError
from tests.data.points.archives import (
    clouds,
    mesh_files,
    text_files,
    write_folder,
    write_hdf5,
    write_zip,
)

FILES = {**mesh_files(), "bed/train/bed_0099.off": b"OFF\n0 0 0\n"}  # 21, one of them empty.


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return find_layout(str(write_zip(tmp_path_factory.mktemp("zip") / "meshes.zip", FILES)))


def _stored(conversion):
    found = {}
    for split in ("train", "test"):
        for each in conversion.clouds(split):
            assert each.entry.split == split
            found[each.entry.name] = each.points
    return found


def _convert_here(conversion):
    """Without a process: for what does not depend on it."""
    conversion.begin()
    for part in conversion.missing_parts():
        conversion.do(part, lambda item: None)
    return conversion


class Killed(Exception):
    """Stands for whatever ends the program."""


def test_the_same_points_on_one_or_two_workers_and_after_a_kill(layout, tmp_path):
    expected = {
        entry.name: cloud(layout, entry, 11, 5)
        for entry in layout.entries
        if "99" not in entry.name
    }
    assert len({points.tobytes() for points in expected.values()}) == 20
    items = []
    one = Conversion(layout, 11, 5, tmp_path / "one", part_size=5)
    assert one.num_parts == 5 and one.missing_items() == list(range(21))
    convert(one, 1, items.append)
    assert items == list(range(21)) and not one.missing_parts()

    two = Conversion(layout, 11, 5, tmp_path / "two", part_size=5)

    def die(item):
        items.append(item)
        if len(items) == 12:
            raise Killed

    items.clear()
    with pytest.raises(Killed):
        convert(two, 2, die)
    left = two.missing_items()
    assert 1 <= len(left) <= 16  # One part at least was whole, and one at least was not begun.
    # As a process leaves it that is killed while it writes.
    (two.folder / ".part-00003-of-00005.4711.partial.npz").write_bytes(b"PK\3\4")
    items.clear()
    convert(two, 2, items.append)
    assert sorted(items) == left
    for conversion in (one, two):
        stored = _stored(conversion)
        assert stored.keys() == expected.keys()
        for name, points in expected.items():
            np.testing.assert_array_equal(stored[name], points)
        (left_out,) = conversion.left_out()
        assert (left_out.name, left_out.split) == ("bed/train/bed_0099.off", "train")
        assert left_out.reason == "it has no surface: 0 vertices and 0 triangles."
    convert(two, 2, items.append)  # There is nothing left to do.
    assert len(items) == len(left)


def test_a_part_is_whole_or_not_there(layout, tmp_path, monkeypatch):
    conversion = Conversion(layout, 11, 5, tmp_path / "parts", part_size=5)
    conversion.begin()

    def full(path, **arrays):
        path.write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(Exception, match="cannot be written: No space left"):
        conversion.do(0, lambda item: None)
    assert [path.name for path in conversion.folder.iterdir()] == ["plan.json"]
    assert conversion.missing_parts() == [0, 1, 2, 3, 4]


def test_parts_of_something_else_are_not_mixed_in(layout, tmp_path, monkeypatch):
    folder = tmp_path / "set.parts"
    Conversion(layout, 11, 5, folder).begin()
    Conversion(layout, 11, 5, folder).begin()  # The same goes on.
    other = find_layout(str(write_folder(tmp_path / "b", mesh_files(6))))
    for conversion, difference in (
        (Conversion(layout, 12, 5, folder), "made with --num_points=11"),
        (Conversion(layout, 11, 0, folder), "made with --seed=5"),
        (Conversion(layout, 12, 0, folder), "made with --num_points=11 and with --seed=5"),
        (Conversion(other, 11, 5, folder), "made of other files"),
    ):
        with pytest.raises(DataError, match=rf"set.parts has what .* left, {difference}\. Give"):
            conversion.begin()
    with monkeypatch.context() as patched:
        patched.setattr(Conversion, "version", "2.0.0")
        with pytest.raises(DataError, match=r"made by version 1.0.0 of this program\. Give"):
            Conversion(layout, 11, 5, folder).begin()
    # The same files in a folder are the same source.
    Conversion(find_layout(str(write_folder(tmp_path / "c", FILES))), 11, 5, folder).begin()
    (folder / "plan.json").write_text('{"seed": ')
    with pytest.raises(DataError, match="made of nobody knows what"):
        Conversion(layout, 11, 5, folder).begin()
    (folder / "plan.json").unlink()  # Killed before it was there: so there are no parts either,
    Conversion(layout, 11, 5, folder).begin()
    assert json.loads((folder / "plan.json").read_text())["num_points"] == 11
    (folder / "plan.json").unlink()
    with replacing(folder / "part-00000-of-00001.npz") as path:  # and if there are, by whom?
        path.write_bytes(b"PK")
    with pytest.raises(DataError, match="made of nobody knows what"):
        Conversion(layout, 11, 5, folder).begin()


def test_a_cloud_depends_on_seed_and_name_and_on_nothing_beside_it(layout, tmp_path):
    few = {name: FILES[name] for name in list(FILES)[::3]}
    part = find_layout(str(write_folder(tmp_path / "few", few)))
    entries = {entry.name: entry for entry in layout.entries}
    for entry in part.entries:
        points = cloud(part, entry, 11, 5)
        np.testing.assert_array_equal(points, cloud(layout, entries[entry.name], 11, 5))
        assert (points != cloud(part, entry, 11, 6)).any()
    # Equal meshes under two names are sampled at other points.
    same = {"bed/train/a.off": FILES["bed/train/bed_0001.off"]}
    same |= {name.replace("a.off", "b.off"): data for name, data in same.items()}
    same |= {"bed/test/c.off": FILES["bed/train/bed_0001.off"]}
    twins = find_layout(str(write_folder(tmp_path / "twins", same)))
    first, second, third = (cloud(twins, entry, 11, 5) for entry in twins.entries)
    assert (first != second).any() and (second != third).any()
    # And not as the seed alone says: neighbouring seeds of neighbouring names would meet.
    mesh = read_mesh(FILES["bed/train/bed_0001.off"], "a.off")
    assert all((first != sample(mesh, 11, seed)).any() for seed in range(10))


def test_hdf5_and_text_sets_give_the_same_clouds_in_random_order(tmp_path):
    stored = clouds(mesh_files())
    text = find_layout(str(write_folder(tmp_path / "text", text_files(stored))))
    hdf5 = find_layout(str(write_hdf5(tmp_path / "hdf5", stored)))
    by_class = []
    for number, layout in enumerate((text, hdf5)):
        whole = _convert_here(Conversion(layout, 20, 0, tmp_path / f"parts{number}"))
        found = {"train": set(), "test": set()}
        moved = 0
        for split in found:
            for each in whole.clouds(split):
                raw = layout.read(each.entry)
                moved += (raw != each.points).any()
                assert set(map(tuple, raw.tolist())) == set(map(tuple, each.points.tolist()))
                key = tuple(sorted(map(tuple, each.points.tolist())))
                found[split].add((each.entry.label, key))
        assert moved == 20
        by_class.append(found)
    assert by_class[0] == by_class[1]
    # Fewer points are the first of all of them: a uniform subset of the cloud.
    entry = hdf5.entries[0]
    np.testing.assert_array_equal(cloud(hdf5, entry, 8, 0), cloud(hdf5, entry, 20, 0)[:8])
    assert (cloud(hdf5, entry, 20, 0) != cloud(hdf5, entry, 20, 1)).any()
    # Which ones, is random: in 400 orders every row comes first about as often.
    rows = [
        np.flatnonzero((hdf5.read(entry) == cloud(hdf5, entry, 1, seed)).all(axis=1))[0]
        for seed in range(400)
    ]
    counts = np.bincount(rows, minlength=20)
    assert ((counts - 20) ** 2 / 20).sum() < 43.8  # Chi-squared, 19 degrees of freedom: 0.999.


def test_more_points_than_a_cloud_has_are_refused(tmp_path):
    stored = clouds(mesh_files())
    stored["bed/train/bed_0002.off"] = stored["bed/train/bed_0002.off"][:19]
    layout = find_layout(str(write_folder(tmp_path / "text", text_files(stored))))
    with pytest.raises(DataError, match=r"--num_points=21 is more than the 20 that the clouds of"):
        check_enough_points(Conversion(layout, 21, 0, tmp_path))
    named = r"have: night_stand/night_stand_0003.txt is the largest of 6 that were"
    with pytest.raises(DataError, match=named):
        check_enough_points(Conversion(layout, 21, 0, tmp_path))
    check_enough_points(Conversion(layout, 20, 0, tmp_path))
    # Nor does it refuse the others if the first one is short, or cannot be read.
    for bad in (stored[next(iter(stored))][:3], np.full((20, 3), np.nan, np.float32)):
        odd = {**stored, next(iter(stored)): bad}
        folder = write_folder(tmp_path / f"odd{len(bad)}", text_files(odd))
        check_enough_points(Conversion(find_layout(str(folder)), 20, 0, tmp_path))
    (short,) = (entry for entry in layout.entries if "bed_0002" in entry.name)
    with pytest.raises(
        CorruptExample, match="bed/bed_0002.txt: it has 19 points, and --num_points=20"
    ):
        cloud(layout, short, 20, 0)
    for bad in ({"num_points": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match=f"--{[*bad][0]}="):
            Conversion(layout, **{"num_points": 5, "seed": 0, "folder": tmp_path, **bad})
