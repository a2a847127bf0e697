"""Text with holes to text."""

import dataclasses

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.errors import DataError, ModelError
from perceiver_jax.infer import fill_mask
from perceiver_jax.infer.commands import fill_mask as command
from perceiver_jax.infer.loaded import LoadedModel
from perceiver_jax.model import tokenizer
from tests import golden_cases, released_settings, tiny_models
from tests.infer.tiny_loaded import loaded

pytestmark = pytest.mark.usefixtures("quick_compilation")

PAD, MASK, CLS, SEP = tokenizer.PAD, tokenizer.MASK, tokenizer.CLS, tokenizer.SEP
RELEASED = "This is an incomplete sentence where some words are missing."


@pytest.fixture(scope="module")
def model():
    return loaded(tiny_models.language_model())  # Texts of 11 bytes.


@pytest.mark.core
def test_the_released_example():
    masked = fill_mask.hide_span(RELEASED, 51, 60)
    expected = tokenizer.encode(RELEASED)
    assert expected[51:60].tolist() == [38, 115, 111, 121, 121, 111, 116, 109, 52]
    expected[51:60] = MASK
    np.testing.assert_array_equal(masked.ids, expected)
    assert masked.spans() == [(51, 60)]
    by_text = fill_mask.hide_text(RELEASED, " missing.")
    by_marks = fill_mask.from_marks(RELEASED.replace(" missing.", "[MASK*9]"))
    one_by_one = fill_mask.from_marks(RELEASED.replace(" missing.", "[MASK]" * 9))
    for other in (by_text, by_marks, one_by_one):
        np.testing.assert_array_equal(other.ids, expected)


def test_special_tokens_as_hugging_face():
    ids, mask = fill_mask.pad(fill_mask.hide_span(RELEASED, 51, 60).ids, 2048, special_tokens=True)
    assert mask.sum() == 62 and ids[0] == CLS and ids[61] == SEP and ids[62] == PAD
    assert ids[1:5].tolist() == [90, 110, 111, 121]
    assert np.flatnonzero(ids == MASK).tolist() == list(range(52, 61))


@pytest.mark.core
@pytest.mark.usefixtures("highest_precision")
def test_the_golden_case():
    case = golden_cases.load("mlm")
    settings = golden_cases.manifest()["mlm"]["config"]
    config = zoo.PerceiverConfig(
        preprocessor=zoo.TokensConfig(
            settings["max_seq_len"], settings["vocab_size"], settings["d_model"]
        ),
        encoder=released_settings.encoder(settings["resolved"]["encoder"]),
        decoder=released_settings.basic_decoder(settings["resolved"]["decoder"]),
        postprocessor=zoo.TiedEmbeddingConfig(),
    )
    golden = LoadedModel(perceiver_jax.build(config), case.params, case.state)
    lengths = case.inputs["input_mask"].sum(axis=1)
    # The first example has a hole; of the second, shorter than the model, three bytes are hidden.
    texts, rows = [], case.outputs["out"]
    for ids, length in zip(case.inputs["inputs"][:2], lengths, strict=False):
        texts.append(fill_mask.MaskedText(ids[:length]))
    assert lengths[:2].tolist() == [20, 13]
    first, second = fill_mask.fill(golden, texts, top_k=3)
    assert first.positions == (4, 5, 6) and second.positions == ()
    best = np.argsort(-rows[0, 4:7], axis=-1)[:, :3]
    assert [[each.token for each in candidates] for candidates in first.candidates] == best.tolist()
    assert first.ids[4:7] == tuple(best[:, 0].tolist())
    assert first.ids[:4] == tuple(case.inputs["inputs"][0, :4].tolist())
    probabilities = np.asarray(jax.nn.softmax(rows[0, 4:7]))
    for row, candidates in zip(probabilities, first.candidates, strict=True):
        for each in candidates:
            assert each.probability == pytest.approx(row[each.token], rel=1e-3)
    assert first.text == tokenizer.decode(np.array(first.ids))


