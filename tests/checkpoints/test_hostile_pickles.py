"""Pickles that try to run code, to exhaust the memory or the stack, or to confuse the reader."""

import functools
import os
import pathlib
import pickle
import shutil
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perceiver_jax.checkpoints import pickle_reader, pickle_values
from tests.checkpoints import pickles

FLAT_MAPPING = b"chaiku._src.data_structures\nFlatMapping\n"


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
        message = pickles.refusal(tmp_path, pickle.dumps(hidings(call)[place], protocol))
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
        message = pickles.refusal(tmp_path, data)
        assert "is refused" in message and "Nothing in it was run" in message
        if f"{module}{name}".isascii():
            assert f"it asks for {module}.{name}," in message


def test_listed_names_are_never_imported_and_only_called_as_arrays_need(
    tmp_path: pathlib.Path,
) -> None:
    listed = [f"c{module}\n{name}\n".encode() for module, name in pickle_values.GLOBALS]
    assert len(listed) == 7
    for function in listed:
        assert "one mapping" in pickles.refusal(tmp_path, b"\x80\x03" + function + b".")
        for args in (
            b")",
            b"N\x85",
            b"}K\x01\x86",
            b"U",
            b"X\x02\0\0\0f4\x85",
            FLAT_MAPPING + b"\x85",
        ):
            pickles.refusal(tmp_path, b"\x80\x03}X\x01\0\0\0m" + function + args + b"Rs.")
    # numpy.ndarray with a shape of a petabyte; bytes by way of a codec that decompresses.
    pickles.refusal(tmp_path, b"\x80\x03cnumpy\nndarray\n\x8a\x07\0\0\0\0\0\0\4\x85\x85R.")
    encode = b"\x80\x03c_codecs\nencode\n\x8c\x03abc\x8c\x03%s\x86R."
    for codec in (b"zip", b"bz2", b"hex"):
        pickles.refusal(tmp_path, encode % codec)


@pytest.mark.parametrize("code", sorted(set(range(256)) - set(pickle_reader._OPERATIONS) - {46}))
def test_other_operations_are_refused_by_name(tmp_path: pathlib.Path, code: int) -> None:
    names = {
        value[0]: name
        for name, value in vars(pickle).items()
        if name.isupper() and isinstance(value, bytes) and len(value) == 1
    }
    message = pickles.refusal(tmp_path, b"\x80\x04}" + bytes([code]) + b"os\nsystem\n.")
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
            message = pickles.refusal(tmp_path, b"\x80\x04" + before + operation + after, 100_000)
            assert "ends too early" in message


def test_frames_hold_whole_operations(tmp_path: pathlib.Path) -> None:
    data = pickle.dumps(pickles.small_params(), 4)
    size = struct.unpack("<Q", data[3:11])[0]
    assert data[2] == 0x95 and size == len(data) - 11
    for shorter in (4, size - 10, 2**63):
        pickles.refusal(tmp_path, data[:3] + struct.pack("<Q", shorter) + data[11:])
    nested = data[:3] + struct.pack("<Q", size + 9) + data[2:3] + struct.pack("<Q", 1) + data[11:]
    assert "no frame in a frame" in pickles.refusal(tmp_path, nested)


def test_other_lengths(tmp_path: pathlib.Path) -> None:
    pickles.refusal(
        tmp_path, b"\x80\x04\x8a\xff" + bytes(255) + b".", 100_000
    )  # A number of 255 bytes.
    pickles.refusal(tmp_path, b"\x80\x04\x8b" + FOUR + b".", 100_000)
    pickles.refusal(tmp_path, b"\x80\x05\x96" + EIGHT + b".", 100_000)
    pickles.refusal(
        tmp_path, b"\x80\x04c" + b"a" * 1_000_000 + b"\n", 100_000
    )  # A name of a megabyte.
    long = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
    pickles.refusal(tmp_path, b"\x80\x04" + long + long + b"\x93.")
    pickles.refusal(tmp_path, b"\x80\x04}" + long + b"Ns.")


@pytest.mark.core
@pytest.mark.parametrize("index", [200_000, 2**31, 2**32 - 1])
def test_large_memo_numbers_allocate_nothing(tmp_path: pathlib.Path, index: int) -> None:
    put = b"r" + struct.pack("<I", index)
    assert "memo number" in pickles.refusal(tmp_path, b"\x80\x03}" + put + b".", 100_000)
    get = b"j" + struct.pack("<I", index)
    assert "earlier memo" in pickles.refusal(tmp_path, b"\x80\x03}" + get + b".", 100_000)


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
    pickles.refusal(tmp_path, b"\x80\x04" + MANY[what] + b".", 32 << 20)


def test_the_most_that_can_be_held_is_bounded(tmp_path: pathlib.Path) -> None:
    # Mappings, each in the memo and, by a name of its own, in one mapping.
    entries = b"".join(b"\x8c\4%04x}\x94s" % i for i in range(60_000))
    message = pickles.refusal(tmp_path, b"\x80\x04}" + entries, 64 << 20)
    assert "operations" in message
