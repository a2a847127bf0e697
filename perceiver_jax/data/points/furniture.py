"""Furniture in ModelNet's layout: `python -m perceiver_jax.data.points.furniture`.

  --source=DIR     the folder with the .sh3f files of the Debian package sweethome3d-furniture
  --out=FOLDER     the folder to make; there must be nothing there yet

The package is 120 MB; it need not be installed, and to unpack it takes no root:

    mkdir -p data && (cd data && apt-get download sweethome3d-furniture)
    dpkg -x data/sweethome3d-furniture_*.deb data/sweethome3d
    python -m perceiver_jax.data.points.furniture \\
        --source=data/sweethome3d/usr/share/sweethome3d/furniture --out=data/furniture_meshes

Where there is no apt, packages.debian.org/sweethome3d-furniture has the file; what is told here is
of version 1.8-1. It has 820 models from five sources, of which 389 get one of twelve classes by
their English names. The 166 of one artist, Scopia, are the test split, and the 223 of all others
are trained on, since models of one artist resemble each other. The labels are ours, by the rules
below, checked by looking at the catalogues' pictures. This is a small stand-in for ModelNet40, and
accuracies on it say nothing about that.
"""

from perceiver_jax.errors import exit_on_interrupt

if __name__ == "__main__":
    exit_on_interrupt()  # Now: until then Ctrl-C shows a traceback, and imports take a moment.

import collections
import csv
import dataclasses
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from perceiver_jax.data.conversion.command import check_arguments
from perceiver_jax.data.points.meshes import Mesh, read_mesh
from perceiver_jax.data.source import CorruptExample
from perceiver_jax.errors import DataError, require, run_main

HELD_OUT = "Scopia"  # The file whose models are the test split.
CATALOGUE = "PluginFurnitureCatalog.properties"  # In each file.
SUFFIX = ".sh3f"  # Zip files.

# Patterns of names, in small letters; the first that is found decides.
RULES = (
    (
        None,  # What a word of its name puts into the wrong class, or what belongs to two.
        r"\b(table tennis|football table|pool table|table fan|shower door|elevator|indoor bike|"
        r"window (blind|shutter)|piano bench|ottoman|opened convertible|changing table|sink)\b",
    ),
    ("lamp", r"\b(lamp|lamppost|lights?|spotlight|lantern|chandelier)\b"),
    (
        "storage",
        r"\b(bedside table|cabinet|cupboard|wardrobe|bookcase|shelves|dresser|tv stand|locker)\b",
    ),
    (
        "appliance",
        r"\b(oven|stove|cooker|cooktop|fridge|refrigerator|freezer|microwave|hood|"
        r"washing machine|dryer machine)\b",
    ),
    (
        "sanitary",
        r"\b(washbasin|toilets unit|bidet|urinal|bath|bathtub|lavatory|vanity|shower stall)\b",
    ),
    ("door_window", r"\b(door|window)\b"),
    ("sofa", r"\b(sofa|couch)\b"),
    ("bed", r"\b(bed|crib|futon)\b"),
    (
        "vehicle",
        r"\b(car|sedan|beetle|focus|truck|fork lift|bus|chevrolet|peugeot|renault|seat leon|suv|"
        r"van|scooter|bike|bicycle|tricycle|yamaha)\b",
    ),
    ("chair", r"\b(chair|armchair|stool|seat)\b"),
    ("table", r"\b(table|desk|workbench)\b"),
    (
        "plant",
        r"\b(plant|cactus|orchids|bamboo|spathiphyllum|tulips|lily|yucca|flowers|flower box|"
        r"tree|pine|maple|acacia|cypress|poplar|hedge|bush|beech|blossom|ficus)\b",
    ),
    ("person", r"\b(male|female|boy|girl)\b"),
)
CLASSES = tuple(sorted(name for name, _ in RULES if name is not None))

README = """Furniture in ModelNet's layout, CLASS/train|test/NAME.off, made by
perceiver_jax.data.points.furniture from the Debian package sweethome3d-furniture.

Test examples are the models of {held_out}; those of all others are trained on. What was changed:
all parts of a model are one mesh, without materials, turned so that z is up. models.csv names the
original of each and its creator. The classes are ours, from the names.

The licence of each file, and how it wants to be named, is in LICENSE-*.txt:
{licences}
Models under a CC-BY licence may be passed on if their authors are named as these files say.
"""


