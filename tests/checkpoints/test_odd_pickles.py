"""Pickles made by hand of listed operations, but not as NumPy writes arrays."""

import pathlib
import pickle
import struct
from typing import Any

import pytest

from perceiver_jax.checkpoints import deepmind
from tests.checkpoints import pickles

FLAT_MAPPING = b"chaiku._src.data_structures\nFlatMapping\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R"
MINUS_ONE = b"J\xff\xff\xff\xff"


def number_type(
    code: str = "f4",
    order: str = "<",
    *,
    flags: bytes = b"\x89\x88",
    version: bytes = b"K\3",
    details: bytes = b"NNN" + MINUS_ONE * 2 + b"K\0",
) -> bytes:
    """The operations that make a type of numbers."""
    made = b"cnumpy\ndtype\n" + text(code) + flags + b"\x87R"
    return made + b"(" + version + text(order) + details + b"tb"


def contents(
    shape: bytes = b"K\2\x85",
    dtype: bytes | None = None,
    data: bytes | None = None,
    *,
    version: bytes = b"K\1",
    fortran: bytes = b"\x89",
) -> bytes:
    """The operations that give the array on top of the stack its contents: two float32."""
    dtype = number_type() if dtype is None else dtype
    data = raw(bytes(8)) if data is None else data
    return b"(" + version + shape + dtype + fortran + data + b"tb"


def params(*arrays: bytes) -> bytes:
    """A pickle whose parameters are made by these operations."""
    modules = (text(f"m{i}") + b"}" + text("w") + array + b"s" for i, array in enumerate(arrays))
    return b"\x80\x03}(" + b"".join(modules) + b"u."


def test_an_array_by_hand_is_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file.pystate"
    path.write_bytes(params(EMPTY + contents(), EMPTY + contents(data=raw(b"\0\0\x80?" * 2))))
    read, _ = deepmind.read(path)
    assert read["m0"]["w"].tolist() == [0, 0] and read["m1"]["w"].tolist() == [1, 1]


HUGE = b"\x8a\x08" + b"\xff" * 7 + b"\x7f"  # 2**63 - 1


@pytest.mark.core
@pytest.mark.parametrize(
    "array",
    [
        EMPTY,  # Without contents.
        EMPTY + contents() + contents(),  # Twice.
        number_type(),
        raw(b"data"),
        EMPTY + contents(b"K\3\x85"),
        EMPTY + contents(b"K\1\x85"),
        EMPTY + contents(b")"),
        EMPTY + contents(b"K\2"),
        EMPTY + contents(MINUS_ONE * 2 + b"\x86"),
        EMPTY + contents(b"(J\xfe\xff\xff\xffJ\xff\xff\xff\xfft"),  # -2, -1.
        EMPTY + contents(b"\x88K\2\x86"),  # True, 2.
        EMPTY + contents(b"NK\2\x86"),
        EMPTY + contents(b"K\2" + text("2") + b"\x86"),
        EMPTY + contents(b"K\2C\1b\x86"),
        EMPTY + contents(b"(K\2" + b"K\1" * 8 + b"t"),  # Nine axes.
        EMPTY + contents(HUGE + b"\x85"),
        EMPTY + contents(b"K\0" + HUGE * 2 + b"\x87", data=raw(b"")),
        EMPTY + contents(HUGE * 3 + b"\x87"),
        EMPTY + contents(dtype=number_type("O8", "|", details=b"NNN" + MINUS_ONE * 2 + b"K?")),
        EMPTY + contents(dtype=number_type("O8")),
        EMPTY + contents(dtype=number_type("V4")),
        EMPTY + contents(dtype=number_type("f4,f4")),
        EMPTY + contents(dtype=number_type("float32")),
        EMPTY + contents(dtype=number_type("<f4")),
        EMPTY + contents(dtype=number_type("2f4")),
        EMPTY + contents(dtype=number_type("")),
        EMPTY + contents(dtype=number_type(order="|")),
        EMPTY + contents(dtype=number_type(order="")),
        EMPTY + contents(dtype=number_type(order="<>")),
        EMPTY + contents(dtype=number_type(order="S")),
        EMPTY + contents(dtype=number_type(flags=b"\x88\x88")),
        EMPTY + contents(dtype=number_type(flags=b"NN")),
        EMPTY + contents(dtype=number_type(version=b"K\4")),
        EMPTY + contents(dtype=number_type(details=b"NNNK\4K\4K\0")),
        EMPTY + contents(dtype=number_type(details=b"N}N" + MINUS_ONE * 2 + b"K\0")),
        EMPTY + contents(dtype=number_type(details=b"NNN" + MINUS_ONE * 2 + b"K?")),
        EMPTY + contents(dtype=number_type(details=b"NNN" + MINUS_ONE * 2 + b"K\0}")),
        EMPTY + contents(dtype=b"cnumpy\ndtype\nX\2\0\0\0f4\x89\x88\x87R"),  # No byte order.
        EMPTY + contents(dtype=b"cnumpy\ndtype\n"),
        EMPTY + contents(dtype=text("f4")),
        EMPTY + contents(dtype=b"N"),
        EMPTY + contents(data=text("12345678")),
        EMPTY + contents(data=text("1" * 8000)),
        EMPTY + contents(data=b"N"),
        EMPTY + contents(data=EMPTY),
        EMPTY + contents(version=b"K\0"),
        EMPTY + contents(version=b"N"),
        EMPTY + contents(fortran=b"K\0"),
        EMPTY + contents(fortran=b"N"),
        EMPTY + b"}b",
        EMPTY + b")b",
        EMPTY + b"Nb",
        EMPTY.replace(b"C\1b", b"C\1O") + contents(),
        EMPTY.replace(b"C\1b", b"C\2bb") + contents(),
        EMPTY.replace(b"C\1b", text("b")) + contents(),
        EMPTY.replace(b"K\0\x85", b"K\1\x85") + contents(),
        EMPTY.replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n") + contents(),
    ],
)
def test_arrays_that_are_not_as_numpy_writes_them(tmp_path: pathlib.Path, array: bytes) -> None:
    pickles.refusal(tmp_path, params(EMPTY + contents(), array), 200_000)


