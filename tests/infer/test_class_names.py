"""The names of the classes."""

import pytest

from perceiver_jax.errors import DataError
from perceiver_jax.infer import class_names


@pytest.mark.core
def test_imagenet():
    names = class_names.imagenet()
    assert len(names) == 1000
    assert sorted({name for name in names if names.count(name) > 1}) == ["crane"]
    known = {
        0: "tench, Tinca tinca",
        1: "goldfish, Carassius auratus",
        134: "crane",
        281: "tabby, tabby cat",
        282: "tiger cat",
        285: "Egyptian cat",
        508: "computer keyboard, keypad",
        517: "crane",
        761: "remote control, remote",
        999: "toilet tissue, toilet paper, bathroom tissue",
    }
    assert {index: names[index] for index in known} == known


@pytest.mark.core
def test_kinetics():
    names = class_names.kinetics700()
    assert len(names) == len(set(names)) == 700
    assert list(names) == sorted(names)
    assert names[0] == "abseiling" and names[699] == "zumba"
    assert "massaging person's head" in names and "curling (sport)" in names


def test_which_names_are_used(tmp_path):
    assert class_names.for_outputs(1000)[281] == "tabby, tabby cat"
    assert class_names.for_outputs(700)[0] == "abseiling"
    assert class_names.for_outputs(18)[17] == "class 17"
    assert class_names.for_outputs(2, ("a", "b")) == ("a", "b")
    # What ImageNet's folders are called, in the same order, says nothing to people.
    numbers = tuple(f"n{number:08}" for number in range(1000))
    assert class_names.for_outputs(1000, numbers) == class_names.imagenet()
    assert class_names.for_outputs(2, numbers[:2]) == numbers[:2]
    with pytest.raises(DataError, match="3 class names for a model of 2"):
        class_names.for_outputs(2, ("a", "b", "c"))
    path = tmp_path / "names.txt"
    path.write_text("één\n two \n\n", encoding="utf-8")
    assert class_names.read(path) == ("één", "two")
    path.write_text("\n")
    with pytest.raises(DataError, match="has no class names"):
        class_names.read(path)
    with pytest.raises(DataError, match=r"missing\.txt"):
        class_names.read(tmp_path / "missing.txt")
