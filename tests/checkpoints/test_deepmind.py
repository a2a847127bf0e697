"""Checkpoints as DeepMind released them, and files that are taken for such."""

import gzip
import io
import json
import pathlib
import pickle
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

from perceiver_jax.checkpoints import deepmind
from perceiver_jax.errors import CheckpointError
from tests import golden_cases
from tests.checkpoints import pickles

PICKLES = golden_cases.GOLDEN / "pickles"
MANIFEST: dict[str, Any] = json.loads((PICKLES / "manifest.json").read_text())

# The arrays that are in each file, by the name of a case of tests/golden/small.
CASES = {
    "imagenet_fourier_position_encoding.tiny.pystate": "imagenet_fourier",
    "imagenet_learned_position_encoding.tiny.pystate": "imagenet_learned",
    "imagenet_conv_preprocessing.tiny.pystate": "imagenet_conv_eval",
    "language_perceiver_io_bytes.tiny.pickle": "mlm",
    "optical_flow_checkpoint.tiny.pystate": "optical_flow",
    "video_autoencoding_checkpoint.tiny.pystate": "video_autoencoding",
    "variant_conv_protocol2.pystate": "imagenet_conv_eval",
    "variant_conv_protocol4.pystate": "imagenet_conv_eval",
    "variant_conv_plain_dict.pystate": "imagenet_conv_eval",
}


def assert_identical(actual: golden_cases.Tree, expected: golden_cases.Tree) -> None:
    """Asserts the same names, and the same arrays bit for bit, which we may write to."""
    golden_cases.assert_same_tree(actual, expected)
    for path, array in golden_cases.flatten(actual).items():
        assert array.tobytes() == golden_cases.flatten(expected)[path].tobytes(), path
        assert array.flags.writeable and array.flags.c_contiguous and array.flags.aligned


def write(directory: pathlib.Path, data: bytes) -> pathlib.Path:
    path = directory / "file.pystate"
    path.write_bytes(data)
    return path


def refusal(path: pathlib.Path | str) -> str:
    """The message with which a file is refused: one line, which names it."""
    with pytest.raises(CheckpointError) as caught:
        deepmind.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.core
@pytest.mark.parametrize("name", CASES)
def test_emulated_files_hold_the_golden_arrays(name: str) -> None:
    case = golden_cases.load(CASES[name])
    assert deepmind.is_pickle(PICKLES / name)
    params, state = deepmind.read(PICKLES / name)
    assert_identical(params, case.params)
    assert_identical(state, case.state if "imagenet" in CASES[name] else {})
    assert type(params) is dict and type(next(iter(params.values()))) is dict


def test_all_emulated_files_are_tested() -> None:
    assert sorted(CASES) == sorted(MANIFEST)
    assert {len(golden_cases.load(case).state) > 0 for case in CASES.values()} == {True, False}


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_files_of_numpy_2_and_of_current_haiku(tmp_path: pathlib.Path, protocol: int) -> None:
    params, state = pickles.small_params(), pickles.small_state()
    for wrap in (dict, pickles.flat):
        top = {"params": wrap(params), "state": wrap(state)}
        read = deepmind.read(write(tmp_path, pickle.dumps(top, protocol)))
        assert_identical(read[0], params)
        assert_identical(read[1], state)
        read = deepmind.read(write(tmp_path, pickle.dumps(wrap(params), protocol)))
        assert_identical(read[0], params)
        assert read[1] == {}


