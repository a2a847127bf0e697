"""Layers that differ in nothing but their parameters, traced once for all of them.

A tower of layers with weights of their own is as many times the same function. To trace and to
differentiate it anew for every layer takes about as long as to compile the program: 4.4 of the 11 s
of a training step of the optical flow model, and 0.7 s so.
"""

from collections.abc import Callable
from typing import TypeVar

import haiku as hk
import jax

from perceiver_jax.model import capture, routes

Layer = Callable[[jax.Array], jax.Array]
Module = TypeVar("Module", bound=hk.Module)

_NAME = "layer"


class TracedOnce:
    """Calls Haiku modules that are alike, each with its own parameters.

    The modules must compute what those of `make` compute, from parameters of the same shapes, and
    must neither hold state nor draw random numbers. To be called inside `hk.transform`, after the
    parameters were made.
    """

    def __init__(self, make: Callable[[str], Layer]):
        """Makes the function that they share; it is traced when it is first called.

        Args:
          make: makes a module like them, of a given name, and returns how it is called.
        """
        layer = hk.transform(lambda x: make(_NAME)(x))
        self._call = jax.jit(lambda params, x: layer.apply(params, None, x))

    def __call__(self, module: hk.Module, x: jax.Array) -> jax.Array:
        """Applies `module` to `x`."""
        return self._call(_own_parameters(module.module_name), x)


def calls(
    make: Callable[[str], Module], as_layer: Callable[[Module], Layer], *, has_dropout: bool = False
) -> Callable[[Module, jax.Array], jax.Array]:
    """Returns how the layers of a tower are applied: traced once, or each by itself if need be.

    Args:
      make: makes a module like those of the tower, of a given name.
      as_layer: how a module is called.
      has_dropout: whether they draw random numbers, and so cannot share a trace.
    """
    if allowed() and not has_dropout:
        return TracedOnce(lambda name: as_layer(make(name)))
    return lambda module, x: as_layer(module)(x)


def allowed() -> bool:
    """Whether nobody needs every layer: to initialise, capture, list routes, or by the textbook."""
    return not (
        hk.running_init() or capture.active() or routes.is_recording() or routes.chosen() == "plain"
    )


def _own_parameters(name: str) -> hk.Params:
    """The parameters of the module `name`, as if its name were `_NAME`."""
    parameters = hk.get_params().items()
    inside = name + "/"
    return {
        path.replace(name, _NAME, 1): values
        for path, values in parameters
        if path.startswith(inside)
    }
