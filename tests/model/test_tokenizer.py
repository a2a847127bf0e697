"""Bytes as tokens: golden ids, round trips, errors."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from perceiver_jax.model import tokenizer
from tests import golden_cases

pytestmark = pytest.mark.core


def test_equals_golden():
    case = golden_cases.load("tokenizer")
    for i, text in enumerate(case.config["strings"]):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.int32
        np.testing.assert_array_equal(ids, case.outputs[f"enc{i}"])
        assert tokenizer.decode(ids) == case.config["round_trip"][i]
    assert tokenizer.decode(case.outputs["bad"]) == case.config["bad_decoded"]
    masked = case.outputs["colab_masked"]
    assert tokenizer.decode(masked) == case.config["colab_masked_decoded"]
    specials = {
        name: getattr(tokenizer, name.upper())
        for name in ("pad", "bos", "eos", "mask", "cls", "sep")
    }
    assert {**specials, "vocab_size": tokenizer.VOCAB_SIZE} == case.config["specials"]


@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
@hypothesis.given(st.text())
def test_text_comes_back(text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    with_specials = np.concatenate([[tokenizer.CLS], ids, [tokenizer.SEP, tokenizer.PAD]])
    assert tokenizer.decode(with_specials) == text


def test_encodes_by_hand():
    np.testing.assert_array_equal(tokenizer.encode("Aé"), [6 + 0x41, 6 + 0xC3, 6 + 0xA9])


def test_pads_by_hand():
    ids, mask = tokenizer.pad(tokenizer.encode("Ab"), 5)
    np.testing.assert_array_equal(ids, [71, 104, 0, 0, 0])
    np.testing.assert_array_equal(mask, [1, 1, 0, 0, 0])
    assert ids.dtype == mask.dtype == np.int32


def test_text_that_is_too_long_is_named():
    with pytest.raises(ValueError, match="3 tokens do not fit into 2"):
        tokenizer.pad(tokenizer.encode("abc"), 2)


@pytest.mark.parametrize("bad", [-1, 262])
def test_ids_outside_the_vocabulary_are_named(bad):
    with pytest.raises(ValueError, match=rf"from 0 to 261; got .*{bad}"):
        tokenizer.decode(np.array([7, bad]))
