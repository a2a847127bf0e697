"""Reading the golden arrays of tests/golden, and comparing with them."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.model.byte_array import ByteArray

GOLDEN = pathlib.Path(__file__).parent / "golden"
# Absolute tolerances of float32 results at highest matmul precision.
OUTPUT_ATOL = 2e-5
GRADIENT_RTOL = 1e-4  # Of the largest gradient of a case: key-bias gradients are rounding only.

Tree = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: settings with the released constructors' names, arrays in and arrays out."""

    name: str
    config: Mapping[str, Any]  # The settings.
    inputs: Mapping[str, np.ndarray]
    params: Tree
    state: Tree
    new_state: Tree  # The state after the call, where it changes.
    outputs: Mapping[str, np.ndarray]
    inter: Mapping[str, np.ndarray]  # Outputs of inner modules, by "<module>#<call index>".
    grads: Mapping[str, Tree]  # By the function that was differentiated.
    extra: Mapping[str, np.ndarray]  # Cotangents and the like.


@functools.cache
def manifest() -> dict[str, Any]:
    """Settings of all cases, by name."""
    return json.loads((GOLDEN / "manifest.json").read_text())


@functools.cache
def noise_floor() -> dict[str, Any]:
    """How far some stored arrays are from float64, by case and array."""
    return json.loads((GOLDEN / "noise_floor.json").read_text())


def case_names(*prefixes: str) -> list[str]:
    """The cases whose name starts with one of `prefixes`; fails if there is none."""
    names = [name for name in manifest() if name.startswith(prefixes)]
    assert names, prefixes
    return names


@functools.cache
def load(name: str) -> Case:
    """Reads a case."""
    with np.load(GOLDEN / "small" / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}

    def flat(group: str) -> dict[str, np.ndarray]:
        start = f"{group}/"
        return {key[len(start) :]: a for key, a in arrays.items() if key.startswith(start)}

    kinds = sorted({key.split("/")[0] for key in flat("grads")})
    return Case(
        name=name,
        config=manifest()[name]["config"],
        inputs=flat("inputs"),
        params=nest(flat("params")),
        state=nest(flat("state")),
        new_state=nest(flat("new_state")),
        outputs=flat("outputs"),
        inter=flat("inter"),
        # Gradients with respect to inputs, which have no module, stay under one name.
        grads={kind: nest(flat(f"grads/{kind}")) for kind in kinds if flat(f"grads/{kind}")},
        extra={**flat("extra"), **{k[6:]: a for k, a in arrays.items() if k.startswith("grads/")}},
    )


def nest(flat: Mapping[str, np.ndarray]) -> Tree:
    """{"module/of/parameter": array} as {module: {parameter: array}}."""
    tree: Tree = {}
    for path, array in flat.items():
        module, _, name = path.rpartition("/")
        tree.setdefault(module, {})[name] = array
    return tree


def flatten(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The inverse of `nest`."""
    return {f"{module}/{name}": x for module, d in tree.items() for name, x in d.items()}


def run(function: Callable[..., Any], case: Case, *args: Any, rng: jax.Array | None = None) -> Any:
    """Calls `function`, which makes modules, with the parameters of `case`; no key by default."""
    # Compiled as a whole: faster than compiling every operation alone.
    apply = jax.jit(hk.transform_with_state(function).apply)
    return apply(case.params, case.state, rng, *args)[0]


def assert_same_tree(actual: Any, expected: Any) -> None:
    """Asserts that two trees have the same modules, names, shapes and dtypes."""

    def signature(tree: Any) -> dict[str, tuple[tuple[int, ...], str]]:
        return {path: (tuple(x.shape), str(x.dtype)) for path, x in flatten(tree).items()}

    assert signature(actual) == signature(expected)


def assert_init_makes_tree_of(function: Callable[..., Any], case: Case, *args: Any) -> None:
    """Asserts that `function`, initialised, makes the parameters and state that `case` has."""
    init = hk.transform_with_state(function).init
    params, state = jax.eval_shape(init, jax.random.key(0), *args)
    assert_same_tree(params, case.params)
    assert_same_tree(state, case.state)


def assert_close(actual: Any, expected: Any, what: str = "", *, atol: float = OUTPUT_ATOL) -> None:
    """Asserts equal shapes, and values within `atol` absolutely."""
    if isinstance(actual, ByteArray):
        actual = actual.dense()
    assert np.shape(actual) == np.shape(expected), what
    np.testing.assert_allclose(
        np.asarray(actual, np.float64),
        np.asarray(expected, np.float64),
        rtol=0,
        atol=atol,
        err_msg=what,
    )


def assert_gradients_close(actual: Any, expected: Any) -> None:
    """Asserts that gradients agree within 1e-4 of the largest one, absolutely."""
    assert_same_tree(actual, expected)
    expected = flatten(expected)
    largest = max(np.abs(g).max() for g in expected.values())
    for path, gradient in flatten(actual).items():
        assert_close(gradient, expected[path], path, atol=GRADIENT_RTOL * largest)


def assert_within_ulps(actual: Any, expected: Any, ulps: int) -> None:
    """Asserts that half-precision values differ by at most `ulps` units in the last place.

    The unit is that of the largest value: the smaller ones are differences of values of its size.
    """
    largest = np.abs(np.asarray(expected, np.float64)).max()
    unit = 2.0 ** np.floor(np.log2(largest)) * float(jnp.finfo(actual.dtype).eps)
    assert_close(actual, expected, atol=ulps * unit)