def test_fillings_and_batches(model):
    texts = [fill_mask.from_marks(text) for text in ("[MASK*2]bc[MASK]d", "a[MASK]", "[MASK]")]
    together = fill_mask.fill(model, texts, batch_size=3)
    apart = fill_mask.fill(model, texts, batch_size=2)
    assert [each.ids for each in together] == [each.ids for each in apart]
    first = together[0]
    assert first.spans == ((0, 2), (4, 5)) and first.positions == (0, 1, 4)
    assert first.ids[2:4] == tuple(tokenizer.encode("bc").tolist())
    assert first.fillings == tuple(
        tokenizer.decode(np.array(first.ids[start:stop])) for start, stop in first.spans
    )
    assert [each.token for each in (c[0] for c in first.candidates)] == [
        first.ids[position] for position in first.positions
    ]


def test_special_tokens_shift_what_is_read(model):
    (filled,) = fill_mask.fill(model, [fill_mask.from_marks("ab[MASK]d")], special_tokens=True)
    ids, mask = tokenizer.pad(np.array([CLS, *tokenizer.encode("ab"), MASK, 106, SEP]), 11)
    logits = np.asarray(model.apply(ids[None], mask[None]))[0]
    assert filled.positions == (2,) and filled.ids[2] == logits[3].argmax()
    assert len(filled.ids) == 4


def test_bytes_that_are_no_utf8():
    # What Python makes of a command line that is no UTF-8.
    ids = fill_mask.encode(b"a\xff\xe2".decode("utf-8", errors="surrogateescape"))
    assert (ids - 6).tolist() == [0x61, 0xFF, 0xE2]
    assert (fill_mask.encode("\ud800") - 6).tolist() == [ord("?")]
    # Spans are in bytes, and may cut a character in two.
    masked = fill_mask.hide_span("né!", 1, 2)
    assert (masked.ids - 6).tolist() == [0x6E, MASK - 6, 0xA9, 0x21]
    logits = np.zeros((1, 262))
    logits[0, 6 + 0x41] = 1
    filled = fill_mask._filled(masked, logits, 2)
    # Predicted control characters do not reach the terminal as such.
    assert command._lines(dataclasses.replace(filled, text="a\x1b[2J\nb")).startswith(
        "a\\x1b[2J\nb"
    )
    assert filled.text == "nA\ufffd!" and str(filled.candidates[0][0]) == "A"
    names = [fill_mask.token_name(token) for token in (0, 3, 6, 6 + 0x20, 6 + 0xE2)]
    assert names == ["[PAD]", "[MASK]", "0x00", " ", "0xE2"]


def test_mistakes(model):
    with pytest.raises(DataError, match="nothing is masked"):
        fill_mask.from_marks("no holes")
    with pytest.raises(DataError, match=r"\[MASK\*0\]"):
        fill_mask.from_marks("a[MASK*0]b")
    for start, stop in ((3, 3), (2, 1), (0, 4)):
        with pytest.raises(DataError, match="3 bytes"):
            fill_mask.hide_span("abc", start, stop)
    for hidden in ("x", ""):
        with pytest.raises(DataError, match="to hide"):
            fill_mask.hide_text("abc", hidden)
    long = fill_mask.from_marks("Call me Ishmael[MASK]")
    with pytest.raises(DataError, match="'Call me Ishmael' has 16 bytes, and the model takes 11"):
        fill_mask.fill(model, [long])
    with pytest.raises(DataError, match="takes 9"):
        fill_mask.fill(model, [fill_mask.from_marks("[MASK*10]")], special_tokens=True)
    with pytest.raises(ModelError, match="does not read text"):
        fill_mask.text_length(tiny_models.classifier())
    assert fill_mask.fill(model, [fill_mask.from_marks("[MASK*11]")])[0].spans == ((0, 11),)
