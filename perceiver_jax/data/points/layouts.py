"""The sets of labelled meshes and clouds as people have them, told apart by their files.

  meshes     CLASS/train|test/NAME.off    ModelNet40.zip, ModelNet10.zip, or a folder of your own
  text       CLASS/NAME.txt               modelnet40_normal_resampled, with its lists of names
  HDF5       ply_data_train0.h5 ...       modelnet40_ply_hdf5_2048

each as a folder or as a zip file, with or without further folders around it.
"""

import dataclasses
import functools
import json
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from perceiver_jax.data.conversion.parts import LeftOut
from perceiver_jax.data.points.archive import Archive
from perceiver_jax.data.points.meshes import MESH_SUFFIXES, Mesh, read_mesh
from perceiver_jax.data.points.point_files import read_points
from perceiver_jax.data.source import CorruptExample, decoding
from perceiver_jax.errors import DataError, require

SPLITS = ("train", "test")
_HDF5_SUFFIXES = (".h5", ".hdf5")
_NAMED = 5  # So many are listed in an error.


@dataclasses.dataclass(frozen=True)
class Entry:
    """One mesh or cloud of a set."""

    name: str  # Unique, and the same in a folder and in a zip file: "bed/train/bed_0001.off".
    label: int  # The number of its class.
    split: str  # "train" or "test".


class Layout(Protocol):
    """A set as it was found. Picklable; `read` may be called in any order, in any process."""

    @property
    def archive(self) -> Archive:
        """Where it was found."""

    @property
    def kind(self) -> str:
        """What the entries are, for messages: "meshes"."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """In an order that depends on the files alone."""

    @property
    def missing(self) -> tuple[LeftOut, ...]:
        """What is listed and not there, and what is there and can be no entry."""

    def read(self, entry: Entry) -> Mesh | np.ndarray:
        """Reads a mesh, or the points [points, 3] of a cloud, as they are stored.

        Raises:
          CorruptExample: what is stored makes no sense; names it.
        """


def find_layout(path: str, name: str | None = None) -> Layout:
    """Looks what there is in a folder or a zip file.

    Args:
      path: the folder or the zip file.
      name: of the set, such as "modelnet10"; says which of several lists of a text set is meant,
        by what it begins with. None: modelnet40's.

    Raises:
      DataError: it holds none of the sets above, or several of them, or one without training or
        test examples.
      UserError: a package is missing.
    """
    archive = Archive.at(path)
    names = archive.names()
    makers = (_find_hdf5, _find_text, _find_meshes)
    found = [layout for make in makers if (layout := make(archive, names, name))]
    if not found:
        raise DataError(
            f"{archive.path} holds no set that is known here. It may have "
            "CLASS/train/NAME.off and CLASS/test/NAME.off (ModelNet40.zip; also .obj, .ply, .stl), "
            "CLASS/NAME.txt with lists NAME_train.txt, NAME_test.txt and NAME_shape_names.txt "
            "(the resampled set), or train and test files .h5 with shape_names.txt. "
            f"It has {counted(len(names), 'file')}: {_listed(names)}."
        )
    if len(found) > 1:
        raise DataError(
            f"{archive.path} holds several sets: {' and '.join(each.kind for each in found)}. Name "
            "the folder of one; a zip file has to be unpacked for that."
        )
    (layout,) = found
    counts = Counter(entry.split for entry in layout.entries)
    for split in SPLITS:
        if not counts[split]:
            raise DataError(
                f"{archive.path} has {layout.kind} of {counted(len(layout.class_names), 'class')}, "
                f"but none to {split} on: both splits must have some."
            )
    return layout


@dataclasses.dataclass(frozen=True)
class Meshes:
    """CLASS/train|test/NAME.off; see `Layout`. Labels are in the order of the folders' names."""

    archive: Archive
    root: str  # The folder that the classes are in; "" or ends with /.
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    missing: tuple[LeftOut, ...]
    kind: str = "meshes"

    def read(self, entry: Entry) -> Mesh:
        return read_mesh(self.archive.read(self.root + entry.name), entry.name)


