"""Routes: the ways to compute an attention, which give the same result for different costs.

A model's config names one, or leaves the choice to the rule below. Perceivers attend to very large
arrays, and what is cheapest depends on shapes, masks, dtype and backend alone.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Literal, get_args

import jax

# How a model computes its attentions:
#   'auto'      the cheapest route of each, by the rule in this file;
#   'plain'     the definitions as a textbook has them: every projection, all attention weights at
#               once, layer after layer, derivatives left to automatic differentiation;
#   'folded'    keys and values are the normalised inputs themselves: their projections are folded
#               into the queries and into what is read;
#   'streamed'  projected, over a part of the inputs and outputs at a time;
#   'cudnn'     cuDNN's fused attention, on NVIDIA GPUs;
#   'pallas'    the Pallas kernels, on TPUs.
Route = Literal["auto", "plain", "folded", "streamed", "cudnn", "pallas"]


def check_route(route: str) -> None:
    """Raises ValueError unless there is such a route."""
    if route not in get_args(Route):
        raise ValueError(f"attention={route!r} must be one of {', '.join(get_args(Route))}.")


_chosen: contextvars.ContextVar[Route] = contextvars.ContextVar(
    "perceiver_jax_route", default="auto"
)


def chosen() -> Route:
    """The route of the model that is running."""
    return _chosen.get()


@contextlib.contextmanager
def choosing(route: Route) -> Iterator[None]:
    """Models that run inside compute their attentions by `route`."""
    token = _chosen.set(route)
    try:
        yield
    finally:
        _chosen.reset(token)


# Bytes of attention weights, in float32, that a loop works on at a time: on CPUs as many as lie in
# the caches, on accelerators as many as keep them busy.
_BYTES_AT_A_TIME = {"cpu": 512 * 2**10}
_BYTES_AT_A_TIME_ELSEWHERE = 256 * 2**20


def rows_at_a_time(weights_per_row: int) -> int:
    """How many rows of elements a loop takes at a time.

    Args:
      weights_per_row: attention weights of a row, over examples, queries and columns.
    """
    limit = _BYTES_AT_A_TIME.get(jax.default_backend(), _BYTES_AT_A_TIME_ELSEWHERE)
    return max(limit // (4 * weights_per_row), 1)
