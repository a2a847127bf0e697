"""How many meshes of each class the published sets have.

Wu et al., 3D ShapeNets, CVPR 2015; the whole sets as they are distributed, which is what results on
"ModelNet40" are on: 9,843 and 2,468 of 40 classes, 3,991 and 908 of 10.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

# Class: to train on, to test on.
MODELNET40 = {
    "airplane": (626, 100),
    "bathtub": (106, 50),
    "bed": (515, 100),
    "bench": (173, 20),
    "bookshelf": (572, 100),
    "bottle": (335, 100),
    "bowl": (64, 20),
    "car": (197, 100),
    "chair": (889, 100),
    "cone": (167, 20),
    "cup": (79, 20),
    "curtain": (138, 20),
    "desk": (200, 86),
    "door": (109, 20),
    "dresser": (200, 86),
    "flower_pot": (149, 20),
    "glass_box": (171, 100),
    "guitar": (155, 100),
    "keyboard": (145, 20),
    "lamp": (124, 20),
    "laptop": (149, 20),
    "mantel": (284, 100),
    "monitor": (465, 100),
    "night_stand": (200, 86),
    "person": (88, 20),
    "piano": (231, 100),
    "plant": (240, 100),
    "radio": (104, 20),
    "range_hood": (115, 100),
    "sink": (128, 20),
    "sofa": (680, 100),
    "stairs": (124, 20),
    "stool": (90, 20),
    "table": (392, 100),
    "tent": (163, 20),
    "toilet": (344, 100),
    "tv_stand": (267, 100),
    "vase": (475, 100),
    "wardrobe": (87, 20),
    "xbox": (103, 20),
}
_TEN = (
    "bathtub",
    "bed",
    "chair",
    "desk",
    "dresser",
    "monitor",
    "night_stand",
    "sofa",
    "table",
    "toilet",
)
MODELNET10 = {name: MODELNET40[name] for name in _TEN}
# To train and to test on, in all, in the HDF5 form of ModelNet40, which lacks three.
HDF5_MODELNET40 = (9_840, 2_468)
KNOWN: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "modelnet40": MODELNET40,
    "modelnet10": MODELNET10,
}


def name_of(class_names: Iterable[str]) -> str | None:
    """Returns the known set that has just these classes."""
    found = set(class_names)
    return next((name for name, known in KNOWN.items() if set(known) == found), None)


def surprises(name: str, found: Iterable[tuple[str, str]]) -> list[str]:
    """Says where a set differs from the published one of its name, a line for each class.

    Args:
      name: of the set; nothing is expected of unknown ones.
      found: (class, split) of each example.
    """
    if name not in KNOWN:
        return []
    counts = Counter(found)
    known = KNOWN[name]
    lines = []
    for folder in sorted({*known, *(folder for folder, _ in counts)}):
        expected = known.get(folder, (0, 0))
        got = (counts[folder, "train"], counts[folder, "test"])
        if got != expected:
            lines.append(
                f"{folder}: {got[0]:,} / {got[1]:,} to train / test on, "
                f"{expected[0]:,} / {expected[1]:,} in the published set"
            )
    return lines