@dataclasses.dataclass(frozen=True)
class TextClouds:
    """CLASS/NAME.txt, a point a line: x,y,z and, which is not used, its normal; see `Layout`."""

    archive: Archive
    root: str
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    missing: tuple[LeftOut, ...]
    kind: str = "text files of points"

    def read(self, entry: Entry) -> np.ndarray:
        return read_points(self.archive.read(self.root + entry.name), entry.name)


@dataclasses.dataclass(frozen=True)
class Hdf5Clouds:
    """Files with `data` [clouds, points, 3] and `label` [clouds, 1]; see `Layout`."""

    archive: Archive
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    places: Mapping[str, tuple[str, int]]  # The file and the row of each entry, by its name.
    missing: tuple[LeftOut, ...] = ()
    kind: str = "HDF5 files of points"

    def read(self, entry: Entry) -> np.ndarray:
        file, row = self.places[entry.name]
        with decoding(entry.name, OSError):  # As HDF5 reports a block that does not unpack.
            points = np.asarray(self._data(file)[row, :, :3], np.float32)
        if not np.isfinite(points).all():
            raise CorruptExample(f"{entry.name}: it holds coordinates that are no numbers.")
        return points

    def _data(self, file: str) -> Any:
        if file not in self._open:
            self._open[file] = _open_hdf5(self.archive, file)["data"]
        return self._open[file]

    @functools.cached_property
    def _open(self) -> dict[str, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def _find_meshes(archive: Archive, names: Sequence[str], name: str | None) -> Meshes | None:
    found, elsewhere = [], []  # (root, class, split, file)
    for path in names:
        parts = path.rsplit("/", 3)
        if len(parts) < 3 or parts[-2].lower() not in SPLITS:
            elsewhere += [path] if _is_mesh(path) else []
            continue
        *root, folder, split, file = parts
        found.append((f"{root[0]}/" if root else "", folder, split, file))
    roots = {root for root, *_, file in found if _is_mesh(file)}
    if not roots:
        return None
    if len(roots) > 1:
        raise DataError(
            f"{archive.path} holds several sets of meshes, in "
            f"{_listed([root or './' for root in sorted(roots)])}. Name the folder of one; a zip "
            "file has to be unpacked for that."
        )
    found = [each for each in found if each[0] in roots]
    class_names = tuple(sorted({folder for _, folder, _, file in found if _is_mesh(file)}))
    labels = {folder: label for label, folder in enumerate(class_names)}
    entries, missing = [], []
    for _, folder, split, file in found:
        entry = f"{folder}/{split}/{file}"
        if _is_mesh(file):
            entries.append(Entry(entry, labels[folder], split.lower()))
        else:
            reason = f"it is no mesh by its name ({', '.join(MESH_SUFFIXES)})"
            missing.append(LeftOut(entry, split.lower(), reason))
    for path in elsewhere:
        reason = "it is in no folder CLASS/train or CLASS/test"
        missing.append(LeftOut(path, posixpath.dirname(path) or ".", reason))
    return Meshes(archive, roots.pop(), class_names, tuple(entries), tuple(missing))


def _find_text(archive: Archive, names: Sequence[str], name: str | None) -> TextClouds | None:
    # "modelnet40" of modelnet40_train.txt, where the other two lists are there too.
    present = set(names)
    lists = [
        path.removesuffix("_train.txt")
        for path in names
        if path.endswith("_train.txt")
        and path.replace("_train.txt", "_test.txt") in present
        and path.replace("_train.txt", "_shape_names.txt") in present
    ]
    if not lists:
        return None
    # A name that goes on, as modelnet40_seed1 does, means the list that it begins with.
    wanted = name or "modelnet40"
    chosen = [each for each in lists if wanted.startswith(posixpath.basename(each))] or lists
    if len(chosen) > 1:
        raise DataError(
            f"{archive.path} has the lists of several sets, {_listed(chosen)}: say which is meant "
            "with a --name that begins with that of the list."
        )
    stem = chosen[0]
    root = stem[: stem.rfind("/") + 1]

    def lines(kind: str) -> list[str]:
        text = archive.read(f"{stem}_{kind}.txt").decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]

    class_names = tuple(lines("shape_names"))
    labels = {folder: label for label, folder in enumerate(class_names)}
    entries, missing = [], []
    for split in SPLITS:
        for listed in dict.fromkeys(lines(split)):
            folder = listed.rpartition("_")[0]  # airplane_0001; night_stand_0001
            entry = f"{folder}/{listed}.txt"
            if folder not in labels:
                reason = f"its class {folder!r} is not in {stem}_shape_names.txt"
                missing.append(LeftOut(listed, split, reason))
            elif root + entry not in present:
                reason = f"it is in {stem}_{split}.txt, but there is no such file"
                missing.append(LeftOut(entry, split, reason))
            else:
                entries.append(Entry(entry, labels[folder], split))
    return TextClouds(archive, root, class_names, tuple(entries), tuple(missing))


