"""What was published about the released models: whether it fits together, and the models."""

import numpy as np
import pytest

from perceiver_jax.infer import class_names
from perceiver_jax.infer import released_expectations as published
from perceiver_jax.infer.released_expectations import RELEASED
from perceiver_jax.model import tokenizer
from perceiver_jax.zoo import recognise


@pytest.mark.core
def test_what_is_published_fits_together():
    assert len({each.name for each in RELEASED}) == len({each.pickle for each in RELEASED}) == 6
    families = {family.name: family for family in recognise.FAMILIES}
    numbers = []
    for each in RELEASED:
        assert families[each.family].config() == each.config()
        procedure = each.procedure
        if isinstance(procedure, published.Texts):
            numbers += [text.logits for text in procedure.texts]
            for text in procedure.texts:
                assert text.shape == (1, each.config().preprocessor.length, tokenizer.VOCAB_SIZE)
        elif isinstance(procedure, published.Image):
            numbers += [procedure.logits, procedure.probabilities]
            assert procedure.shape == (1, each.config().decoder.num_classes)
            assert len(procedure.logits.values) == 3
            assert len(procedure.top) == len(procedure.probabilities.values) == 5
            # The names of outputs, and the same one first for all three models.
            assert set(procedure.top) <= set(class_names.imagenet())
            assert procedure.top[0] == "tabby, tabby cat"
            probabilities = procedure.probabilities.values
            assert list(probabilities) == sorted(probabilities, reverse=True)
            assert 0 < sum(probabilities) < 1
        elif isinstance(procedure, published.Flow):
            numbers.append(procedure.outputs)
            assert procedure.shape == (1, *each.config().decoder.shape, 2)
            height, width = procedure.picture.size
            assert height >= procedure.shape[1] and width >= procedure.shape[2]
        else:
            queries = each.config().decoder.queries
            assert procedure.image_points * 128 == np.prod(queries["image"].shape)
            assert procedure.audio_points * 128 == queries["audio"].shape[0]
            assert procedure.image == (1, procedure.image_points, 3)
            assert procedure.audio == (1, procedure.audio_points * 16)
            assert procedure.label == (1, len(class_names.kinetics700()))
    assert len(numbers) == 9
    for each in numbers:
        values = np.array(each.values)
        assert values.dtype == np.float64 and np.isfinite(values).all()
        assert 0 < each.atol <= 1e-4 and 0 <= each.rtol <= 1e-4 and 0 <= each.rounding < 2e-4
        assert each.source
    # Three different models.
    logits = {each.procedure.logits.values for each in RELEASED if "vision" in each.name}
    assert len(logits) == 3


def test_the_published_sentence():
    (texts,) = [each.procedure.texts for each in RELEASED if each.name == "language-perceiver"]
    special, plain = texts
    # As transformers' tokenizer gives it, before " missing." is masked.
    real = np.array(
        [4, 90, 110, 111, 121, 38, 111, 121, 38, 103, 116, 38, 111, 116, 105, 117, 115, 118, 114]
        + [107, 122, 107, 38, 121, 107, 116, 122, 107, 116, 105, 107, 38, 125, 110, 107, 120, 107]
        + [38, 121, 117, 115, 107, 38, 125, 117, 120, 106, 121, 38, 103, 120, 107]
        + [38, 115, 111, 121, 121, 111, 116, 109, 52, 5]
    )
    encoded = tokenizer.encode(special.text)
    np.testing.assert_array_equal([tokenizer.CLS, *encoded, tokenizer.SEP], real)
    assert special.text == plain.text and len(encoded) == 60
    assert special.special_tokens and not plain.special_tokens
    for text, ids in ((special, real), (plain, encoded)):
        assert tokenizer.decode(np.array(text.predicted)) == " missing."
        # What was masked is what should be predicted.
        np.testing.assert_array_equal(ids[slice(*text.masked)], text.predicted)
