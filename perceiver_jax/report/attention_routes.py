"""Which route each attention of a model takes, what it costs, and why it takes no other."""

import dataclasses
from typing import Any

import jax

from perceiver_jax.model import routes
from perceiver_jax.report import tables
from perceiver_jax.zoo import Model


@dataclasses.dataclass(frozen=True)
class Taken:
    """Attentions of one kind that take the same route."""

    module: str  # Name of the first one's module.
    plan: routes.Plan


def routes_of(model: Model, batch_size: int = 1) -> list[Taken]:
    """Traces a model, in evaluation, for the routes of its attentions; nothing is computed.

    Args:
      model: the model, of its natural input size; its config names the route, or leaves it open.
      batch_size: number of examples.
    """
    params, state = model.abstract_params()

    def forward(params: Any, state: Any, *inputs: Any) -> Any:
        return model.apply(params, state, None, *inputs)

    with routes.recording() as plans:
        jax.eval_shape(forward, params, state, *model.example_inputs(batch_size))
    found: dict[tuple[str, routes.Plan], Taken] = {}
    for module, made in plans.items():
        block = module.rpartition("/")[0].rstrip("0123456789_")  # cross_attention_1 is another one.
        for plan in made:
            found.setdefault((block, plan), Taken(module, plan))
    return list(found.values())


def render(taken: list[Taken], *, reasons: bool = False, markdown: bool = False) -> str:
    """The routes as a table, and with `reasons` what spoke against the others."""
    rows = []
    for each in taken:
        site = each.plan.site
        heads = f"{site.num_heads} head{'s' if site.num_heads > 1 else ''}"
        rows.append(
            [
                each.module,
                f"{site.num_queries:,} x {site.num_keys:,}, {heads}",
                each.plan.route,
                tables.engineering(2 * each.plan.operations),
                tables.engineering(2 * site.projected_operations),
                f"{4 * site.weights / 2**20:,.1f} MiB",
            ]
        )
    header = ["attention", "queries x keys", "route", "FLOPs", "projected", "its weights"]
    text = tables.render(header, rows, right=tuple(header[3:]), markdown=markdown)
    if not reasons:
        return text
    lines = [text]
    for each in taken:
        lines.append(f"\n{each.module}: {each.plan.route}, not")
        lines += [f"  {route}: {reason}" for route, reason in each.plan.declined]
    return "\n".join(lines)


def as_json(taken: list[Taken]) -> list[dict[str, Any]]:
    """The routes as plain values."""
    return [
        {
            "module": each.module,
            "route": each.plan.route,
            "flops": 2 * each.plan.operations,
            "projected_flops": 2 * each.plan.site.projected_operations,
            "weights_bytes": 4 * each.plan.site.weights,
            "declined": dict(each.plan.declined),
        }
        for each in taken
    ]
