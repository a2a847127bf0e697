"""The furniture set: classes by name, tests by artist, nothing of a test model in training."""

import csv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from perceiver_jax.data.points import furniture
from perceiver_jax.data.points.meshes import read_mesh
from perceiver_jax.errors import DataError, UserError

# A wedge: 1 wide, 2 high (y is up), 3 deep, and no two of its faces alike.
WEDGE = """v 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3
f 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"""
# The same made of quadrangles in two parts, with normals; and something else.
PLATE = "o top\nv 0 1 0\nv 2 1 0\nv 2 1 5\nv 0 1 5\nvn 0 1 0\nf 1//1 2//1 3//1 4//1\n"
PLATE += "o leg\nv 0 0 0\nv 1 0 0\nv 0 1 1\nf 5 6 7\n"


def scaled(obj: str, factor: float) -> str:
    """The model's vertices times a factor."""
    lines = [line.split() for line in obj.splitlines()]
    return "\n".join(
        " ".join([word, *(str(factor * float(each)) for each in rest)] if word == "v" else
                 [word, *rest])
        for word, *rest in lines
    )  # fmt: skip


def write_sh3f(path: Path, models: Mapping[str, str], *extra: str) -> None:
    """Writes a file of models by English name."""
    lines = ["# A catalogue", "license=Free \xa9 A. Uthor", *extra]
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, obj) in enumerate(models.items(), 1):
            inside = f"things/{number}/{path.stem.lower()}{number}.obj"
            lines += [f"name#{number}={name}", f"model#{number}=/{inside}", f"tags#{number}=Chair",
                      f"creator#{number}=A. Uthor"]  # fmt: skip
            archive.writestr(inside, obj)
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(lines).encode("latin-1"))
        archive.writestr("LICENSE.TXT", f"Terms of {path.stem}")


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("chair", ("Armchair", "Bar stool", "Baby high chair", "Class seat", "Deck chair")),
        ("table", ("Coffee table", "Desk", "Workbench", "Table on trestles")),
        ("lamp", ("Desk lamp", "Street light", "Wall spotlight", "Classic lamppost")),
        ("storage", ("Bedside table", "TV stand", "Glass door cabinet", "Full bookcase")),
        ("appliance", ("Chest freezer", "Washing machine", "Hood", "Induction cooker 2 zones")),
        ("sanitary", ("Toilets unit", "Double vanity", "Corner bathtub", "Shower stall")),
        ("door_window", ("Double-hung window", "Garage door", "Triple French window")),
        ("sofa", ("Futon couch", "Sofa 2 seats", "Convertible sofa BZ")),
        ("bed", ("Captain's bed", "Crib", "Futon")),
        ("vehicle", ("Seat Leon", "Van", "City bus", "VW new beetle", "Tricycle")),
        ("plant", ("Christmas tree", "Blue pine under snow", "Flower box", "White lily")),
        ("person", ("Sitting girl", "Mannequin male", "Female")),
        (
            None,
            ("Toilet brush", "Table tennis bat", "Shower door", "Armchair ottoman", "Motorbike",
             "Wheelchair", "Bathmat", "Flashlight", "Opened convertible sofa BZ", "Table fan",
             "Sink cabinet", "Changing table", "Palmtop", "Rocking horse", "Bench"),
        ),
    ],
)  # fmt: skip
def test_classes_by_name(label: str | None, names: tuple[str, ...]) -> None:
    assert {name: furniture.class_of(name) for name in names} == dict.fromkeys(names, label)


def test_there_are_twelve_classes() -> None:
    assert len(furniture.CLASSES) == 12 and list(furniture.CLASSES) == sorted(furniture.CLASSES)