def test_repetition_does_not_multiply_memory(tmp_path: pathlib.Path) -> None:
    # Each mapping has the one before it ten times.
    laughs = b"}\x94" + b"".join(
        b"}" + b"".join(b"\x8c\1%ch%cs" % (97 + i, level) for i in range(10)) + b"\x94"
        for level in range(20)
    )
    assert "nowhere else" in pickles.refusal(tmp_path, b"\x80\x04" + laughs + b".", 100_000)

    # The same bytes, made into many arrays of another type or order.
    half = contents(b"J\0\0\x10\0\x85", number_type("f2"), raw(bytes(2 << 20)) + b"r\0\1\0\0")
    again = contents(b"J\0\0\x10\0\x85", number_type("f2"), b"j\0\1\0\0")
    data = params(EMPTY + half, *[EMPTY + again] * 2000)
    assert "fewer arrays" in pickles.refusal(tmp_path, data, 8 << 20)

    # The same text, made into bytes many times.
    encode = b"c_codecs\nencode\nq\0" + text("\xff" * 2000) + b"q\1" + text("latin1") + b"q\2"
    many = b"h\0h\1h\2\x86R\x94" * 30_000
    assert "less text" in pickles.refusal(tmp_path, b"\x80\x04" + encode + many + b".")


def test_text_that_stands_for_bytes(tmp_path: pathlib.Path) -> None:
    def encoded(value: bytes) -> bytes:
        operations = b"c_codecs\nencode\nX" + struct.pack("<I", len(value)) + value
        return b"\x80\x03" + operations + text("latin1") + b"\x86R."

    for value in (b"\xff", b"\xed\xa0\x80", "\u0100".encode(), "\U0001f600".encode()):
        pickles.refusal(tmp_path, encoded(value))
        # Where pieces meet, and at the end.
        for before in (5000, (1 << 18) - 1, 1 << 18):
            message = pickles.refusal(tmp_path, encoded(b"a" * before + value))
            assert "text that stands for bytes" in message
    message = pickles.refusal(tmp_path, encoded(b"a" * 5000 + "\xff".encode()[:1]))
    assert "text that stands for bytes" in message


def test_mappings_in_themselves(tmp_path: pathlib.Path) -> None:
    pickles.refusal(tmp_path, b"\x80\x04}\x94\x8c\1ah\0s.")
    pickles.refusal(tmp_path, b"\x80\x04}\x94\x8c\1a}\x94\x8c\1bh\0ss.")
    pickles.refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x8c\1ah\0s\x85R.")
    # Into the dict, after Haiku's mapping was made of it.
    pickles.refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x85R\x94h\0\x8c\1ah\1ss.")
    pickles.refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x85R\x94\x8c\1ah\1s.")
    # By Python itself.
    mapping: dict[str, Any] = {}
    mapping["a"] = mapping
    pickles.refusal(tmp_path, pickle.dumps(mapping, 4))
