"""What a pickle of arrays is made of: values, the names that it may ask for, the rest's names.

For `pickle_reader`, which tells what becomes of them.
"""

import dataclasses
import enum
from typing import Any

import numpy as np

# The types of numbers that an array may have, by NumPy's codes for them.
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class Global(enum.Enum):
    """What a name in the file stands for."""

    MAPPING = enum.auto()  # Haiku's mapping, which is made of a dict.
    RECONSTRUCT = enum.auto()  # Makes an empty array, whose contents come later.
    NDARRAY = enum.auto()
    DTYPE = enum.auto()
    ENCODE = enum.auto()  # Makes bytes of text: protocol 2 has no other way to write them.


GLOBALS = {
    ("haiku._src.data_structures", "FlatMapping"): Global.MAPPING,
    ("haiku._src.data_structures", "FlatMap"): Global.MAPPING,
    ("numpy.core.multiarray", "_reconstruct"): Global.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Global.RECONSTRUCT,  # NumPy 2's name for it.
    ("numpy", "ndarray"): Global.NDARRAY,
    ("numpy", "dtype"): Global.DTYPE,
    ("_codecs", "encode"): Global.ENCODE,
}


class Mapping(dict[str, Any]):
    """A mapping from the file."""

    levels = 1  # Of mappings, this one included.
    done = False  # Nothing is added any more: it has been wrapped or placed.
    placed = False  # It stands in another mapping.


@dataclasses.dataclass(eq=False, slots=True)
class Bytes:
    """Bytes from the file, uint8 [n]."""

    data: np.ndarray


@dataclasses.dataclass(eq=False, slots=True)
class LongText:
    """Text too long for a name: it can only stand for bytes, and is held as these, uint8 [n]."""

    data: np.ndarray


@dataclasses.dataclass(eq=False, slots=True)
class Array:
    """An array; empty until its contents come."""

    value: np.ndarray | None = None


@dataclasses.dataclass(eq=False, slots=True)
class DType:
    """A type of numbers; incomplete until its byte order comes."""

    code: str
    value: np.dtype | None = None


# The operations of pickles that the reader does not know, for messages: code in hexadecimal, name.
_REFUSED = """
    30:POP 31:POP_MARK 32:DUP 46:FLOAT 47:BINFLOAT 49:INT 4c:LONG 50:PERSID 51:BINPERSID 53:STRING
    54:BINSTRING 55:SHORT_BINSTRING 56:UNICODE 5d:EMPTY_LIST 61:APPEND 64:DICT 65:APPENDS 67:GET
    69:INST 6c:LIST 6f:OBJ 70:PUT 80:PROTO 81:NEWOBJ 82:EXT1 83:EXT2 84:EXT4 8b:LONG4 8f:EMPTY_SET
    90:ADDITEMS 91:FROZENSET 92:NEWOBJ_EX 96:BYTEARRAY8 97:NEXT_BUFFER 98:READONLY_BUFFER
"""
REFUSED_OPERATIONS = {
    int(code, 16): name for code, name in (entry.split(":") for entry in _REFUSED.split())
}