def test_the_folder_is_split_by_artist(tmp_path: Path) -> None:
    write_sh3f(tmp_path / "Scopia.sh3f", {"Chair": WEDGE, "Vase": PLATE})
    write_sh3f(
        tmp_path / "Other.sh3f",
        {
            "Chair": scaled(WEDGE, 0.25),
            "Sofa": PLATE,
            "Bed": "v 0 0 0\n",
            "Caf\\u00e9 table": PLATE,
        },
        "modelRotation#4=0 0 1 0 1 0 -1 0 0",
    )
    write_sh3f(tmp_path / "Third.sh3f", {"Desk, oak": scaled(PLATE, 30)})
    out = tmp_path / "new" / "meshes"
    lines: list[str] = []
    counts = furniture.write_furniture(tmp_path, out, report=lines.append)
    assert lines[:2] == [
        "Scopia.sh3f: 1 of 2 models have a class.",
        "Other.sh3f: 4 of 4 models have a class.",
    ]
    assert counts.models["test"] == dict.fromkeys(furniture.CLASSES, 0) | {"chair": 1}
    assert counts.models["train"] == dict.fromkeys(furniture.CLASSES, 0) | {"sofa": 1, "table": 2}
    # In whatever unit, the test split's chair is not trained on; the vase is in no split.
    assert counts.copies == ("Other_other1",)
    (broken,) = counts.broken
    assert broken.startswith("Other.sh3f:things/3/other3.obj")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.off")) == [
        "chair/test/Scopia_scopia1.off",
        "sofa/train/Other_other2.off",
        "table/train/Other_other4.off",
        "table/train/Third_third1.off",
    ]
    with open(out / "models.csv", encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert rows["table/train/Third_third1.off"]["name"] == "Desk, oak"
    assert rows["table/train/Other_other4.off"] == {
        "path": "table/train/Other_other4.off",
        "original": "Other.sh3f:things/4/other4.obj",
        "name": "Café table",
        "creator": "A. Uthor",
    }
    assert "Third: Free © A. Uthor" in (out / "README.txt").read_text(encoding="utf-8")
    assert (out / "LICENSE-Third.txt").read_text() == "Terms of Third"
    assert "table            2     0" in furniture.table(counts)

    # From y up to z up: 1 wide, 3 deep, 2 high, and a corner that was at z = 3 is at y = -3.
    mesh = read_mesh(out / "chair" / "test" / "Scopia_scopia1.off")
    np.testing.assert_array_equal(np.ptp(mesh.vertices, axis=0), [1, 3, 2])
    assert [0, -3, 0] in mesh.vertices.tolist()
    # Both parts and both halves of the quadrangle; the catalogue's rotation comes first.
    mesh = read_mesh(out / "sofa" / "train" / "Other_other2.off")
    assert len(mesh.triangles) == 3
    np.testing.assert_array_equal(np.ptp(mesh.vertices, axis=0), [2, 5, 1])
    mesh = read_mesh(out / "table" / "train" / "Other_other4.off")
    np.testing.assert_array_equal(np.ptp(mesh.vertices, axis=0), [5, 2, 1])


def test_copies_are_found_in_any_unit_and_turned_but_other_shapes_are_not() -> None:
    mesh = read_mesh(WEDGE.encode(), "a.obj")
    turned = read_mesh(scaled(WEDGE, 1e-3).encode(), "b.obj")
    turned = furniture.upright(turned, np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))
    mark = furniture.fingerprint(mesh)
    assert furniture.is_copy(mark, furniture.fingerprint(turned))
    other = read_mesh(WEDGE.replace("v 0 0 3", "v 0 0 3.1").encode(), "c.obj")
    assert not furniture.is_copy(mark, furniture.fingerprint(other))
    assert not furniture.is_copy(mark, furniture.fingerprint(read_mesh(PLATE.encode(), "d.obj")))


def test_what_is_no_package_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds none.*\n\n.*apt-get download sweethome3d-furn"):
        furniture.write_furniture(tmp_path, tmp_path / "out")
    write_sh3f(tmp_path / "Other.sh3f", {"Chair": WEDGE})
    with pytest.raises(DataError, match=r"must hold Scopia\.sh3f.*holds Other\.sh3f"):
        furniture.write_furniture(tmp_path, tmp_path / "out")
    (tmp_path / "Scopia.sh3f").write_bytes(b"cut short")
    with pytest.raises(DataError, match=r"Scopia\.sh3f must be a zip file"):
        furniture.write_furniture(tmp_path, tmp_path / "out")
    write_sh3f(tmp_path / "Scopia.sh3f", {"Chair": WEDGE})
    with pytest.raises(UserError, match="exists already, and is left as it is"):
        furniture.write_furniture(tmp_path, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Other.sh3f", "Scopia.sh3f"]
