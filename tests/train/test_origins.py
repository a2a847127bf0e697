"""Starting from a checkpoint of another model: what is taken, what is said, what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import config as config_lib
from perceiver_jax import zoo
from perceiver_jax.checkpoints import native
from perceiver_jax.errors import ConfigError, ModelError
from perceiver_jax.infer.classify import interpolate_positions
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.initial import initial_state, start_of_run
from perceiver_jax.train.loop import train
from tests.random_params import model_params
from tests.train.fake import Crash
from tests.train.tiny_experiment import tiny

DECODER = "classification_decoder/~/basic_decoder"
OUTPUT = f"{DECODER}/output"
TABLE = "image_preprocessor/~_build_network_inputs/trainable_position_encoding"


def model(decoder=None, shape=(8, 8), position=None, heads=2):
    """A Perceiver of a few hundred parameters."""
    return zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig(
            shape, channels=1, position=position or zoo.FourierConfig(num_bands=1)
        ),
        encoder=zoo.EncoderConfig(
            num_latents=3,
            latent_channels=4,
            num_blocks=1,
            self_attends_per_block=1,
            self_attend_heads=heads,
        ),
        decoder=decoder or zoo.ClassificationDecoderConfig(10, query_channels=5),
    )


def experiment(**changes):
    """Digits."""
    return config_lib.override(
        tiny(),
        {"model": model(), "trainer.num_epochs": None, "trainer.num_steps": 2, **changes},
    )


def saved(folder, config):
    """A file of random weights of a model, and the weights."""
    params, state = model_params(perceiver_jax.build(config), seed=1)
    path = folder / "weights.safetensors"
    native.save(path, params, state, config)
    return str(path), params


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """The weights of a model of the ICML form: with the same encoder, and another head."""
    return saved(tmp_path_factory.mktemp("averaged"), model(zoo.ProjectionDecoderConfig(7)))


@pytest.mark.core
def test_a_head_that_the_checkpoint_has_not(averaged):
    path, params = averaged
    with pytest.raises(ModelError) as e:
        start_of_run(assemble(experiment(checkpoint=path)))
    message = str(e.value)
    assert "missing" in message and "unexpected" in message
    # The flags that it names are the mend.
    assert "--config.fresh=classification_decoder lets it start at random" in message
    (skip,) = [part.split("=")[1].split()[0] for part in message.splitlines() if "skip" in part]
    config = experiment(checkpoint=path, fresh="classification_decoder", skip=skip)
    parts = assemble(config)
    state, origins = start_of_run(parts)
    at_random = initial_state(parts)
    for module, entries in state.params.items():
        expected = params if module.startswith("perceiver_encoder") else at_random.params
        jax.tree.map(np.testing.assert_array_equal, entries, expected[module])

    data = origins.to_json()
    by_origin = {
        origin: {a["module"] for a in data["arrays"] if a["origin"] == origin}
        for origin in data["counts"]
    }
    encoder = {module for module in state.params if module.startswith("perceiver_encoder")}
    assert by_origin == {
        "loaded": encoder,
        "initialised": set(state.params) - encoder,
        "skipped": set(params) - encoder,
    }
    values = sum(x.size for module in encoder for x in state.params[module].values())
    assert data["counts"]["loaded"]["values"] == values
    assert data["counts"]["skipped"] == {"modules": 1, "arrays": 2, "values": 4 * 7 + 7}
    assert data["checkpoint"] == path and data["format"] == "a safetensors file of perceiver_jax"
    (decoders,) = data["config_differences"]
    assert decoders == {
        "name": "decoder",
        "checkpoint": "ProjectionDecoderConfig",
        "model": "ClassificationDecoderConfig",
    }
    text = origins.render()
    assert f"loaded       {len(encoder)} modules, {values:,} values" in text
    assert f"{OUTPUT}: " in text and "w [5, 10]" in text and "w [4, 7]" in text


def test_either_pattern_alone_is_not_enough(averaged):
    path, _ = averaged
    for given, missing in (
        ("fresh=classification_decoder", "skip"),
        ("skip=projection_decoder", "fresh"),
    ):
        field, pattern = given.split("=")
        with pytest.raises(ModelError, match=rf"--config\.{missing}=") as e:
            start_of_run(assemble(experiment(**{"checkpoint": path, field: pattern})))
        assert f"--config.{field}=" not in str(e.value)


def test_mistaken_patterns(averaged, tmp_path):
    path, _ = averaged
    parts = assemble(experiment(checkpoint=path, skip="classification_decodr"))
    with pytest.raises(ConfigError, match=r"skip: .* matches no module of the checkpoint"):
        start_of_run(parts)
    same, _ = saved(tmp_path, model())
    parts = assemble(experiment(checkpoint=same, fresh="*/output", frozen=DECODER))
    with pytest.raises(ConfigError, match=r"named by config\.fresh and by config\.frozen"):
        start_of_run(parts)
    for field, value in (("skip", "a"), ("interpolate_positions", "true")):
        with pytest.raises(ConfigError, match=rf"config\.{field}=.* no meaning without"):
            experiment(**{field: value})
    with pytest.raises(ConfigError, match="must be PATTERN=FACTOR"):
        experiment(learning_rates="perceiver_encoder")
    # As text on the command line has them.
    config = experiment(learning_rates="*/output=10,perceiver_encoder=0.1", frozen="a,b")
    assert config.learning_rates == ("*/output=10", "perceiver_encoder=0.1")
    assert config.frozen == ("a", "b")


def test_another_model_is_no_other_head(tmp_path):
    path, _ = saved(tmp_path, model())
    wider = experiment(**{"checkpoint": path, "model.encoder.latent_channels": 6})
    with pytest.raises(ModelError, match="does not fit") as e:
        start_of_run(assemble(wider))
    assert "--config" not in str(e.value)


def test_what_shapes_do_not_show_is_said(tmp_path):
    path, _ = saved(tmp_path, model(heads=1))
    _, origins = start_of_run(assemble(experiment(checkpoint=path)))
    assert origins.differences == (("encoder.self_attend_heads", "1", "2"),)
    assert "config.model.encoder.self_attend_heads: 1 there, 2 here" in origins.render()


def test_learned_positions_of_another_size(tmp_path):
    learned = zoo.LearnedConfig(channels=3)
    small = model(shape=(5, 7), position=learned)
    path, params = saved(tmp_path, small)
    config = experiment(checkpoint=path, model=model(position=learned))
    with pytest.raises(ModelError, match=r"--config\.interpolate_positions=true stretches"):
        start_of_run(assemble(config))
    state, origins = start_of_run(assemble(dataclasses.replace(config, interpolate_positions=True)))
    expected, _ = interpolate_positions(params, small, (8, 8))
    np.testing.assert_array_equal(state.params[TABLE]["pos_embs"], expected[TABLE]["pos_embs"])
    assert [(a.module, a.shape) for a in origins.of("interpolated")] == [(TABLE, (64, 3))]
    assert "interpolated 1 module, 192 values" in origins.render()
    fourier = experiment(checkpoint=saved(tmp_path, model())[0], interpolate_positions=True)
    with pytest.raises(ModelError, match="has no positions to stretch"):
        start_of_run(assemble(fourier))


def test_a_run_says_once_what_it_started_with(tmp_path, capsys):
    path, params = saved(tmp_path, model())
    config = experiment(
        checkpoint=path, frozen="perceiver_encoder", learning_rates="*/output=2", fresh="*/output"
    )

    def on_step(step):
        if step == 1:
            raise Crash

    run = tmp_path / "run"
    config = config_lib.override(config, {"trainer.checkpoint_every": 1})
    with pytest.raises(Crash):
        train(config, run, on_step=on_step)
    out = capsys.readouterr().out
    file = run / "initial_weights.json"
    written = file.read_text()
    assert "weights     " in out and "initialised  1 module, 60 values" in out
    assert "frozen      " in out and "by perceiver_encoder" in out
    assert "rate times  1 for " in out and ", 2 for 60 values" in out
    frozen = [a["module"] for a in json.loads(written)["arrays"] if not a["trains"]]
    assert frozen and all(m.startswith("perceiver_encoder") or m == OUTPUT for m in frozen)
    # An interrupted run that has saved nothing starts again; one that has goes on.
    train(config, run)
    assert "weights     " in capsys.readouterr().out
    (run / "final_metrics.json").unlink()
    train(config, run)
    out = capsys.readouterr().out
    assert "resuming    at step 2" in out and "weights     " not in out
    assert file.read_text() == written
    loaded = perceiver_jax.load_checkpoint(run)
    for module, entries in params.items():
        same = all(np.array_equal(loaded.params[module][name], x) for name, x in entries.items())
        assert same == module.startswith("perceiver_encoder"), module


def test_without_a_checkpoint_there_is_nothing_to_say(tmp_path):
    _, origins = start_of_run(assemble(experiment()))
    assert origins.render() == "" and origins.to_json()["checkpoint"] is None
    assert set(origins.to_json()["counts"]) == {"initialised"}


def test_weights_of_half_precision_train_in_float32(tmp_path):
    config = model()
    params, state = model_params(perceiver_jax.build(config), seed=1)
    half = jax.tree.map(lambda x: x.astype(np.float16), params)
    path = tmp_path / "half.safetensors"
    native.save(path, half, state, config)
    found = initial_state(assemble(experiment()), path)
    assert {leaf.dtype for leaf in jax.tree.leaves(found.params)} == {np.dtype(np.float32)}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype("f4")), found.params, half)
