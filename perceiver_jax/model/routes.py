"""Routes: the ways to compute an attention, which give the same result for different costs.

A model's config names one, or leaves the choice to `plan`. Perceivers attend to and from very large
arrays, and what is cheapest follows from shapes, masks, dtype and backend alone:

  1. Where attention weights themselves are asked for, or dropped out, they must exist: 'plain'.
     Where they are few, nothing is gained over it.
  2. On an accelerator, its own kernel if that applies ('cudnn', 'pallas'), unless 'folded' needs
     less than half of its operations.
  3. Whichever of 'folded' and 'streamed' needs fewer operations.

`python -m perceiver_jax.inspect --model=NAME --routes` prints what was chosen, for what, and why
not others. Parts of loops are sized for the machine that traces, also if lowered for another.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal, get_args

import jax

from perceiver_jax.model.kernels import cudnn, pallas_tpu

# How a model computes its attentions:
#   'auto'      the cheapest route of each, by the rule above;
#   'plain'     the definitions as a textbook has them: every projection, all attention weights at
#               once, layer after layer, derivatives left to automatic differentiation;
#   'folded'    over elements of a byte array as they are: their projections are folded into the
#               other side's queries, or keys, and into what is read (folded.py, decoding.py);
#   'streamed'  projected, over parts of the queries and keys (streamed.py);
#   'cudnn'     projected, by cuDNN's fused attention, on NVIDIA GPUs;
#   'pallas'    projected, by a Pallas kernel, on TPUs.
Route = Literal["auto", "plain", "folded", "streamed", "cudnn", "pallas"]

MaskKind = Literal["none", "keys", "queries", "full"]  # What an attention's mask depends on.

_KERNELS: tuple[Route, ...] = ("cudnn", "pallas")

# Weights of one example and head up to which nothing is gained over the definition.
_FEW_WEIGHTS = 128 * 128

# Bytes of attention weights, in float32, that a loop works on at a time. Over inputs: on CPUs as
# many as lie in a cache. Over outputs: more, since each part is multiplied with weight matrices. On
# accelerators: as many as keep them busy.
_INPUT_BYTES = {"cpu": 1 * 2**20}
_INPUT_BYTES_ELSEWHERE = 256 * 2**20
_OUTPUT_BYTES = {"cpu": 16 * 2**20}
_OUTPUT_BYTES_ELSEWHERE = 512 * 2**20


def check_route(route: str) -> None:
    """Raises ValueError unless there is such a route."""
    if route not in get_args(Route):
        raise ValueError(f"attention={route!r} must be one of {', '.join(get_args(Route))}.")


@dataclasses.dataclass(frozen=True)
class Part:
    """A grid of a byte array, as far as costs depend on it; see `byte_array.Grid`."""

    rows: int
    columns: int
    content: int  # Channels of each element's own,
    row_channels: int  # of its row,
    column_channels: int  # and of its column.

    def products(self) -> int:
        """Multiply-adds for the product of a vector of channels with every element."""
        if self.columns == 1:
            return self.rows * (self.content + self.row_channels)
        per_element = self.rows * self.columns * self.content
        return per_element + self.rows * self.row_channels + self.columns * self.column_channels


@dataclasses.dataclass(frozen=True)
class Site:
    """An attention, as far as the choice of its route depends on it. Widths are over all heads."""

    batch_size: int
    num_queries: int
    num_keys: int
    num_heads: int
    q_channels: int  # Channels of the queries' inputs.
    kv_channels: int  # Channels of the keys' inputs.
    qk_channels: int  # Width of queries and keys.
    v_channels: int  # Width of the values.
    output_channels: int  # Width of the output.
    dtype: str = "float32"  # Of activations.
    backend: str = "cpu"  # The default backend.
    compute_capability: tuple[int, int] | None = None  # Of an NVIDIA GPU.
    mask: MaskKind = "none"  # What it depends on.
    needs_weights: str = ""  # Why the weights themselves are needed; "" if they are not.
    shared_queries: bool = False  # Whether queries are the same for all examples.
    keys: tuple[Part, ...] = ()  # Parts of the byte array that is read; () for a plain array.
    queries: tuple[Part, ...] = ()  # Parts of the byte array that queries; () for a plain array.

    @property
    def weights(self) -> int:
        """Attention weights of all examples and heads."""
        return self.batch_size * self.num_heads * self.num_queries * self.num_keys

    @property
    def projected_operations(self) -> int:
        """Multiply-adds of all examples where queries, keys and values are projected."""
        queries = self.num_queries * self.q_channels * self.qk_channels
        keys = self.num_keys * self.kv_channels * (self.qk_channels + self.v_channels)
        attending = self.num_queries * self.num_keys * (self.qk_channels + self.v_channels)
        output = self.num_queries * self.v_channels * self.output_channels
        return self.batch_size * (keys + attending + output) + self._query_batch * queries

    @property
    def folded_operations(self) -> int:
        """Multiply-adds of all examples where the byte array on one side is taken as it is."""
        output = self.num_queries * self.v_channels * self.output_channels
        if self.keys:
            queries = self.num_queries * self.qk_channels * (self.q_channels + self.kv_channels)
            values = self.num_queries * self.v_channels * self.kv_channels
            per_query = sum(part.products() for part in self.keys)
            attending = 2 * self.num_heads * self.num_queries * per_query
            each = values + attending + output
            return self.batch_size * each + self._query_batch * queries
        keys = self.num_keys * self.kv_channels * (self.qk_channels + self.v_channels)
        return self.batch_size * (keys + self._scores_folded + min(self._reads))

    @property
    def folds_output(self) -> bool:
        """Whether the output's projection is folded into the values, where queries are folded."""
        folded, projected = self._reads
        return folded < projected

    @property
    def _query_batch(self) -> int:
        return 1 if self.shared_queries else self.batch_size

    @property
    def _scores_folded(self) -> int:
        per_key = sum(part.products() for part in self.queries)
        return self.num_keys * (self.qk_channels * self.q_channels + self.num_heads * per_key)

    @property
    def _reads(self) -> tuple[int, int]:
        """What reading the values costs with the output folded into them, and without."""
        scores = self.num_queries * self.num_keys
        folded = self.num_keys * self.v_channels + scores * self.num_heads
        projected = scores + self.num_queries * self.output_channels
        return folded * self.output_channels, projected * self.v_channels


