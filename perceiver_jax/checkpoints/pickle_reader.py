"""Reads mappings of NumPy arrays from a pickle, without running the pickle.

A pickle is a program for a small stack machine that can import anything and call it. This is a
machine of our own, that knows only what a mapping of arrays needs: the operations of protocols 2
to 5 for mappings, tuples, text, bytes, integers and None, and the names in `GLOBALS`. A name is
never imported: it is a marker, and what is done with it (an array is made, a mapping is wrapped)
is written out here. Everything else is refused, by name, before anything has come of it.

Nor can a file have this machine use much memory or time. A length is compared with the bytes that
the file still has before anything is allocated; the arrays together are no larger than the file;
the operations, the stack and the memo are bounded. A mapping is finished once it stands in another
one, and stands nowhere else, so nothing is nested deeply, or in itself, or blown up by repetition.
Arrays are read straight into memory of their own, so reading adds about the size of the file.

The operations: Lib/pickletools.py of CPython. Arrays: `ndarray.__reduce__` of NumPy.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_jax.checkpoints.bounded_file import MAX_NAME, BoundedFile, shown
from perceiver_jax.checkpoints.pickle_values import (
    DTYPES,
    GLOBALS,
    REFUSED_OPERATIONS,
    Array,
    Bytes,
    DType,
    Global,
    LongText,
    Mapping,
)
from perceiver_jax.errors import CheckpointError

# All ten times what the largest released checkpoint (457 arrays) comes to, or more.
MAX_OPERATIONS = 200_000
MAX_STACK = 10_000  # Python writes at most 1000 entries of a mapping at once.
MAX_MARKS = 64

MAX_LEVELS = 3  # {"params": {module: {name: array}}}
MAX_TUPLE = 8  # The types of arrays come with tuples of 8; a shape may be as long.


def read(path: Path) -> dict[str, Any]:
    """Reads a pickle that holds a mapping.

    Args:
      path: the file.

    Returns:
      The mapping. Its values are NumPy arrays, integers, booleans, None, and mappings like it, of
      at most `MAX_LEVELS` levels. Floating-point arrays are float32 whatever they are in the file;
      all are in this machine's byte order, in C order, and writable.

    Raises:
      CheckpointError: the file is damaged, or asks for anything else. The message is one line.
    """
    try:
        with path.open("rb") as file:
            return _Machine(BoundedFile(path, file)).run()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except MemoryError as error:
        raise CheckpointError(f"{path} holds more than this machine has memory for.") from error


class _Machine:
    """The machine, for one file."""

    def __init__(self, file: BoundedFile):
        self._file = file
        self._stack: list[Any] = []
        self._marks: list[int] = []  # How high the stack was at each mark.
        self._memo: dict[int, Any] = {}
        self._frame_end = 0
        self._array_bytes = 0
        self._text_bytes = 0

    def run(self) -> dict[str, Any]:
        """Reads the whole file."""
        file = self._file
        head = file.read(2)
        file.expect(head[0] == 0x80 and 2 <= head[1] <= 5, "a pickle of protocol 2 to 5")
        for _ in range(MAX_OPERATIONS):
            file.start = file.position
            code = file.read(1)[0]
            if code == ord("."):
                return self._result()
            if code not in _OPERATIONS:
                file.refuse(f"the operation {REFUSED_OPERATIONS.get(code, f'0x{code:02x}')}")
            _OPERATIONS[code](self)
            crosses = file.start < self._frame_end < file.position
            file.expect(not crosses, "an operation that ends within its frame")
            if len(self._stack) > MAX_STACK or len(self._marks) > MAX_MARKS:
                file.refuse("too many values at once")
        file.refuse(f"more than {MAX_OPERATIONS} operations")

    def _result(self) -> dict[str, Any]:
        only = len(self._stack) == 1 and not self._marks and isinstance(self._stack[0], Mapping)
        self._file.expect(only, "one mapping when the pickle ends")
        rest = self._file.size - self._file.position
        self._file.expect(rest == 0, f"the end of the file, not {rest} bytes more")
        return self._stack[0]

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self, count: int) -> list[Any]:
        """Takes `count` values from the stack, none from below the last mark."""
        start = len(self._stack) - count
        self._file.expect(start >= (self._marks[-1] if self._marks else 0), "another value before")
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _pop_mark(self) -> list[Any]:
        """Takes the last mark, and the values after it."""
        self._file.expect(bool(self._marks), "a mark before")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _top(self) -> Any:
        (value,) = self._pop(1)
        self._stack.append(value)
        return value

    # Operations.

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def frame(self) -> None:
        """Begins a frame: that many bytes of whole operations, for reading ahead."""
        self._file.expect(self._file.start >= self._frame_end, "no frame in a frame")
        size = self._file.read_number(8)
        self._file.need(size)
        self._frame_end = self._file.position + size

    def put(self, size: int) -> None:
        self._memorise(self._file.read_number(size))

    def memoize(self) -> None:
        self._memorise(len(self._memo))

    def _memorise(self, index: int) -> None:
        self._file.expect(index < MAX_OPERATIONS, f"a memo number below {MAX_OPERATIONS}")
        self._memo[index] = self._top()

    def get(self, size: int) -> None:
        index = self._file.read_number(size)
        self._file.expect(index in self._memo, "the number of an earlier memo")
        self.push(self._memo[index])

    def integer(self, size: int, signed: bool) -> None:
        self.push(self._file.read_number(size, signed=signed))

    def long(self) -> None:
        size = self._file.read_number(1)
        self._file.expect(size <= 8, "an integer of at most 8 bytes")
        self.push(self._file.read_number(size, signed=True))

    def text(self, size: int) -> None:
        count = self._file.read_number(size)
        if count <= MAX_NAME:
            self.push(self._file.read_name(count))
        else:
            self.push(LongText(self._file.read_latin1(count)))

    def raw(self, size: int) -> None:
        self.push(Bytes(self._file.read_array(self._file.read_number(size))))

    def make_tuple(self, items: list[Any]) -> None:
        self._file.expect(len(items) <= MAX_TUPLE, f"a tuple of at most {MAX_TUPLE} items")
        inner = (i for item in items if isinstance(item, tuple) for i in item)
        self._file.expect(not any(isinstance(i, tuple) for i in inner), "a tuple less deep")
        self.push(tuple(items))

    def set_items(self, items: list[Any]) -> None:
        mapping = self._top()
        self._file.expect(isinstance(mapping, Mapping) and not mapping.done, "a mapping to fill")
        self._file.expect(len(items) % 2 == 0, "a value for each name")
        for name, value in zip(items[::2], items[1::2], strict=True):
            self._file.expect(isinstance(name, str), "a name that is text")
            self._file.expect(name not in mapping, "a name that the mapping does not have yet")
            mapping[name] = self._entry(mapping, value)

    def _entry(self, mapping: Mapping, value: Any) -> Any:
        """Checks a value that is about to be placed in `mapping`."""
        match value:
            case Array(np.ndarray() as array):
                return array
            case Mapping(placed=False) if value is not mapping:
                value.done = value.placed = True
                mapping.levels = max(mapping.levels, value.levels + 1)
                self._file.expect(mapping.levels <= MAX_LEVELS, "a mapping less deep")
                return value
            case int() | None:
                return value
        self._file.damaged("there should be an array, or a mapping that stands nowhere else")

    def global_(self) -> None:
        module = self._file.read_line()
        self._find(module, self._file.read_line())

    def stack_global(self) -> None:
        module, name = self._pop(2)
        self._file.expect(isinstance(module, str) and isinstance(name, str), "two names before")
        self._find(module, name)

    def _find(self, module: str, name: str) -> None:
        """Puts the marker for a name on the stack, or refuses it."""
        if (module, name) not in GLOBALS:
            mend = ""
            if name == "_frombuffer" and module in ("numpy.core.numeric", "numpy._core.numeric"):
                mend = "NumPy writes arrays so with pickle protocol 5: save them with protocol 4."
            self._file.refuse(shown(f"{module}.{name}"), mend)
        self.push(GLOBALS[module, name])

    def reduce(self) -> None:
        """Does what a call of a name stands for."""
        function, args = self._pop(2)
        match function, args:
            case Global.MAPPING, (Mapping() as mapping,):
                mapping.done = True
                self.push(mapping)
            case Global.RECONSTRUCT, (Global.NDARRAY, (0,), Bytes(kind)) if _is_b(kind):
                self.push(Array())
            case Global.DTYPE, (str(code), False | 0, True | 1):
                if code not in DTYPES:
                    self._file.refuse(f"arrays of the type '{shown(code)}'")
                self.push(DType(code))
            case Global.ENCODE, (LongText(data), "latin1"):
                self.push(Bytes(data))
            case Global.ENCODE, (str(text), "latin1") if all(c <= "\xff" for c in text):
                # The same text may be asked for again and again.
                self._text_bytes += len(text)
                self._file.expect(self._text_bytes <= self._file.size, "less text in such a file")
                self.push(Bytes(np.frombuffer(bytearray(text, "latin-1"), np.uint8)))
            case _:
                called = function.name.lower() if isinstance(function, Global) else "a value"
                self._file.damaged(f"there should not be a call of {called} with such arguments")

    def build(self) -> None:
        """Gives an array its contents, or a type its byte order."""
        (state,) = self._pop(1)
        match self._top(), state:
            case DType(code, None) as dtype, (3, str(order), None, None, None, -1, -1, 0):
                known = order in ("<", ">", "=") or (order == "|" and code[1] == "1")
                self._file.expect(known, "a byte order")
                dtype.value = np.dtype(code).newbyteorder(order)  # type: ignore[arg-type]
            case (
                Array(None) as array,
                (1, tuple(shape), DType(_, np.dtype() as kind), bool(fortran), Bytes(data)),
            ):
                array.value = self._array(shape, kind, fortran, data)
            case _:
                self._file.damaged("there should be the contents of an array, or of its type")

    def _array(
        self, shape: tuple[Any, ...], dtype: np.dtype, fortran: bool, data: np.ndarray
    ) -> np.ndarray:
        """The array of this shape and type whose bytes are `data`."""
        self._file.expect(all(type(n) is int and n >= 0 for n in shape), "a shape")
        self._file.expect(math.prod(max(n, 1) for n in shape) < 1 << 48, "a shape that can be")
        self._file.expect(
            math.prod(shape) * dtype.itemsize == data.size,
            f"the bytes of an array {dtype} {list(shape)}, not {data.size} bytes",
        )
        # Two arrays can be made of the same bytes, and changed in type or order each for itself.
        self._array_bytes += data.size
        self._file.expect(self._array_bytes <= self._file.size, "fewer arrays in such a file")
        array = data.view(dtype).reshape(shape, order="F" if fortran else "C")
        wanted = np.dtype(np.float32) if dtype.kind == "f" else dtype.newbyteorder("=")
        with np.errstate(all="ignore"):  # A float64 may be too large for float32, or a NaN.
            return array.astype(wanted, order="C", copy=False)


def _is_b(data: np.ndarray) -> bool:
    return data.size == 1 and data[0] == ord("b")


_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord(")"): lambda machine: machine.make_tuple([]),
    0x85: lambda machine: machine.make_tuple(machine._pop(1)),
    0x86: lambda machine: machine.make_tuple(machine._pop(2)),
    0x87: lambda machine: machine.make_tuple(machine._pop(3)),
    ord("t"): lambda machine: machine.make_tuple(machine._pop_mark()),
    ord("}"): lambda machine: machine.push(Mapping()),
    ord("s"): lambda machine: machine.set_items(machine._pop(2)),
    ord("u"): lambda machine: machine.set_items(machine._pop_mark()),
    0x8C: lambda machine: machine.text(1),
    ord("X"): lambda machine: machine.text(4),
    0x8D: lambda machine: machine.text(8),
    ord("C"): lambda machine: machine.raw(1),
    ord("B"): lambda machine: machine.raw(4),
    0x8E: lambda machine: machine.raw(8),
    ord("K"): lambda machine: machine.integer(1, False),
    ord("M"): lambda machine: machine.integer(2, False),
    ord("J"): lambda machine: machine.integer(4, True),
    0x8A: _Machine.long,
    ord("N"): lambda machine: machine.push(None),
    0x88: lambda machine: machine.push(True),
    0x89: lambda machine: machine.push(False),
    ord("q"): lambda machine: machine.put(1),
    ord("r"): lambda machine: machine.put(4),
    0x94: _Machine.memoize,
    ord("h"): lambda machine: machine.get(1),
    ord("j"): lambda machine: machine.get(4),
    0x95: _Machine.frame,
    ord("c"): _Machine.global_,
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
}