@dataclasses.dataclass(frozen=True)
class Model:
    """An entry of a catalogue."""

    artist: str  # The name of the file, without suffix.
    name: str  # In English.
    path: str  # Of the .obj file, in the zip file.
    creator: str
    rotation: np.ndarray | None  # [3, 3]: puts the mesh upright, y up; None: it is.

    @property
    def stem(self) -> str:
        """The name for a file."""
        return f"{self.artist}_{Path(self.path).stem}"


def class_of(name: str) -> str | None:
    """Returns the class that a model's name says, or None."""
    return next((found for found, rule in RULES if re.search(rule, name.lower())), None)


def read_catalogue(text: str, artist: str) -> tuple[list[Model], str]:
    """Reads a catalogue: lines `KEY#NUMBER=VALUE`, and some without a number.

    Args:
      text: of the .properties file.
      artist: the name of the file.

    Returns:
      The models in the order of their numbers, and the licence in a line.
    """
    entries: dict[int, dict[str, str]] = collections.defaultdict(dict)
    licence = "unknown"
    for line in text.splitlines():
        key, _, value = line.partition("=")
        value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), value).strip()
        if key == "license":
            licence = value
        elif re.fullmatch(r"\w+#\d+", key):
            field, number = key.split("#")
            entries[int(number)][field] = value
    models = []
    for _, entry in sorted(entries.items()):
        if {"name", "model"} <= entry.keys():
            numbers = entry.get("modelRotation", "").split()
            rotation = np.array(numbers, float).reshape(3, 3) if len(numbers) == 9 else None
            path, creator = entry["model"].lstrip("/"), entry.get("creator", "unknown")
            models.append(Model(artist, entry["name"], path, creator, rotation))
    return models, licence


def upright(mesh: Mesh, rotation: np.ndarray | None) -> Mesh:
    """Turns a mesh as its catalogue says, and then from y up to z up, as ModelNet's."""
    vertices = mesh.vertices if rotation is None else mesh.vertices @ rotation.T
    x, y, z = vertices.T
    return dataclasses.replace(mesh, vertices=np.stack([x, -z, y], axis=1))


def fingerprint(mesh: Mesh) -> tuple[int, np.ndarray]:
    """Returns what a mesh has in common with its moved, turned and scaled copies.

    Returns:
      The number of triangles, and quantiles of their areas as shares of the whole surface.
    """
    corners = mesh.vertices[mesh.triangles]  # [triangles, corners, 3]
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.sort(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1))
    return len(areas), np.quantile(np.cumsum(areas) / areas.sum(), np.linspace(0, 1, 33))