@dataclasses.dataclass(frozen=True)
class Plan:
    """The route of one attention, and why it is not another."""

    site: Site
    route: Route  # Never 'auto'.
    declined: tuple[tuple[Route, str], ...]  # The other routes, and what spoke against each.

    @property
    def operations(self) -> int:
        """Multiply-adds of the route, in the forward pass, of all examples."""
        folded = self.route == "folded"
        return self.site.folded_operations if folded else self.site.projected_operations


@functools.lru_cache(maxsize=4096)
def plan(site: Site, wanted: Route = "auto") -> Plan:
    """Chooses the route of an attention.

    Args:
      site: the attention.
      wanted: the route that the model's config names. One that does not apply here gives way to
        'streamed', or to 'plain' where the weights are needed.
    """
    against: dict[Route, str] = {
        each: _against(site, each) for each in get_args(Route) if each != "auto"
    }
    possible: list[Route] = [each for each, reason in against.items() if not reason]
    route: Route
    if wanted != "auto":
        route = wanted if wanted in possible else "plain" if site.needs_weights else "streamed"
        why = f"attention={wanted} was asked for"
        if route != wanted:
            why += f", and gives way to {route} here"
        against = {other: reason or why for other, reason in against.items()}
        return Plan(site, route, _without(against, route))
    if "streamed" not in possible or site.num_queries * site.num_keys <= _FEW_WEIGHTS:
        rest = {other: reason or "its weights are few" for other, reason in against.items()}
        return Plan(site, "plain", _without(rest, "plain"))
    route = "streamed"
    for kernel in _KERNELS:
        if kernel in possible:
            route = kernel
    folded = site.folded_operations / site.projected_operations
    if "folded" in possible:
        # Assumed, not measured: keeping weights on the chip is worth twice the operations.
        if folded < (0.5 if route in _KERNELS else 1.0):
            route = "folded"
        else:
            against["folded"] = f"{folded:.2f} times the operations"
    better = f"folded needs {folded:.2f} times its operations"
    if route != "folded":
        better = f"{route} takes less memory"
    if route in _KERNELS:
        better = f"{route} keeps attention weights on the chip"
    rest = {other: reason or better for other, reason in against.items()}
    return Plan(site, route, _without(rest, route))


