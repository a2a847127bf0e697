"""The choice of routes: each rule, each reason, operation counts, and every model of the zoo."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

import perceiver_jax
from perceiver_jax.model import routes
from perceiver_jax.model.blocks import CrossAttention
from perceiver_jax.model.byte_array import ByteArray, Grid
from perceiver_jax.model.routes import Part, Site, plan
from perceiver_jax.report.flops import count_flops, total

pytestmark = [pytest.mark.core]

HOPPER = {"backend": "gpu", "compute_capability": (9, 0)}
# What sites are asked for: backend and dtype.
PLACES = {
    "cpu": {"backend": "cpu", "dtype": "float32"},
    "gpu f32": {**HOPPER, "dtype": "float32"},
    "gpu bf16": {**HOPPER, "dtype": "bfloat16"},
    "tpu bf16": {"backend": "tpu", "dtype": "bfloat16"},
}

PIXELS = Part(rows=224, columns=224, content=3, row_channels=129, column_channels=129)
ENCODER = Site(
    batch_size=2,
    num_queries=512,
    num_keys=50_176,
    num_heads=1,
    q_channels=1024,
    kv_channels=261,
    qk_channels=261,
    v_channels=261,
    output_channels=1024,
    shared_queries=True,
    keys=(PIXELS,),
)
TOWER = Site(2, 512, 512, 8, 1024, 1024, 1024, 1024, 1024)
DECODER = Site(
    batch_size=2,
    num_queries=50_176,
    num_keys=512,
    num_heads=1,
    q_channels=261,
    kv_channels=1024,
    qk_channels=1024,
    v_channels=1024,
    output_channels=261,
    queries=(PIXELS,),
)


def _reasons(plan: routes.Plan) -> dict[str, str]:
    return dict(plan.declined)


def _everything_is_said(plan: routes.Plan) -> None:
    """Each route but the chosen one has a reason."""
    others = {"plain", "folded", "streamed", "cudnn", "pallas"} - {plan.route}
    assert set(_reasons(plan)) == others
    assert all(_reasons(plan).values()), plan.declined


def test_weights_that_are_needed_exist():
    for wanted in ("auto", "folded", "streamed", "plain", "pallas"):
        site = dataclasses.replace(ENCODER, needs_weights="attention weights are captured")
        made = plan(site, wanted)
        assert made.route == "plain"
        _everything_is_said(made)
        assert set(_reasons(made).values()) == {"attention weights are captured"}


def test_fewer_operations_are_folded():
    made = plan(ENCODER)
    assert made.route == "folded"
    _everything_is_said(made)
    share = made.operations / ENCODER.projected_operations
    assert made.operations == ENCODER.folded_operations < ENCODER.projected_operations
    assert _reasons(made)["streamed"] == f"folded needs {share:.2f} times its operations"
    assert "NVIDIA" in _reasons(made)["cudnn"] and "TPU" in _reasons(made)["pallas"]


def test_more_operations_are_not_folded():
    # Eight heads, and no structure: each head would meet all channels.
    words = Part(rows=2048, columns=1, content=768, row_channels=0, column_channels=0)
    site = Site(2, 256, 2048, 8, 1280, 768, 256, 1280, 1280, mask="keys", keys=(words,))
    made = plan(site)
    assert made.route == "streamed" and made.operations == site.projected_operations
    _everything_is_said(made)
    ratio = site.folded_operations / site.projected_operations
    assert ratio > 1 and _reasons(made)["folded"] == f"{ratio:.2f} times the operations"
    assert _reasons(made)["plain"] == "streamed takes less memory"


def test_few_weights_are_plain():
    few = dataclasses.replace(TOWER, num_queries=128, num_keys=128)
    made = plan(few)
    assert made.route == "plain"
    _everything_is_said(made)
    assert _reasons(made)["streamed"] == "its weights are few"
    assert plan(dataclasses.replace(few, num_keys=129)).route == "streamed"
    # Also where folding would need fewer operations.
    pixels = dataclasses.replace(PIXELS, rows=8, columns=8)
    few = dataclasses.replace(ENCODER, num_queries=64, num_keys=64, keys=(pixels,))
    assert few.folded_operations < few.projected_operations
    assert plan(few).route == "plain"
    _everything_is_said(plan(few))
    assert _reasons(plan(few))["folded"] == "its weights are few"


@pytest.mark.parametrize(("place", "kernel"), [("gpu bf16", "cudnn"), ("tpu bf16", "pallas")])
def test_kernels_are_taken_unless_folding_halves_the_operations(place, kernel):
    made = plan(dataclasses.replace(TOWER, **PLACES[place]))
    assert made.route == kernel
    _everything_is_said(made)
    assert _reasons(made)["streamed"] == f"{kernel} keeps attention weights on the chip"
    # The same heads on both sides of a half: what the elements have of their own decides.
    narrow = dict(qk_channels=64, v_channels=64, **PLACES[place])
    routes_of = {}
    for content, columns in ((3, 224), (200, 224)):
        part = dataclasses.replace(PIXELS, content=content, columns=columns)
        site = dataclasses.replace(ENCODER, kv_channels=258 + content, keys=(part,), **narrow)
        share = site.folded_operations / site.projected_operations
        routes_of[share < 0.5] = plan(site)
    assert routes_of[True].route == "folded"
    assert routes_of[False].route == kernel
    _everything_is_said(routes_of[True])
    assert "times" in _reasons(routes_of[False])["folded"]


@pytest.mark.parametrize(
    ("site", "masks"), [(ENCODER, {"none", "keys"}), (DECODER, {"none", "queries"})]
)
def test_masks_of_the_other_side_are_not_folded(site, masks):
    side = "keys" if site.keys else "queries"
    for mask in ("none", "keys", "queries", "full"):
        made = plan(dataclasses.replace(site, mask=mask))
        assert (made.route == "folded") == (mask in masks)
        if mask not in masks:
            assert _reasons(made)["folded"] == f"its mask depends on more than the {side}"


def test_arrays_without_structure_and_two_byte_arrays_are_not_folded():
    assert _reasons(plan(TOWER))["folded"] == "neither side is a byte array"
    both = dataclasses.replace(ENCODER, queries=(PIXELS,))
    made = plan(both, "folded")
    assert made.route == "streamed" and _reasons(made)["folded"] == "both sides are byte arrays"


@pytest.mark.parametrize("site", [ENCODER, DECODER])
@pytest.mark.parametrize("wanted", ["plain", "streamed", "folded"])
def test_a_route_may_be_asked_for(site, wanted):
    made = plan(site, wanted)
    assert made.route == wanted
    _everything_is_said(made)
    others = {"plain", "streamed", "folded"} - {wanted}
    assert {_reasons(made)[x] for x in others} == {f"attention={wanted} was asked for"}


@pytest.mark.parametrize("wanted", ["folded", "cudnn", "pallas"])
def test_a_route_that_does_not_apply_gives_way(wanted):
    made = plan(TOWER, wanted)
    assert made.route == "streamed"
    _everything_is_said(made)
    assert "was asked for" not in _reasons(made)[wanted]
    gives_way = f"attention={wanted} was asked for, and gives way to streamed here"
    assert _reasons(made)["plain"] == gives_way


def test_unknown_routes_are_named():
    routes.check_route("folded")
    with pytest.raises(ValueError, match="attention='quick' must be one of auto, plain"):
        routes.check_route("quick")


def test_the_choice_ends_with_its_context():
    assert routes.chosen() == "auto"
    with routes.choosing("streamed"):
        assert routes.chosen() == "streamed"
    assert routes.chosen() == "auto"


def test_operations_by_hand():
    # 5 queries of 7 channels; 2 x 3 inputs of 2 + 11 + 13 channels; heads of 3 and 5.
    part = Part(2, 3, 2, 11, 13)
    assert part.products() == 6 * 2 + 2 * 11 + 3 * 13
    assert Part(6, 1, 2, 11, 0).products() == 6 * (2 + 11)
    site = Site(3, 5, 6, 2, 7, 26, 6, 10, 17, keys=(part,))
    keys, attending, output = 6 * 26 * (6 + 10), 5 * 6 * (6 + 10), 5 * 10 * 17
    assert site.projected_operations == 3 * (5 * 7 * 6 + keys + attending + output)
    # Queries through both projections, every head over all channels twice, and the values' back.
    folded = 5 * 6 * (7 + 26) + 2 * 2 * 5 * part.products() + 5 * 10 * 26 + output
    assert site.folded_operations == 3 * folded
    shared = dataclasses.replace(site, shared_queries=True)
    assert site.projected_operations - shared.projected_operations == 2 * 5 * 7 * 6
    assert site.folded_operations - shared.folded_operations == 2 * 5 * 6 * (7 + 26)
    assert site.weights == 3 * 2 * 5 * 6


def test_operations_of_decoding_by_hand():
    # 6 queries of 2 + 11 + 13 channels; 5 latents of 7 channels; heads of 3 and 5; 17 out.
    part = Part(2, 3, 2, 11, 13)
    site = Site(3, 6, 5, 2, 26, 7, 6, 10, 17, queries=(part,))
    latents, scores = 5 * 7 * (6 + 10), 5 * (6 * 26 + 2 * part.products())
    folded_output, projected_output = (5 * 10 + 2 * 6 * 5) * 17, 6 * 5 * 10 + 6 * 10 * 17
    best = min(folded_output, projected_output)
    assert site.folded_operations == 3 * (latents + scores + best)
    assert site.folds_output == (folded_output < projected_output)
    wide = dataclasses.replace(site, output_channels=1)
    assert wide.folds_output


@pytest.mark.parametrize("side", ["keys", "queries"])
@pytest.mark.parametrize(("num_heads", "columns"), [(1, 5), (2, 5), (2, 1)])
def test_operations_are_those_of_the_program(side, num_heads, columns, monkeypatch):
    """The estimate is the count in the traced program, but for what the biases take."""
    rows, channels, latents, width = 23, (2, 3, 5 if columns > 1 else 0), 29, 6
    elements = ByteArray(
        (
            Grid(
                jnp.ones((1, rows, columns, channels[0])),
                jnp.ones((rows, channels[1])),
                jnp.ones((columns, channels[2])),
                jnp.ones((0,)),
                tuple(range(sum(channels))),
            ),
        )
    )
    plain = jnp.ones((1, latents, 31))
    q, kv = (plain, elements) if side == "keys" else (elements, plain)
    made = []
    _spy(monkeypatch, made)

    def forward(q, kv):
        module = CrossAttention(num_heads=num_heads, qk_channels=width, use_query_residual=False)
        return module(q, kv)

    f = hk.transform(forward)
    params = jax.eval_shape(f.init, jax.random.key(0), q, kv)
    # All at once, so that nothing is computed for parts apart.
    for table in ("_INPUT_BYTES", "_OUTPUT_BYTES"):
        monkeypatch.setitem(getattr(routes, table), "cpu", 2**30)
    for wanted in ("streamed", "folded"):
        made.clear()
        with routes.choosing(wanted):
            counted = total(count_flops(lambda p, q, kv: f.apply(p, None, q, kv), params, q, kv))
        site = made[-1].site
        assert made[-1].route == wanted
        expected = made[-1].operations + 2 * q.shape[1] * q.shape[2] ** 2  # And the MLP.
        if wanted == "folded":
            # The layer norm's offset, through the projection that follows it.
            of_queries = site.qk_channels * (site.q_channels + site.num_keys)
            expected += site.kv_channels * site.v_channels if side == "keys" else of_queries
        assert counted.matmul == 2 * expected


def _spy(monkeypatch, made: list[routes.Plan]) -> None:
    def spy(site, wanted="auto"):
        made.append(plan(site, wanted))
        return made[-1]

    monkeypatch.setattr(routes, "plan", spy)


# Routes of the encoder's cross-attends, of the towers, and of the decoder's, by place.
FOLDED = ("folded", "folded", "folded", "folded")
PROJECTED = ("streamed", "streamed", "cudnn", "pallas")
HALF = ("folded", "folded", "folded", "pallas")
FEW = ("plain", "plain", "plain", "plain")
ZOO = {
    "imagenet_fourier": (FOLDED, PROJECTED, FEW),
    "imagenet_learned": (HALF, PROJECTED, FEW),
    "imagenet_conv": (FOLDED, PROJECTED, FEW),
    "mlm": (PROJECTED, PROJECTED, PROJECTED),
    "optical_flow": (FOLDED, PROJECTED, FOLDED),
    "video_autoencoding": (FOLDED, PROJECTED, FOLDED),
    "perceiver_imagenet": (FOLDED, PROJECTED, None),
    "perceiver_imagenet_learned": (("folded", "folded", "cudnn", "pallas"), PROJECTED, None),
    "perceiver_modelnet40": (HALF, PROJECTED, None),
    "perceiver_audioset_raw": (("streamed", "streamed", "streamed", "pallas"), PROJECTED, None),
    "perceiver_audioset_mel": (FOLDED, PROJECTED, None),
    "perceiver_audioset_video": (FOLDED, PROJECTED, None),
    "perceiver_audioset_audio_video_raw": (FOLDED, PROJECTED, None),
    "perceiver_table5_8_cross_attends": (FOLDED, None, None),
    "perceiver_table6_4_interleaved": (FOLDED, PROJECTED, None),
    "perceiver_figure5_base": (FOLDED, PROJECTED, None),
    "perceiver_io_table1_sentencepiece": (PROJECTED, PROJECTED, PROJECTED),
    "perceiver_io_table15_128_latents": (
        ("folded", "folded", "cudnn", "pallas"),
        FEW,
        PROJECTED,
    ),
    "perceiver_io_table4_352x": (FOLDED, PROJECTED, FOLDED),
    "perceiver_io_table16_1x1_separate": (FOLDED, PROJECTED, FOLDED),
    "perceiver_io_config_b_fourier": (FOLDED, PROJECTED, FEW),
    "perceiver_io_table10_io_mel": (FOLDED, PROJECTED, FEW),
}


@pytest.mark.parametrize("name", ZOO)
def test_routes_of_the_zoo(name, monkeypatch):
    model = perceiver_jax.build(name)
    params, state = model.abstract_params()
    made: list[routes.Plan] = []
    _spy(monkeypatch, made)
    key = jax.eval_shape(lambda: jax.random.key(0))
    jax.eval_shape(model.apply, params, state, key, *model.example_inputs(1))
    found = [None, None, None]
    for each in made:
        kind = 0 if each.site.keys else 2 if each.site.queries else 1
        routes_of = tuple(plan(dataclasses.replace(each.site, **p)).route for p in PLACES.values())
        # All of a kind are computed alike, on each backend.
        assert found[kind] in (None, routes_of)
        found[kind] = routes_of
        assert each.route == routes_of[0]
        _everything_is_said(each)
    assert tuple(found) == ZOO[name]


@pytest.mark.parametrize(
    ("per_row", "num_rows", "expected"),
    [
        (2**18, 224, 1),  # A row's weights fill the megabyte.
        (2**30, 224, 1),  # Or more than that.
        (2**10, 224, 224),
        (2**11, 224, 112),  # Not the 128 that would fit, which leave 96.
        (2**11, 223, 128),  # A prime: the most that fits.
        (2**11, 0, 1),
    ],
)
def test_rows_at_a_time(per_row, num_rows, expected):
    assert routes.rows_at_a_time(per_row, num_rows) == expected
    assert routes.outputs_at_a_time(16 * per_row, num_rows) == expected
