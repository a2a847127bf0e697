"""experiments/digits_transfer.py: what its variants claim about each other."""

import numpy as np

from perceiver_jax import config as config_lib
from perceiver_jax.train.config import NEUTRAL_FIELDS
from perceiver_jax.zoo import recognise

FILE = "experiments/digits_transfer.py"


def variant(name):
    return config_lib.load_experiment(f"{FILE}:{name}")


def differences(one, other):
    paths = [path for path, *_ in config_lib.diff(variant(one), variant(other))]
    return {path for path in paths if path not in NEUTRAL_FIELDS}


def test_each_variant_differs_in_what_it_says():
    assert differences("scratch", "finetune") == {"checkpoint", "fresh"}
    assert differences("finetune", "slower") == {"learning_rates"}
    assert differences("finetune", "frozen") == {"frozen"}
    assert differences("pretrain_half", "scratch") == {
        "data.digits", "data.train_images_per_digit", "trainer.num_steps"}  # fmt: skip
    shapes = {
        name: recognise.expected_shapes(variant(name).model)
        for name in ("pretrain", "pretrain_half", "frozen")
    }
    assert shapes["pretrain_half"] == shapes["frozen"]
    assert recognise.differing_modules(shapes["pretrain"], shapes["frozen"]) == [
        "classification_decoder/~/basic_decoder/output"
    ]


def test_no_digit_is_in_both_halves():
    seen, new = variant("pretrain_half").data, variant("finetune").data
    assert sorted(seen.digits + new.digits) == list(range(10))
    assert list(np.bincount(new.make_source("train").labels)) == [10] * 5
    assert len(new.make_source("test")) == 180
