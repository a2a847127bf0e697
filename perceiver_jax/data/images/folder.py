"""Images in folders, one a class: `train/n01440764/*.JPEG` and `val/n01440764/*.JPEG`.

A million files are listed in seconds, and kept as one string of names and one array of offsets.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np

from perceiver_jax.data.images.decode import check_channels, decode
from perceiver_jax.data.images.label_file import Labels, read_labels
from perceiver_jax.data.images.raw import (
    HOLD_OUT,
    RawExample,
    as_raw_example,
)
from perceiver_jax.data.splits import check_split
from perceiver_jax.errors import DataError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
TEST_FOLDERS = ("val", "validation", "test")
_NOISE = ("thumbs.db", "desktop.ini")  # Left by file managers; hidden files are passed over too.
_NAMED = 5  # So many are listed in an error.
_NO_TRAIN = (
    " To test a model where the training images are not, say which class is which with "
    "--config.data.images.label_file."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """A folder with `train/CLASS/IMAGE` and `val/CLASS/IMAGE`, of any number of classes.

    Splits: "train"; "test", which is `val/`, `validation/` or `test/`, the first that there is; and
    "valid", `hold_out` of the training images. These are drawn by a hash of their names and not
    taken from the front, since the files are in the order of their classes; so they are of all
    classes, and the same ones on every machine.

    Labels count from 0 in the order of the names of the folders in `train/`, which for ImageNet is
    the order of the released models, or as the label file says.
    """

    path: str = ""  # The folder.
    label_file: str | None = None  # Classes in order, or {class: label} as JSON; see label_file.py.
    hold_out: int = 0  # So many training images are not trained on, but are the split "valid".
    test_folder: str | None = None  # The folder to test on; None: see above.
    exif: bool = False  # Turn images as the camera noted; the released models did not.

    def __post_init__(self) -> None:
        HOLD_OUT.check_field(self.hold_out)

    def open(self, split: str, channels: int) -> "FolderImages":
        """Opens a split; see `perceiver_jax.data.images.raw.ImageSet`.

        Raises:
          DataError: no such split; a folder is missing, has no images, or a class that others have
            not; a file that is no image is among them; the label file does not fit.
        """
        check_channels(channels, "channels")
        check_split(split, f"The image folder {self.path!r}")
        root = self._root()
        train = os.path.join(root, "train")
        if self.label_file is not None:
            labels = read_labels(self.label_file)
        else:
            labels = Labels.in_order(_folders(train, "of the classes", _NO_TRAIN))
        folder = train if split != "test" else os.path.join(root, self._test_folder(root))
        images = _list_images(folder, labels, channels, self.exif)
        if split == "test":
            return images
        HOLD_OUT.check(self.hold_out, split, len(images), train)
        if not self.hold_out:
            return images
        held_out = images.drawn(self.hold_out)
        if split == "valid":
            return images.part(np.flatnonzero(held_out))
        return images.part(np.flatnonzero(~held_out))

    def _root(self) -> str:
        if not self.path:
            raise DataError(
                "data.images.path is empty: name the folder that has train/CLASS/IMAGE and "
                "val/CLASS/IMAGE with --config.data.images.path=FOLDER."
            )
        root = os.path.expanduser(self.path)
        if not os.path.isdir(root):
            raise DataError(
                f"data.images.path={self.path} is no folder{_nearest(root)}; it should have "
                "train/CLASS/IMAGE and val/CLASS/IMAGE."
            )
        return root

    def _test_folder(self, root: str) -> str:
        if self.test_folder is not None:
            return self.test_folder
        for name in TEST_FOLDERS:
            if os.path.isdir(os.path.join(root, name)):
                return name
        raise DataError(
            f"{root} has no folder to test on: {', '.join(TEST_FOLDERS)} were looked for; name "
            "another with --config.data.images.test_folder=NAME."
        )


@dataclasses.dataclass(frozen=True, eq=False)  # Arrays have no one answer to ==.
class FolderImages:
    """Images in a folder; see `perceiver_jax.data.images.raw.RawImages`.

    In the order of their classes and names; `rows` says which of them belong to this part.
    """

    folder: str  # With a folder for each class.
    classes: tuple[str, ...]  # The folders' names, in the order of the labels.
    class_names: tuple[str, ...]
    names: bytes  # The names of all files after one another, as the file system has them.
    ends: np.ndarray  # [files], where each name ends.
    class_ends: np.ndarray  # [classes], how many files come up to the end of each class.
    channels: int  # 3 or 1.
    exif: bool  # See FolderConfig.
    rows: np.ndarray | None = None  # [images]; None: all files.

    def __len__(self) -> int:
        return len(self.ends if self.rows is None else self.rows)

    def __getitem__(self, index: int) -> RawExample:
        label, name = self._entry(self._row(index))
        path = self._path(label, name)
        with open(path, "rb") as file:
            data = file.read()
        image = decode(data, path, channels=self.channels, exif=self.exif)
        return as_raw_example(image, label)

    def describe(self, index: int) -> str:
        """Returns the path of an image."""
        return self._path(*self._entry(self._row(index)))

    def drawn(self, count: int) -> np.ndarray:  # [files], bool
        """Marks `count` files, drawn by a hash of class and name: the same whatever else is there.

        No generator of random numbers: NumPy may change what its shuffle gives, and images that
        were held out must not be trained on after an update.
        """
        digests = np.empty(len(self.ends), np.uint64)
        for row in range(len(self.ends)):
            label, name = self._entry(row)
            key = os.fsencode(self.classes[label]) + b"/" + name
            digest = hashlib.blake2b(key, digest_size=8).digest()
            digests[row] = int.from_bytes(digest, "little")
        marked = np.zeros(len(self.ends), bool)
        marked[np.argsort(digests, kind="stable")[:count]] = True
        return marked

    def part(self, rows: np.ndarray) -> "FolderImages":
        """Returns some of the files, by number."""
        return dataclasses.replace(self, rows=rows)

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return int(index if self.rows is None else self.rows[index])

    def _entry(self, row: int) -> tuple[int, bytes]:
        """Returns the label and the name of a file."""
        label = int(np.searchsorted(self.class_ends, row, side="right"))
        start = int(self.ends[row - 1]) if row else 0
        return label, self.names[start : int(self.ends[row])]

    def _path(self, label: int, name: bytes) -> str:
        return os.path.join(self.folder, self.classes[label], os.fsdecode(name))


def _list_images(folder: str, labels: Labels, channels: int, exif: bool) -> FolderImages:
    """Lists the images of all classes, and refuses a folder that does not fit the classes."""
    found = _folders(folder, "of images")
    _check_classes(folder, found, labels)
    names: list[bytes] = []  # Of all files of a class, one a class.
    lengths: list[int] = []  # Of all names.
    class_ends = []
    for name in labels.folders:
        found_names = _image_names(os.path.join(folder, name))
        names.append(b"".join(found_names))
        lengths += map(len, found_names)
        class_ends.append(len(lengths))
    return FolderImages(
        folder=folder,
        classes=labels.folders,
        class_names=labels.names,
        names=b"".join(names),
        ends=np.cumsum(lengths, dtype=np.int64),
        class_ends=np.array(class_ends, np.int64),
        channels=channels,
        exif=exif,
    )


def _check_classes(folder: str, found: Sequence[str], labels: Labels) -> None:
    known, present = set(labels.folders), set(found)
    unknown = [name for name in found if name not in known]
    missing = [name for name in labels.folders if name not in present]
    if unknown:
        raise DataError(
            f"{folder} has {_count(len(unknown), 'class folder')} that {labels.origin} has not: "
            f"{_listed(unknown)}. Take them away, or add them to {labels.origin}."
        )
    if missing:
        raise DataError(
            f"{folder} has no folder for {_count(len(missing), 'class', 'classes')} of "
            f"{labels.origin}: {_listed(missing)}. A part of the classes would give a result that "
            "cannot be compared; put their images there, or take them out of all."
        )


def _folders(path: str, what: str, mend: str = "") -> tuple[str, ...]:
    """Lists the folders in a folder, sorted; nothing else may be in it."""
    if not os.path.isdir(path):
        raise DataError(
            f"the folder {what}, {path}, does not exist{_nearest(path)}; it should have a folder "
            f"for each class, with the images of that class.{mend}"
        )
    folders: list[str] = []
    files: list[str] = []
    for entry in _entries(path):
        (folders if entry.is_dir() else files).append(entry.name)
    if files and not folders:
        raise DataError(
            f"{path} has {_count(len(files), 'file')} and no folders: {_listed(sorted(files))}. "
            "Images must be in a folder for each class; move them there."
        )
    if files:
        raise DataError(
            f"{path} has {_count(len(files), 'file')} beside the folders of the classes: "
            f"{_listed(sorted(files))}. Move images into the folder of their class, and other "
            "files away."
        )
    if not folders:
        raise DataError(
            f"{path} is empty; it should have a folder for each class, with the images of that "
            "class."
        )
    return tuple(sorted(folders))


def _image_names(path: str) -> list[bytes]:
    """Lists the files of a class, sorted by their bytes; all must be images by their suffix."""
    names, others = [], []
    for entry in _entries(path):
        if entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            names.append(os.fsencode(entry.name))
        else:
            others.append(entry.name)
    if others:
        raise DataError(
            f"{path} has {_count(len(others), 'entry', 'entries')} that "
            f"{'is no image file' if len(others) == 1 else 'are no image files'} "
            f"({', '.join(SUFFIXES)}): {_listed(sorted(others))}. Take them away; folders in the "
            "folder of a class are not read."
        )
    if not names:
        raise DataError(
            f"the class folder {path} has no images. Put some there, or take the class away from "
            "all folders."
        )
    return sorted(names)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name.lower() not in _NOISE:
                yield entry


def _nearest(path: str) -> str:
    """Says which part of a missing path there is, for a message."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        return f" (nor does {parent})"
    folders = sorted(entry.name for entry in _entries(parent) if entry.is_dir())
    return f" ({parent} has: {_listed(folders)})" if folders else f" ({parent} has no folders)"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number:,} {several or one + 's'}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