def is_copy(one: tuple[int, np.ndarray], other: tuple[int, np.ndarray]) -> bool:
    """Says whether two fingerprints are of copies of one mesh."""
    return one[0] == other[0] and bool(np.abs(one[1] - other[1]).max() < 1e-3)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a folder was made of."""

    models: dict[str, dict[str, int]]  # By split and class.
    copies: tuple[str, ...]  # Models left out of training since they are in the test split too.
    broken: tuple[str, ...]  # Models that cannot be read, and why.


def write_furniture(
    source: Path,
    out: Path,
    held_out: str = HELD_OUT,
    report: Callable[[str], None] = print,
) -> Counts:
    """Writes the folder.

    Args:
      source: the folder of the .sh3f files.
      out: the folder to make; there must be nothing there yet.
      held_out: the name, without suffix, of the file whose models are the test split.
      report: takes a line for the user for each file.

    Raises:
      DataError: the files are not there, or one is no such file.
      UserError: the folder exists or cannot be written, or a package is missing.
    """
    require("trimesh", purpose="The furniture set")
    from perceiver_jax.atomic import making_folder

    files = find_files(source, held_out)
    counts = {split: dict.fromkeys(CLASSES, 0) for split in ("train", "test")}
    copies, broken, licences, seen = [], [], [], []
    rows = [("path", "original", "name", "creator")]
    with making_folder(out) as folder:
        for file in files:
            split = "test" if file.stem == held_out else "train"
            catalogue, licence, terms = _open(file)
            named = sum(class_of(model.name) is not None for model in catalogue)
            report(f"{file.name}: {named} of {len(catalogue)} models have a class.")
            licences.append(f"  {file.stem}: {licence}\n")
            if terms is not None:
                (folder / f"LICENSE-{file.stem}.txt").write_bytes(terms)
            for model, label, mesh in _labelled(file, catalogue):
                if isinstance(mesh, CorruptExample):
                    broken.append(str(mesh))
                    continue
                mark = fingerprint(mesh)
                if split == "test":
                    seen.append(mark)
                elif any(is_copy(mark, other) for other in seen):
                    copies.append(model.stem)
                    continue
                path = Path(label, split, f"{model.stem}.off")
                _write_off(folder / path, mesh)
                counts[split][label] += 1
                original = f"{file.name}:{model.path}"
                rows.append((path.as_posix(), original, model.name, model.creator))
        readme = README.format(held_out=held_out, licences="".join(licences))
        (folder / "README.txt").write_text(readme, encoding="utf-8")
        with open(folder / "models.csv", "w", encoding="utf-8", newline="") as listing:
            csv.writer(listing, lineterminator="\n").writerows(rows)
    return Counts(counts, tuple(copies), tuple(broken))


def find_files(source: Path, held_out: str = HELD_OUT) -> list[Path]:
    """Returns the .sh3f files of a folder, the one that is held out first.

    Raises:
      DataError: that one is not there, or no other.
    """
    files = sorted(source.glob(f"*{SUFFIX}"), key=lambda file: (file.stem != held_out, file.name))
    if len(files) < 2 or files[0].stem != held_out:
        found = ", ".join(file.name for file in files) or "none"
        raise DataError(
            f"--source={source} must hold {held_out}{SUFFIX}, whose models are the test split, and "
            f"others to train on; it holds {found}. They are in the Debian package "
            "sweethome3d-furniture, under usr/share/sweethome3d/furniture:\n\n"
            "    mkdir -p data && (cd data && apt-get download sweethome3d-furniture)\n"
            "    dpkg -x data/sweethome3d-furniture_*.deb data/sweethome3d\n"
        )
    return files


def _open(file: Path) -> tuple[list[Model], str, bytes | None]:
    """Returns a file's models, its licence in a line, and the text of the licence."""
    try:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(CATALOGUE).decode("latin-1")  # As Java has it.
            terms = archive.read("LICENSE.TXT") if "LICENSE.TXT" in archive.namelist() else None
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(
            f"{file} must be a zip file with a {CATALOGUE}, as in the package "
            f"sweethome3d-furniture: {error}. Unpack the package again."
        ) from error
    return *read_catalogue(text, file.stem), terms


def _labelled(
    file: Path, catalogue: Sequence[Model]
) -> Iterator[tuple[Model, str, Mesh | CorruptExample]]:
    """Yields each model that has a class, the class, and the mesh or what is wrong with it."""
    with zipfile.ZipFile(file) as archive:
        for model in catalogue:
            label = class_of(model.name)
            if label is None:
                continue
            where = f"{file.name}:{model.path}"
            try:
                mesh = read_mesh(archive.read(model.path), where)
            except KeyError:
                yield model, label, CorruptExample(f"{where} is missing.")
            except CorruptExample as error:
                yield model, label, error
            else:
                yield model, label, upright(mesh, model.rotation)


def _write_off(path: Path, mesh: Mesh) -> None:
    import trimesh

    written = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
    written.merge_vertices()
    path.parent.mkdir(parents=True, exist_ok=True)
    written.export(path, file_type="off", digits=7)


def table(counts: Counts) -> str:
    """The numbers of models by class and split, in lines."""
    train, test = counts.models["train"], counts.models["test"]
    rows: list[tuple[str, int | str, int | str]] = [("class", "train", "test")]
    rows += [(name, train[name], test[name]) for name in CLASSES]
    rows.append(("all", sum(train.values()), sum(test.values())))
    return "\n".join(f"{name:12}{one:>6}{other:>6}" for name, one, other in rows)


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    from absl import flags

    flags.DEFINE_string("source", None, "The folder with the .sh3f files.")
    flags.DEFINE_string("out", None, "The folder to make.")


def main(argv: Sequence[str]) -> None:
    """Entry point; `argv` is what absl left of the command line."""
    from absl import flags

    check_arguments(argv, "source", "out")
    given = flags.FLAGS
    source, out = (Path(each).expanduser() for each in (given.source, given.out))
    counts = write_furniture(source, out)
    print(f"\n{table(counts)}\n")
    print(f"Copies of test models left out of training: {', '.join(counts.copies) or 'none'}.")
    for reason in counts.broken:
        print(f"Left out: {reason}")
    print(f"{out}: labels are from names, tests are the models of {HELD_OUT}.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