def test_python_picklers_file_is_read_as_the_c_picklers(tmp_path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    pickle._Pickler(buffer, 4).dump(pickles.flat(pickles.small_params()))  # type: ignore[attr-defined]
    params, _ = deepmind.read(write(tmp_path, buffer.getvalue()))
    assert_identical(params, pickles.small_params())


def test_protocol_5_is_refused_with_the_mend(tmp_path: pathlib.Path) -> None:
    message = refusal(write(tmp_path, pickle.dumps(pickles.small_params(), 5)))
    assert "numpy._core.numeric._frombuffer" in message and "protocol 4" in message


def test_old_name_of_haikus_mapping(tmp_path: pathlib.Path) -> None:
    data = pickle.dumps(pickles.flat(pickles.small_params()), 3)
    assert data.count(b"structures\nFlatMapping\n") == 1  # The others refer to the first.
    data = data.replace(b"\nFlatMapping\n", b"\nFlatMap\n")
    assert_identical(deepmind.read(write(tmp_path, data))[0], pickles.small_params())


NUMBERS = np.array([[0, 1, -2], [3, 100, 5]])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(NUMBERS.astype("f4")),
        NUMBERS.astype(">f4"),
        np.asfortranarray(NUMBERS.astype(">i4")),
        NUMBERS.astype("f4").T[::2],
        np.array(-1.5, "f4"),
        np.array(7, ">i8"),
        np.zeros((2, 1, 1, 1, 1, 1, 1, 3), "i2"),
        NUMBERS.astype("i1"),
        NUMBERS.astype("u8"),
        NUMBERS > 0,
        np.float32([np.nan, np.inf, -0.0]),
        np.random.default_rng(0).normal(size=(40, 50)).astype("f4"),  # Long text in protocol 2.
        np.frombuffer(bytes(range(256)) * 64, "u1"),
    ],
    ids=lambda x: f"{x.dtype.str}{list(x.shape)}" if isinstance(x, np.ndarray) else str(x),
)
def test_orders_shapes_and_types(tmp_path: pathlib.Path, array: np.ndarray, protocol: int) -> None:
    path = write(tmp_path, pickle.dumps({"m": {"a": array, "b": NUMBERS}}, protocol))
    params, _ = deepmind.read(path)
    native = array.astype(array.dtype.newbyteorder("="))
    assert_identical(params, {"m": {"a": native, "b": NUMBERS}})


def test_empty_arrays(tmp_path: pathlib.Path) -> None:
    params = {"m": {"a": np.zeros((0, 5), "f4"), "b": np.zeros((3, 0), "i4")}}
    assert_identical(deepmind.read(write(tmp_path, pickle.dumps(params, 4)))[0], params)


@pytest.mark.parametrize("dtype", ["f2", "f8", ">f8"])
def test_floating_point_arrays_become_float32(tmp_path: pathlib.Path, dtype: str) -> None:
    values = [1.5, -65504.0, np.inf, 2.0**-24] + ([1e300] if dtype != "f2" else [])
    array = np.array(values, dtype)
    params, _ = deepmind.read(write(tmp_path, pickle.dumps({"m": {"w": array}}, 4)))
    expected = np.float32([1.5, -65504.0, np.inf, 2.0**-24] + [np.inf] * (dtype != "f2"))
    assert_identical(params, {"m": {"w": expected}})


def test_an_array_that_stands_twice_is_held_once(tmp_path: pathlib.Path) -> None:
    array = np.arange(1000, dtype=np.float32)
    data = pickle.dumps({"a": {"w": array}, "b": {"w": array}}, 4)
    params, _ = deepmind.read(write(tmp_path, data))
    assert params["a"]["w"] is params["b"]["w"]
    np.testing.assert_array_equal(params["b"]["w"], array)


def test_numbers_beside_params_are_ignored(tmp_path: pathlib.Path) -> None:
    top = {
        "params": pickles.small_params(),
        "step": 3,
        "steps": 2**40,
        "rng": np.uint32([1, 2]),
        "nothing": None,
        "counter": np.array(3),
    }
    params, state = deepmind.read(write(tmp_path, pickle.dumps(top, 4)))
    assert_identical(params, pickles.small_params())
    assert state == {}


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({}, "mapping of modules"),
        ({"params": {}, "state": {}}, "'params' should be a mapping"),
        ({"params": None}, "'params' should be a mapping"),
        ({"w": np.ones(2)}, "'w' should be a mapping of arrays"),
        ({"m": {"w": 3}}, "'m' has 'w', which should be an array"),
        ({"m": {"w": {"x": np.ones(2)}}}, "'m' has 'w', which should be an array"),
        ({"params": pickles.small_params(), "state": {"m": np.ones(2)}}, "in 'state', 'm'"),
        ({"params": pickles.small_params(), "opt_state": {}}, "'opt_state' beside 'params'"),
        ({"params": pickles.small_params(), "rng": np.ones(9)}, "'rng' beside 'params'"),
        ({"params": {"m": {"w": {"x": {"y": 1}}}}}, "a mapping less deep"),
        ({"m": {1: np.ones(2)}}, "a name that is text"),
        ({"m": {"two\nlines": 1}}, r"has 'two\nlines'"),
        ({"m": {"w": "text"}}, "there should be an array"),
        ({"m": {"w": (1, 2)}}, "there should be an array"),
        ({"m": {"w": 1.5}}, "BINFLOAT"),
        ({"m": {"w": [1, 2]}}, "EMPTY_LIST"),
        ({"m": {"w": np.float32(3)}}, "numpy._core.multiarray.scalar"),
        ({"m": {"w": np.array(["text"])}}, "arrays of the type 'U4'"),
        ({"m": {"w": np.zeros(2, "i4,f4")}}, "arrays of the type 'V8'"),
        ({"m": {"w": np.zeros(2, "M8[s]")}}, "arrays of the type 'M8'"),
        ({"m": {"w": np.zeros(2, "c8")}}, "arrays of the type 'c8'"),
        (np.ones(3), "one mapping"),
        (3, "one mapping"),
    ],
)
def test_other_contents_are_refused(tmp_path: pathlib.Path, top: Any, words: str) -> None:
    assert words in refusal(write(tmp_path, pickle.dumps(top, 4)))