def _find_hdf5(archive: Archive, names: Sequence[str], name: str | None) -> Hdf5Clouds | None:
    files = {
        split: [
            path
            for path in sorted(names, key=_natural)
            if path.lower().endswith(_HDF5_SUFFIXES) and split in posixpath.basename(path).lower()
        ]
        for split in SPLITS
    }
    if not any(files.values()):
        return None
    of_names = [path for path in names if posixpath.basename(path).endswith("shape_names.txt")]
    if len(of_names) != 1:
        raise DataError(
            f"{archive.path} has HDF5 files and {len(of_names) or 'no'} shape_names.txt; there "
            "must be one, with the name of a class on each line, in the order of the labels."
        )
    text = archive.read(of_names[0]).decode(errors="replace")
    class_names = tuple(line.strip() for line in text.splitlines() if line.strip())
    entries, places = [], {}
    for split in SPLITS:
        for path in files[split]:
            labels = _read_labels(archive, path, len(class_names))
            originals = _original_names(archive, path, set(names), len(labels))
            for row, label in enumerate(labels):
                original = f" ({originals[row]})" if originals else ""
                entry = Entry(f"{posixpath.basename(path)}/{row}{original}", int(label), split)
                entries.append(entry)
                places[entry.name] = (path, row)
    if len(places) != len(entries):
        raise DataError(f"{archive.path} has HDF5 files of the same name; name one set's folder.")
    return Hdf5Clouds(archive, class_names, tuple(entries), places)


def _read_labels(archive: Archive, path: str, num_classes: int) -> np.ndarray:  # [clouds]
    """Returns the labels in an HDF5 file, having checked that it is whole."""
    file = _open_hdf5(archive, path)
    for key in ("data", "label"):
        if key not in file:
            raise DataError(f"{path} in {archive.path} has no {key!r}; it has: {_listed([*file])}.")
    shape = file["data"].shape
    labels = np.asarray(file["label"]).reshape(-1)
    if len(shape) != 3 or shape[2] < 3 or len(labels) != shape[0]:
        raise DataError(
            f"{path} in {archive.path}: data must be [clouds, points, 3] and label have one number "
            f"a cloud; got shapes {list(shape)} and {list(file['label'].shape)}."
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise DataError(
            f"{path} in {archive.path} has labels from {labels.min()} to {labels.max()}, but "
            f"shape_names.txt has {counted(num_classes, 'class')}."
        )
    return labels


def _open_hdf5(archive: Archive, path: str) -> Any:
    require("h5py", purpose="Reading HDF5 files")
    import h5py

    try:
        return h5py.File(archive.open(path), "r")
    except OSError as error:
        raise DataError(f"{path} in {archive.path} is no whole HDF5 file: {error}") from error


def _original_names(archive: Archive, path: str, present: set[str], count: int) -> list[str]:
    """Returns the meshes' names that the published set has beside ply_data_train0.h5, or none."""
    stem = re.sub(r"(\d+)\.\w+$", r"_\1_id2file.json", path)  # ply_data_train_0_id2file.json
    if stem == path or stem not in present:
        return []
    with decoding(f"{stem} in {archive.path}", ValueError):
        originals = json.loads(archive.read(stem))
    return [str(each) for each in originals] if len(originals) == count else []


def _is_mesh(file: str) -> bool:
    return file.lower().endswith(MESH_SUFFIXES)


def _natural(path: str) -> list[tuple[int, str]]:
    """A key that puts train2 before train10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path)]


def counted(number: int, what: str) -> str:
    """Returns "1 class", "12 classes", "1,200 files"."""
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