def _without(against: dict[Route, str], route: Route) -> tuple[tuple[Route, str], ...]:
    return tuple((other, reason) for other, reason in against.items() if other != route)


def _against(site: Site, route: Route) -> str:
    """What makes a route impossible; "" if nothing does."""
    if route == "plain":
        return ""
    if site.needs_weights:
        return site.needs_weights
    if route == "streamed":
        return ""
    if route == "folded":
        if not site.keys and not site.queries:
            return "neither side is a byte array"
        if site.keys and site.queries:
            return "both sides are byte arrays"
        side = "keys" if site.keys else "queries"
        if site.mask not in ("none", side):
            return f"its mask depends on more than the {side}"
        return ""
    heads = (site.qk_channels // site.num_heads, site.v_channels // site.num_heads)
    if route == "cudnn":
        reasons = cudnn.declines(
            qk_width=heads[0],
            v_width=heads[1],
            dtype=site.dtype,
            backend=site.backend,
            compute_capability=site.compute_capability,
        )
    else:
        reasons = pallas_tpu.declines(
            qk_width=heads[0], v_width=heads[1], dtype=site.dtype, backend=site.backend
        )
    return "; ".join(reasons)


def rows_at_a_time(weights_per_row: int, num_rows: int) -> int:
    """How many rows of inputs a loop takes at a time.

    Args:
      weights_per_row: attention weights of a row, over examples, heads, and queries.
      num_rows: how many there are.
    """
    limit = _INPUT_BYTES.get(jax.default_backend(), _INPUT_BYTES_ELSEWHERE)
    return _even_part(num_rows, limit // (4 * weights_per_row))


def outputs_at_a_time(weights_per_row: int, num_rows: int) -> int:
    """How many rows of outputs a loop takes at a time; arguments as above."""
    limit = _OUTPUT_BYTES.get(jax.default_backend(), _OUTPUT_BYTES_ELSEWHERE)
    return _even_part(num_rows, limit // (4 * weights_per_row))


def _even_part(length: int, most: int) -> int:
    """A size of at most `most`, and at least 1: a divisor of `length` if one is near."""
    most = max(most, 1)
    if length <= most:
        return max(length, 1)
    for size in range(most, most // 2, -1):
        if length % size == 0:
            return size
    return most


def decide(name: str, site: Site) -> Plan:
    """The plan of an attention of the model that is running, noted for who is `recording`."""
    made = plan(site, chosen())
    plans = _plans.get()
    if plans is not None:
        plans.setdefault(name, []).append(made)
    return made


_plans: contextvars.ContextVar[dict[str, list[Plan]] | None] = contextvars.ContextVar(
    "perceiver_jax_plans", default=None
)


@contextlib.contextmanager
def recording() -> Iterator[dict[str, list[Plan]]]:
    """Yields a dict that fills up with the plans of the attentions that are traced inside.

    Its keys are the names of the attentions' modules; modules that share weights are called, and
    planned, several times.
    """
    plans: dict[str, list[Plan]] = {}
    token = _plans.set(plans)
    try:
        yield plans
    finally:
        _plans.reset(token)


def is_recording() -> bool:
    """Says whether somebody is inside `recording`."""
    return _plans.get() is not None


_chosen: contextvars.ContextVar[Route] = contextvars.ContextVar(
    "perceiver_jax_route", default="auto"
)


def chosen() -> Route:
    """The route that the config of the model that is running names."""
    return _chosen.get()


@contextlib.contextmanager
def choosing(route: Route) -> Iterator[None]:
    """Models that run inside compute their attentions by `route`."""
    token = _chosen.set(route)
    try:
        yield
    finally:
        _chosen.reset(token)
