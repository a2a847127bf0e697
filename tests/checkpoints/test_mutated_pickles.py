"""Checkpoints with random damage: refused, or read as Python's own unpickler reads them."""

import codecs
import io
import pathlib
import pickle
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from perceiver_jax.checkpoints import deepmind, pickle_reader
from perceiver_jax.errors import CheckpointError
from tests import golden_cases
from tests.checkpoints import pickles

SEEDS = pickles.small_files()
GOLDENS = sorted((golden_cases.GOLDEN / "pickles").glob("*.p*"))
RECONSTRUCT = np.ones(1).__reduce__()[0]
NAMES = {
    "haiku._src.data_structures.FlatMapping": dict,
    "haiku._src.data_structures.FlatMap": dict,
    "numpy.core.multiarray._reconstruct": RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": RECONSTRUCT,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": codecs.encode,
}
# What is worth inserting: operations, lengths, and names.
PIECES = [
    *(bytes([code]) for code in pickle_reader._OPERATIONS),
    *(bytes([code]) for code in b".0125]aeioQPG\x80\x81\x92\x96\xff"),
    *(b"cposix\nsystem\n", b"\x8c\5posix\x8c\6system\x93", b"(K\1K\2t", b"h\0", b"j\0\1\0\0"),
    *(b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\0" * 8, b"\xff" * 8),
]


class ListedOnly(pickle.Unpickler):
    """Python's unpickler, with the same names."""

    def find_class(self, module: str, name: str) -> Any:
        return NAMES[f"{module}.{name}"]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Changes a file in one to four places."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice([1, 1, 2, 4, 8, 30, 200])
        match rng.randrange(7):
            case 0:  # Flip a bit.
                changed[at : at + 1] = bytes(
                    b ^ 1 << rng.randrange(8) for b in changed[at : at + 1]
                )
            case 1:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                changed[at : at + size] = b""
            case 3:
                changed[at:at] = rng.choice(PIECES)
            case 4:
                piece = rng.choice(PIECES)
                changed[at : at + len(piece)] = piece
            case 5:  # Repeat or move a part of this file.
                start = rng.randrange(len(changed) + 1)
                changed[at : at + rng.choice([0, size])] = changed[start : start + size]
            case 6:  # A part of another file.
                other = rng.choice(SEEDS)
                start = rng.randrange(len(other))
                changed[at : at + rng.choice([0, size])] = other[start : start + size]
    return bytes(changed)


def assert_same(ours: Any, theirs: Any) -> None:
    """Asserts that two readings agree, floating-point arrays as float32."""
    if isinstance(ours, Mapping):
        assert list(ours) == list(theirs)
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, np.ndarray):
        assert isinstance(theirs, np.ndarray) and ours.shape == theirs.shape
        with np.errstate(all="ignore"):
            expected = theirs.astype("f4" if theirs.dtype.kind == "f" else ours.dtype)
        assert ours.dtype == expected.dtype and ours.tobytes() == expected.tobytes()
        assert ours.dtype.kind == theirs.dtype.kind
    else:
        assert type(ours) is type(theirs) and ours == theirs


def try_mutations(path: pathlib.Path, seeds: list[bytes], count: int, seed: int) -> dict[str, int]:
    """Reads `count` mutations; returns how many were read and how many refused."""
    rng = random.Random(seed)
    counts = {"read": 0, "refused": 0}
    for _ in range(count):
        data = mutate(rng.choice(seeds), rng)
        path.write_bytes(data)
        try:
            params, state = deepmind.read(path)
        except CheckpointError as error:
            assert "\n" not in str(error) and str(path) in str(error), data
            counts["refused"] += 1
            continue
        try:
            theirs = ListedOnly(io.BytesIO(data)).load()
        except Exception as error:
            raise AssertionError(f"Python refuses {data!r}") from error
        wrapped = "params" in theirs
        assert_same(params, theirs["params"] if wrapped else theirs)
        assert_same(state, theirs.get("state", {}) if wrapped else {})
        counts["read"] += 1
    return counts


@pytest.mark.core
def test_a_thousand_mutations(tmp_path: pathlib.Path) -> None:
    counts = try_mutations(tmp_path / "file.pystate", SEEDS, 1000, seed=1)
    assert counts["read"] > 50 and counts["refused"] > 500, counts


@pytest.mark.slow
def test_many_mutations(tmp_path: pathlib.Path) -> None:
    counts = try_mutations(tmp_path / "file.pystate", SEEDS, 20_000, seed=2)
    assert counts["read"] > 1000 and counts["refused"] > 10_000, counts


@pytest.mark.slow
def test_mutations_of_the_emulated_files(tmp_path: pathlib.Path) -> None:
    goldens = [path.read_bytes() for path in GOLDENS]
    counts = try_mutations(tmp_path / "file.pystate", goldens, 1500, seed=3)
    assert counts["read"] > 100 and counts["refused"] > 500, counts
