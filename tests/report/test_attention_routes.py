"""Routes of a small model's attentions: which, at what cost, and why no other."""

import dataclasses

import pytest

import perceiver_jax
from perceiver_jax.model import routes
from perceiver_jax.report import attention_routes
from tests import tiny_models

pytestmark = pytest.mark.core

# 12 latents of 14 read 35 pixels of 1 + 5 + 5 channels, in one head of 11; a query of 13 reads them
# in one head of 14.
INPUTS = "perceiver_encoder/~/cross_attention/attention"
TOWER = "perceiver_encoder/~/self_attention/attention"
OUTPUTS = "classification_decoder/~/basic_decoder/cross_attention/attention"


def _model(route: str = "auto", **encoder: int) -> perceiver_jax.Model:
    config = tiny_models.classifier()
    config = dataclasses.replace(
        config, encoder=dataclasses.replace(config.encoder, num_latents=12, **encoder)
    )
    return perceiver_jax.build(config, attention=route)


def _by_module(model: perceiver_jax.Model, batch_size: int = 1):
    taken = attention_routes.routes_of(model, batch_size)
    by_module = {each["module"]: each for each in attention_routes.as_json(taken)}
    assert len(by_module) == len(taken)
    return by_module


@pytest.mark.parametrize("batch", [1, 3])
def test_costs_are_those_of_the_sites(batch):
    found = _by_module(_model("streamed"), batch)
    assert list(found) == [INPUTS, TOWER, OUTPUTS]
    assert {each["route"] for each in found.values()} == {"streamed"}
    # Latents are the same for all examples, and so are their queries.
    attending = 12 * 35 * (11 + 11)
    reading = batch * (35 * 11 * (11 + 11) + attending + 12 * 11 * 14) + 12 * 14 * 11
    assert found[INPUTS]["flops"] == found[INPUTS]["projected_flops"] == 2 * reading
    assert found[INPUTS]["weights_bytes"] == 4 * batch * 12 * 35
    tower = 4 * 12 * 14 * 14 + 12 * 12 * (14 + 14)
    assert found[TOWER]["flops"] == found[TOWER]["projected_flops"] == 2 * batch * tower
    assert found[TOWER]["weights_bytes"] == 4 * batch * 2 * 12 * 12


def test_a_folded_read_costs_what_is_met():
    found = _by_module(_model("folded"))
    assert found[INPUTS]["route"] == "folded" and found[TOWER]["route"] == "streamed"
    # For each latent, over channels of content, of rows, and of columns: once for its scores and
    # once for what it reads.
    attending = 2 * 12 * (35 * 1 + 5 * 5 + 7 * 5)
    folding = 12 * 14 * 11 + 12 * 11 * 11 + 12 * 11 * 11 + 12 * 11 * 14
    assert found[INPUTS]["flops"] == 2 * (attending + folding) < found[INPUTS]["projected_flops"]


def test_every_other_route_has_its_reason():
    found = _by_module(_model("folded"))
    for each in found.values():
        others = {"plain", "folded", "streamed", "cudnn", "pallas"} - {each["route"]}
        assert set(each["declined"]) == others and all(each["declined"].values())
    assert found[INPUTS]["declined"]["plain"] == "attention=folded was asked for"
    assert found[TOWER]["declined"]["folded"] == "neither side is a byte array"
    few = _by_module(_model())
    assert {each["route"] for each in few.values()} == {"plain"}
    assert few[INPUTS]["declined"]["folded"] == "its weights are few"


def test_layers_of_one_kind_are_one_row_and_other_sites_are_not():
    # Six layers with shared weights, whose second cross-attend reads with latents of each example.
    found = _by_module(_model("streamed", num_blocks=2, self_attends_per_block=3), 3)
    assert list(found) == [INPUTS, TOWER, OUTPUTS]
    two = attention_routes.routes_of(_model("streamed", num_blocks=2, num_cross_attends=2), 3)
    inputs = [each for each in two if "encoder/~/cross" in each.module]
    assert [each.plan.site.shared_queries for each in inputs] == [True, False]


def test_routes_are_a_table():
    taken = attention_routes.routes_of(_model("folded"))
    head, rule, *rows = attention_routes.render(taken).splitlines()
    assert head.split()[0] == "attention" and set(rule) == {"-", " "} and len(rows) == 3
    cells = rows[0].split()
    assert cells[0] == INPUTS and "12 x 35, 1 head " in rows[0] and cells[6] == "folded"
    plan = taken[0].plan
    costs = (2 * plan.operations, 2 * plan.site.projected_operations)
    assert cells[7:9] == [f"{cost / 1000:.1f}K" for cost in costs]
    assert "12 x 12, 2 heads" in rows[1]
    markdown = attention_routes.render(taken, markdown=True).splitlines()
    assert len(markdown) == 5 and all(line.startswith("| ") for line in markdown)


def test_reasons_are_shown_on_demand():
    taken = attention_routes.routes_of(_model("folded"))
    table, shown = (attention_routes.render(taken, reasons=each) for each in (False, True))
    assert shown.startswith(table) and "neither side" not in table
    below = shown[len(table) :].split("\n\n")
    assert [part.strip().splitlines()[0] for part in below if part.strip()] == [
        f"{INPUTS}: folded, not",
        f"{TOWER}: streamed, not",
        f"{OUTPUTS}: folded, not",
    ]
    assert "  folded: neither side is a byte array" in shown
    assert shown.count("\n  ") == 3 * 4


def test_nobody_records_afterwards():
    attention_routes.routes_of(_model())
    assert routes._plans.get() is None
