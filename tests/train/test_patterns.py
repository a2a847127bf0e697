"""Glob patterns of parts of a model, and learning rates by part."""

import pytest

from perceiver_jax.errors import ConfigError
from perceiver_jax.train import patterns
from perceiver_jax.train.patterns import join, layerwise_rates, matches, parse_rate, split

TREE = {
    "perceiver_encoder/~/self_attention/mlp/linear": {"w": 1, "b": 2},
    "perceiver_encoder/~/self_attention_1/mlp/linear": {"w": 3, "b": 4},
    "perceiver_encoder/~/trainable_position_encoding": {"pos_embs": 5},
    "decoder/output": {"w": 6, "b": 7},
}


def named(pattern):
    return sorted(
        value for entries in split(TREE, [pattern])[1].values() for value in entries.values()
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("perceiver_encoder", [1, 2, 3, 4, 5]),  # all beneath a module
        ("perceiver_encoder/~/self_attention", [1, 2]),  # and not its namesake with a number
        ("*/self_attention*", [1, 2, 3, 4]),
        ("*/linear", [1, 2, 3, 4]),
        ("*/w", [1, 3, 6]),  # one array of each
        ("decoder/output/b", [7]),
        ("*_[1-9]", [3, 4]),
        ("*", [1, 2, 3, 4, 5, 6, 7]),
        ("linear", []),  # not in the middle
        ("perceiver", []),
        ("DECODER", []),
    ],
)
def test_what_a_pattern_names(pattern, expected):
    assert named(pattern) == expected


def test_split_and_join_are_inverse():
    rest, chosen = split(TREE, ["*/b", "*position*"])
    assert "perceiver_encoder/~/trainable_position_encoding" not in rest
    assert rest["decoder/output"] == {"w": 6} and chosen["decoder/output"] == {"b": 7}
    assert join(rest, chosen) == TREE == join(chosen, rest)
    # Without patterns nothing is made anew.
    assert split(TREE, ())[0] is TREE and join(TREE, {}) is TREE


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("ouput", "decoder/output"),
        ("*/selfattention", "perceiver_encoder/~/self_attention"),
        ("perciever_encoder/*", "perceiver_encoder"),
    ],
)
def test_a_pattern_that_names_nothing(pattern, near):
    with pytest.raises(
        ConfigError, match=r"config\.frozen: .* matches no module of the model"
    ) as e:
        patterns.check([pattern], TREE, "frozen")
    assert f"Did you mean {near}" in str(e.value)
    assert "perceiver_jax.inspect" in str(e.value)


def test_nothing_is_near():
    with pytest.raises(ConfigError, match=r"no module of the checkpoint\. The modules"):
        patterns.check(["xyz"], TREE, "skip", "the checkpoint")


def test_rates_as_text():
    assert parse_rate("perceiver_encoder=0.1") == ("perceiver_encoder", 0.1)
    assert parse_rate(" a/[=]* = 1e-2 ") == ("a/[=]*", 0.01)
    assert not matches("a/[=]*", "a", "w") and matches("a/[=]*", "a/=b", "w")
    for text in ("perceiver_encoder", "=0.1", "encoder=", "encoder=slow", "encoder=nan"):
        with pytest.raises(ConfigError, match=r"must be PATTERN=FACTOR, such as"):
            parse_rate(text)
    with pytest.raises(ConfigError, match=r"above 0; to leave .* config\.frozen"):
        parse_rate("encoder=0")
    for text in ("encoder=-1", "encoder=inf"):
        with pytest.raises(ConfigError, match=r"must be a number above 0\.$"):
            parse_rate(text)


def test_rates_that_fall_from_layer_to_layer():
    assert layerwise_rates(3, 0.5, inputs=["image_preprocessor"]) == (
        "perceiver_encoder/~/self_attention=0.125",
        "perceiver_encoder/~/self_attention_1=0.25",
        "perceiver_encoder/~/self_attention_2=0.5",
        "perceiver_encoder=0.0625",
        "image_preprocessor=0.0625",
    )