def zip_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\x80", "is not a released DeepMind checkpoint"),
        (b"hello", "is not a released DeepMind checkpoint: a pickle of protocol 2 to 5."),
        (b"<!DOCTYPE html><html>", "web page"),
        (zip_file(), "zip archive"),
        (gzip.compress(pickle.dumps(pickles.small_params(), 4)), "gzip"),
        (pickle.dumps(pickles.small_params(), 0), "is not a released DeepMind checkpoint"),
        (pickle.dumps(pickles.small_params(), 1), "is not a released DeepMind checkpoint"),
        (b"\x80\x06}.", "is not a released DeepMind checkpoint"),
        # A safetensors file whose header has 896 bytes: the first two are those of protocol 3.
        ((896).to_bytes(8, "little") + b'{"__metadata__"', "is not a released DeepMind checkpoint"),
    ],
)
def test_other_files(tmp_path: pathlib.Path, data: bytes, words: str) -> None:
    path = write(tmp_path, data)
    assert not deepmind.is_pickle(path)
    assert words in refusal(path)


def test_no_file_and_no_regular_file(tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "missing.pystate"
    assert not deepmind.is_pickle(missing) and not deepmind.is_pickle(tmp_path)
    assert "There is no file" in refusal(missing)
    assert "is not a file" in refusal(tmp_path)
    assert "is not a file" in refusal("/dev/null")


def test_a_text_path_will_do() -> None:
    path = PICKLES / "imagenet_fourier_position_encoding.tiny.pystate"
    assert deepmind.is_pickle(str(path))
    assert_identical(deepmind.read(str(path))[0], deepmind.read(path)[0])


@pytest.mark.parametrize("data", pickles.small_files(), ids=lambda data: f"{len(data)}bytes")
def test_a_file_cut_at_any_byte(tmp_path: pathlib.Path, data: bytes) -> None:
    deepmind.read(write(tmp_path, data))
    for size in range(3, len(data)):
        message = refusal(write(tmp_path, data[:size]))
        where = re.search(r"ends too early: at byte (\d+), (\d+) more bytes? should", message)
        assert where is not None, message
        assert int(where[1]) <= size < int(where[1]) + int(where[2])
        assert "download it again" in message


@pytest.mark.core
def test_a_golden_file_cut_at_many_bytes(tmp_path: pathlib.Path) -> None:
    data = (PICKLES / "imagenet_conv_preprocessing.tiny.pystate").read_bytes()
    for size in [*range(3, len(data), 211), *range(len(data) - 40, len(data))]:
        assert "ends too early" in refusal(write(tmp_path, data[:size]))


def test_bytes_after_the_end(tmp_path: pathlib.Path) -> None:
    data = pickles.small_files()[0]
    assert f"not {len(data)} bytes more" in refusal(write(tmp_path, data + data))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reading_takes_the_memory_of_the_arrays(tmp_path: pathlib.Path, protocol: int) -> None:
    rng = np.random.default_rng(0)
    params = {f"m{i}": {"w": rng.normal(size=(512, 1024)).astype("f4")} for i in range(4)}
    path = write(tmp_path, pickle.dumps(params, protocol))
    tracemalloc.start()
    try:
        read = deepmind.read(path)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_identical(read[0], params)
    # Protocol 2 takes 1.5 bytes for a byte; what is beyond the arrays is never written to.
    assert held < 1.01 * path.stat().st_size
    assert peak < held + (4 << 20)
