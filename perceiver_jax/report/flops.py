"""Floating-point operations, counted in the traced program and not by formulas of their own.

As in the papers (Perceiver IO, App. D), a multiplication and an addition are two operations. What
is counted: matrix products and convolutions, 2 for each multiply-add; and 3 for each attention
score, the softmax, which makes the totals of Perceiver's Tables 5 and 6 come out to the printed
digit. What is not: norms, activations, biases, residuals, position features, look-ups.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core

# Operations for each attention score of each head. No source says so: it is the one whole number
# that gives all seven totals of Perceiver's Tables 5 and 6.
FLOPS_PER_SCORE = 3

# Primitives that carry a value along element by element, as far as a score's way to its softmax
# goes: scaled, masked, cast, shifted by its row's maximum.
_ELEMENTWISE = frozenset(
    "add add_any broadcast_in_dim convert_element_type copy div expand_dims max min mul neg "
    "optimization_barrier reduce_precision reshape select_n squeeze stop_gradient sub transpose "
    "where".split()
)
# Primitives that run the one program they hold, once, on their own inputs.
_CALLS = frozenset(
    "checkpoint closed_call core_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit "
    "pjit remat remat2".split()
)

Scope = tuple[str, ...]  # Where an operation stands: the names of its modules, outermost first.


@dataclasses.dataclass(frozen=True)
class Flops:
    """Operations of a program or of a part of it."""

    matmul: int = 0  # Of matrix products and convolutions.
    scores: int = 0  # Of the softmax over attention scores.

    @property
    def total(self) -> int:
        """All counted operations."""
        return self.matmul + self.scores

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.matmul + other.matmul, self.scores + other.scores)

    def __mul__(self, times: int) -> "Flops":
        return Flops(self.matmul * times, self.scores * times)


def count_flops(function: Callable[..., Any], *args: Any) -> dict[Scope, Flops]:
    """Counts the operations of `function(*args)` by module, without running it.

    Args:
      function: any function that JAX can trace.
      *args: its arguments; shapes (`jax.ShapeDtypeStruct`) are enough.

    Returns:
      Operations by scope, without those scopes that have none. The sum over all is the total.

    Raises:
      ValueError: the program holds a loop or a kernel whose operations cannot be known.
    """
    return count_jaxpr(jax.make_jaxpr(function)(*args))


def count_jaxpr(program: core.ClosedJaxpr) -> dict[Scope, Flops]:
    """Counts the operations of a traced program by module; see `count_flops`."""
    jaxpr = program.jaxpr
    return _merge(_walk(jaxpr, (), [None] * len(jaxpr.invars)))


def total(by_scope: Mapping[Scope, Flops]) -> Flops:
    """The sum over all scopes."""
    return sum(by_scope.values(), Flops())


# A value that is one attention score after another, whatever was done to each of them alone, is
# remembered by the number of scores; any other value by None.
_NumScores = int | None


def _walk(
    jaxpr: core.Jaxpr, outer: Scope, input_scores: Sequence[_NumScores]
) -> Iterator[tuple[Scope, Flops]]:
    scores: dict[core.Var, _NumScores] = dict(zip(jaxpr.invars, input_scores, strict=True))

    def scores_of(atom: core.Var | core.Literal) -> _NumScores:
        return None if isinstance(atom, core.Literal) else scores.get(atom)

    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        scope = outer + _scope(eqn)
        size = math.prod(_shape(eqn.outvars[0])) if eqn.outvars else 0
        incoming = [scores_of(atom) for atom in eqn.invars]
        if name == "dot_general":
            yield scope, Flops(matmul=_dot_general(eqn))
            scores[eqn.outvars[0]] = size
        elif name == "conv_general_dilated":
            yield scope, Flops(matmul=_convolution(eqn))
        elif name == "exp" and incoming[0] == size:
            yield scope, Flops(scores=FLOPS_PER_SCORE * size)
        elif name in _ELEMENTWISE:
            # Broadcasting makes more values than scores, reducing fewer: neither are scores.
            scores[eqn.outvars[0]] = size if size in incoming else None
        elif list(_programs(eqn)):
            yield from _walk_nested(eqn, scope, incoming)
            if name in _CALLS:
                # A jitted helper, such as where(), hands scores through.
                for outvar in eqn.outvars:
                    size = math.prod(_shape(outvar))
                    scores[outvar] = size if size in incoming else None


def _walk_nested(
    eqn: core.JaxprEqn, scope: Scope, incoming: list[_NumScores]
) -> Iterator[tuple[Scope, Flops]]:
    """The programs inside an equation, as often as they run."""
    name = eqn.primitive.name
    programs = list(_programs(eqn))
    if name in _CALLS:
        yield from _walk(programs[0], scope, incoming)
    elif name == "scan":
        # Scores are made and exponentiated within one trip, or they are no scores to us: how a scan
        # slices what comes in is written differently in every version of JAX.
        for inner_scope, flops in _walk(programs[0], scope, [None] * len(programs[0].invars)):
            yield inner_scope, flops * eqn.params["length"]
    elif name == "cond":
        branches = [_merge(_walk(branch, scope, incoming[1:])) for branch in programs]
        yield from max(branches, key=lambda branch: total(branch).total).items()
    else:
        # A while loop, a kernel, a sharded region: without products it may run as often as it
        # likes, with them nobody knows how often.
        for program in programs:
            if total(_merge(_walk(program, scope, [None] * len(program.invars)))).total:
                raise ValueError(
                    f"the operations of {name!r} in {'/'.join(scope) or 'the program'} cannot be "
                    "counted: how often it runs is not known before it runs. Loop with "
                    "jax.lax.scan, or count the program without it."
                )


def _programs(eqn: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    for value in eqn.params.values():
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(each, core.ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, core.Jaxpr):
                yield each


def _shape(atom: core.Var | core.Literal) -> tuple[int, ...]:
    return getattr(atom.aval, "shape", ())  # Keys and tokens have none.


def _dot_general(eqn: core.JaxprEqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = _shape(eqn.invars[0])
    return 2 * math.prod(left[axis] for axis in contracted) * math.prod(_shape(eqn.outvars[0]))


def _convolution(eqn: core.JaxprEqn) -> int:
    """Every output element is a product with a whole kernel, also where it meets padding."""
    kernel = _shape(eqn.invars[1])
    out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    depth = math.prod(kernel) // out_features
    return 2 * depth * math.prod(_shape(eqn.outvars[0]))


def _scope(eqn: core.JaxprEqn) -> Scope:
    names = str(eqn.source_info.name_stack)
    return tuple(names.split("/")) if names else ()


def _merge(pairs: Iterator[tuple[Scope, Flops]]) -> dict[Scope, Flops]:
    matmul: Counter[Scope] = Counter()
    scores: Counter[Scope] = Counter()
    for scope, flops in pairs:
        matmul[scope] += flops.matmul
        scores[scope] += flops.scores
    return {scope: Flops(matmul[scope], scores[scope]) for scope in matmul}
