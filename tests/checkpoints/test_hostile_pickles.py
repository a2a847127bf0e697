"""Pickles that try to run code, to exhaust the memory or the stack, or to confuse the reader."""

import functools
import os
import pathlib
import pickle
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perceiver_jax.checkpoints import deepmind, pickle_reader, pickle_values
from perceiver_jax.errors import CheckpointError
from tests.checkpoints import pickles

# The reader may hold this much beside the arrays of a file.
MEMORY = 4 << 20

FLAT_MAPPING = b"chaiku._src.data_structures\nFlatMapping\n"


def refusal(directory: pathlib.Path, data: bytes, memory: int = MEMORY) -> str:
    """The message, of one line, with which a file is refused; little memory is used for that."""
    path = directory / "file.pystate"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            deepmind.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 600
    assert peak < memory
    return message


class Call:
    """Something that is pickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def hidings(call: Any) -> dict[str, Any]:
    """Places for a call to hide in."""
    params = pickles.small_params()
    return {
        "alone": call,
        "module": {"linear": call},
        "parameter": {"linear": {"b": params["linear"]["b"], "w": call}},
        "beside": {"params": params, "state": {}, "step": call},
        "state": {"params": pickles.flat(params), "state": pickles.flat({"a": call})},
        "name": {call: params["linear"]},
        "object array": {"m": {"w": np.array([call], dtype=object)}},
        "list": {"m": {"w": [call]}},
    }


@pytest.mark.core
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("place", hidings(None))
def test_no_call_is_made_wherever_it_hides(
    tmp_path: pathlib.Path, place: str, protocol: int
) -> None:
    canary = tmp_path / "canary"
    calls = {
        "posix.system": Call(os.system, f"touch {canary}"),
        "eval": Call(eval, f"open({str(canary)!r}, 'w')"),
        "exec": Call(exec, f"open({str(canary)!r}, 'w')"),
        "open": Call(open, str(canary), "w"),
        "shutil.copy": Call(shutil.copy, __file__, str(canary)),
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(open, str(canary), "w"))),
        "functools.partial": Call(functools.partial, open, str(canary), "w"),
    }
    for name, call in calls.items():
        message = refusal(tmp_path, pickle.dumps(hidings(call)[place], protocol))
        assert not canary.exists()
        if "object array" in place:
            assert "the type 'O8'" in message
        elif place == "list":
            assert "EMPTY_LIST" in message
        elif protocol == 5 and place in ("parameter", "beside", "state"):
            assert "_frombuffer" in message  # It comes first.
        else:
            assert f"{name}, which no file" in message and "Nothing in it was run" in message


def test_the_calls_would_have_been_made(tmp_path: pathlib.Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps({"m": {"w": Call(os.system, f"touch {canary}")}}))
    assert canary.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("builtins", "dict"),
        ("__builtin__", "exec"),
        ("numpy", "load"),
        ("numpy", "core.os.system"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "dtype.__class__"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct.__globals__"),
        ("numpy.ndarray", ""),
        ("", "numpy.ndarray"),
        ("_codecs", "lookup"),
        ("haiku._src.data_structures", "sys.modules"),
        ("haiku._src.data_structures", "FlatMapping.__init__"),
        ("haiku", "data_structures.FlatMapping"),
        ("jaxlib.xla_extension", "DeviceArray"),
        ("NUMPY", "ndarray"),
        ("numpy ", "ndarray"),
        ("ｎumpy", "ndarray"),
    ],
)
def test_names_that_are_not_listed(tmp_path: pathlib.Path, module: str, name: str) -> None:
    texts = [m.encode() for m in (module, name)]
    by_line = b"\x80\x03c" + b"\n".join(texts) + b"\n)R."
    on_stack = b"\x80\x04" + b"".join(b"\x8c%c%s" % (len(t), t) for t in texts) + b"\x93)R."
    for data in (by_line, on_stack):
        message = refusal(tmp_path, data)
        assert "is refused" in message and "Nothing in it was run" in message
        if f"{module}{name}".isascii():
            assert f"it asks for {module}.{name}," in message


def test_listed_names_are_never_imported_and_only_called_as_arrays_need(
    tmp_path: pathlib.Path,
) -> None:
    listed = [f"c{module}\n{name}\n".encode() for module, name in pickle_values.GLOBALS]
    assert len(listed) == 7
    for function in listed:
        assert "one mapping" in refusal(tmp_path, b"\x80\x03" + function + b".")
        for args in (
            b")",
            b"N\x85",
            b"}K\x01\x86",
            b"U",
            b"X\x02\0\0\0f4\x85",
            FLAT_MAPPING + b"\x85",
        ):
            refusal(tmp_path, b"\x80\x03}X\x01\0\0\0m" + function + args + b"Rs.")
    # numpy.ndarray with a shape of a petabyte; bytes by way of a codec that decompresses.
    refusal(tmp_path, b"\x80\x03cnumpy\nndarray\n\x8a\x07\0\0\0\0\0\0\4\x85\x85R.")
    encode = b"\x80\x03c_codecs\nencode\n\x8c\x03abc\x8c\x03%s\x86R."
    for codec in (b"zip", b"bz2", b"hex"):
        refusal(tmp_path, encode % codec)


@pytest.mark.parametrize("code", sorted(set(range(256)) - set(pickle_reader._OPERATIONS) - {46}))
def test_other_operations_are_refused_by_name(tmp_path: pathlib.Path, code: int) -> None:
    names = {
        value[0]: name
        for name, value in vars(pickle).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == 1
    }
    message = refusal(tmp_path, b"\x80\x04}" + bytes([code]) + b"os\nsystem\n.")
    assert f"the operation {names.get(code, f'0x{code:02x}')}, which" in message
    assert len(names) > 60


EIGHT = struct.pack("<Q", 10_000_000_000)
FOUR = struct.pack("<I", 4_000_000_000)


@pytest.mark.core
@pytest.mark.parametrize(
    "operation",
    [
        *(code + EIGHT for code in (b"\x8d", b"\x8e", b"\x95")),
        *(code + b"\xff" * 8 for code in (b"\x8d", b"\x8e", b"\x95")),
        *(code + FOUR for code in (b"X", b"B")),
        *(code + b"\xff" for code in (b"C", b"\x8c")),
    ],
)
def test_lengths_beyond_the_file_allocate_nothing(tmp_path: pathlib.Path, operation: bytes) -> None:
    for before in (b"", b"}", b"}\x94("):
        for after in (b"", b".", bytes(200)):
            message = refusal(tmp_path, b"\x80\x04" + before + operation + after, 100_000)
            assert "ends too early" in message


def test_frames_hold_whole_operations(tmp_path: pathlib.Path) -> None:
    data = pickle.dumps(pickles.small_params(), 4)
    size = struct.unpack("<Q", data[3:11])[0]
    assert data[2] == 0x95 and size == len(data) - 11
    for shorter in (4, size - 10, 2**63):
        refusal(tmp_path, data[:3] + struct.pack("<Q", shorter) + data[11:])
    nested = data[:3] + struct.pack("<Q", size + 9) + data[2:3] + struct.pack("<Q", 1) + data[11:]
    assert "no frame in a frame" in refusal(tmp_path, nested)


def test_other_lengths(tmp_path: pathlib.Path) -> None:
    refusal(tmp_path, b"\x80\x04\x8a\xff" + bytes(255) + b".", 100_000)  # A number of 255 bytes.
    refusal(tmp_path, b"\x80\x04\x8b" + FOUR + b".", 100_000)
    refusal(tmp_path, b"\x80\x05\x96" + EIGHT + b".", 100_000)
    refusal(tmp_path, b"\x80\x04c" + b"a" * 1_000_000 + b"\n", 100_000)  # A name of a megabyte.
    long = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
    refusal(tmp_path, b"\x80\x04" + long + long + b"\x93.")
    refusal(tmp_path, b"\x80\x04}" + long + b"Ns.")


@pytest.mark.core
@pytest.mark.parametrize("index", [200_000, 2**31, 2**32 - 1])
def test_large_memo_numbers_allocate_nothing(tmp_path: pathlib.Path, index: int) -> None:
    put = b"r" + struct.pack("<I", index)
    assert "memo number" in refusal(tmp_path, b"\x80\x03}" + put + b".", 100_000)
    get = b"j" + struct.pack("<I", index)
    assert "earlier memo" in refusal(tmp_path, b"\x80\x03}" + get + b".", 100_000)


MILLION = 1_000_000
MANY = {
    "marks": b"(" * MILLION,
    "mappings": b"}" * MILLION,
    "lists": b"]" * MILLION,
    "tuples": b")" + b"\x85" * MILLION,
    "pairs": b")q\0" + b"h\0\x86q\0" * MILLION,
    "pairs of pairs": b")\x94" + b"h\0\x94h\0\x86\x94" * MILLION,
    "marked tuples": b"(" * MILLION + b"t" * MILLION,
    "mappings in mappings": b"}" + b"\x8c\1a}" * MILLION + b"s" * MILLION,
    "bottom first": b"}q\0" + b"}\x8c\1ah\0sq\0" * MILLION,
    "haiku in haiku": (FLAT_MAPPING + b"}\x8c\1a") * 20_000 + b"}" + b"s\x85R" * 20_000,
    "wrapped again": FLAT_MAPPING + b"q\1}" + b"q\0h\1h\0\x85R" * MILLION,
    "frames": b"\x95" + bytes(8) + (b"\x95" + bytes(8)) * MILLION,
    "memos": b"}" + b"\x94" * MILLION,
    "numbers": b"K\1" * MILLION,
    "empty bytes": b"C\0\x94" * MILLION,
    "names": b"\x8c\1a\x94" * MILLION,
    "globals": b"cnumpy\ndtype\n" * MILLION,
}


@pytest.mark.core
@pytest.mark.parametrize("what", MANY)
def test_masses_and_depths_are_bounded(tmp_path: pathlib.Path, what: str) -> None:
    refusal(tmp_path, b"\x80\x04" + MANY[what] + b".", 32 << 20)


def test_the_most_that_can_be_held_is_bounded(tmp_path: pathlib.Path) -> None:
    # Mappings, each in the memo and, by a name of its own, in one mapping.
    entries = b"".join(b"\x8c\4%04x}\x94s" % i for i in range(60_000))
    message = refusal(tmp_path, b"\x80\x04}" + entries, 64 << 20)
    assert "operations" in message


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
    refusal(tmp_path, params(EMPTY + contents(), array), 200_000)


def test_repetition_does_not_multiply_memory(tmp_path: pathlib.Path) -> None:
    # Each mapping has the one before it ten times.
    laughs = b"}\x94" + b"".join(
        b"}" + b"".join(b"\x8c\1%ch%cs" % (97 + i, level) for i in range(10)) + b"\x94"
        for level in range(20)
    )
    assert "nowhere else" in refusal(tmp_path, b"\x80\x04" + laughs + b".", 100_000)

    # The same bytes, made into many arrays of another type or order.
    half = contents(b"J\0\0\x10\0\x85", number_type("f2"), raw(bytes(2 << 20)) + b"r\0\1\0\0")
    again = contents(b"J\0\0\x10\0\x85", number_type("f2"), b"j\0\1\0\0")
    data = params(EMPTY + half, *[EMPTY + again] * 2000)
    assert "fewer arrays" in refusal(tmp_path, data, 8 << 20)

    # The same text, made into bytes many times.
    encode = b"c_codecs\nencode\nq\0" + text("\xff" * 2000) + b"q\1" + text("latin1") + b"q\2"
    many = b"h\0h\1h\2\x86R\x94" * 30_000
    assert "less text" in refusal(tmp_path, b"\x80\x04" + encode + many + b".")


def test_text_that_stands_for_bytes(tmp_path: pathlib.Path) -> None:
    def encoded(value: bytes) -> bytes:
        operations = b"c_codecs\nencode\nX" + struct.pack("<I", len(value)) + value
        return b"\x80\x03" + operations + text("latin1") + b"\x86R."

    for value in (b"\xff", b"\xed\xa0\x80", "\u0100".encode(), "\U0001f600".encode()):
        refusal(tmp_path, encoded(value))
        # Where pieces meet, and at the end.
        for before in (5000, (1 << 18) - 1, 1 << 18):
            message = refusal(tmp_path, encoded(b"a" * before + value))
            assert "text that stands for bytes" in message
    message = refusal(tmp_path, encoded(b"a" * 5000 + "\xff".encode()[:1]))
    assert "text that stands for bytes" in message


def test_mappings_in_themselves(tmp_path: pathlib.Path) -> None:
    refusal(tmp_path, b"\x80\x04}\x94\x8c\1ah\0s.")
    refusal(tmp_path, b"\x80\x04}\x94\x8c\1a}\x94\x8c\1bh\0ss.")
    refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x8c\1ah\0s\x85R.")
    # Into the dict, after Haiku's mapping was made of it.
    refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x85R\x94h\0\x8c\1ah\1ss.")
    refusal(tmp_path, b"\x80\x04" + FLAT_MAPPING + b"}\x94\x85R\x94\x8c\1ah\1s.")
    # By Python itself.
    mapping: dict[str, Any] = {}
    mapping["a"] = mapping
    refusal(tmp_path, pickle.dumps(mapping, 4))
