"""Images to class names."""

import dataclasses

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.errors import DataError, ModelError
from perceiver_jax.infer import classify
from perceiver_jax.infer.loaded import LoadedModel, check_task, load, tasks_of
from tests import tiny_models
from tests.golden_cases import GOLDEN
from tests.infer.tiny_loaded import loaded, rgb_classifier
from tests.model.baselines import tiny

pytestmark = pytest.mark.usefixtures("quick_compilation")


def images(number, shape=(6, 5)):
    rng = np.random.default_rng(3)
    return list(rng.standard_normal((number, *shape, 3)).astype(np.float32))


@pytest.fixture(scope="module")
def model():
    return loaded(rgb_classifier(), tuple("abcdefg"))


@pytest.mark.core
def test_probabilities_and_names(model):
    (image,) = images(1)
    logits = np.asarray(model.model.apply(model.params, model.state, None, image[None])[0][0])
    probabilities = np.asarray(jax.nn.softmax(logits))
    (predictions,) = classify.classify(model, [image], top_k=7)
    assert [each.index for each in predictions] == np.argsort(-logits).tolist()
    assert sum(each.probability for each in predictions) == pytest.approx(1)
    for each in predictions:
        assert each.name == "abcdefg"[each.index]
        assert each.probability == pytest.approx(probabilities[each.index], rel=1e-4)
    # There are no more than all.
    assert len(classify.classify(model, [image], top_k=100)[0]) == 7
    assert classify.classify(model, [image], top_k=1) == [predictions[:1]]


@pytest.mark.core
def test_the_split_into_batches_does_not_matter(model):
    whole = classify.classify(model, images(5), batch_size=5, top_k=7)
    assert len(whole) == 5
    for batch_size in (2, 8):
        split = classify.classify(model, iter(images(5)), batch_size=batch_size, top_k=7)
        for a, b in zip(whole, split, strict=True):
            assert [each.index for each in a] == [each.index for each in b]
            np.testing.assert_allclose(
                [each.probability for each in a], [each.probability for each in b], atol=1e-6
            )


def test_a_ragged_last_batch_compiles_nothing_anew():
    fresh = loaded(rgb_classifier())
    shapes = []
    apply = fresh.apply
    counting = dataclasses.replace(fresh)
    object.__setattr__(counting, "apply", lambda x: shapes.append(x.shape) or apply(x))
    assert len(classify.classify(counting, images(5), batch_size=2)) == 5
    assert shapes == [(2, 6, 5, 3)] * 3
    assert classify.classify(fresh, []) == []


def test_images_of_another_size_are_refused(model):
    learned = loaded(rgb_classifier(position=zoo.LearnedConfig(channels=4)))
    with pytest.raises(ModelError, match="learned positions"):
        classify.classify(learned, images(1, (7, 7)))
    with pytest.raises(DataError, match="6 class names for a model of 7"):
        classify.classify(dataclasses.replace(model, class_names=tuple("abcdef")), images(1))


def test_fourier_positions_know_other_resolutions(model):
    image = images(1, (12, 10))
    larger = classify.at_resolution(model, (12, 10))
    assert classify.image_shape(larger.config) == (12, 10)
    assert larger.params is model.params
    # With the bands that the model was trained with: those of its own grid, named or not.
    named = zoo.FourierConfig(num_bands=2, max_resolution=(6, 5))
    (expected,) = classify.classify(loaded(rgb_classifier(position=named)), image, top_k=7)
    (actual,) = classify.classify(larger, image, top_k=7)
    assert [each.index for each in actual] == [each.index for each in expected]
    (other,) = classify.classify(model, image, top_k=7)  # Bands of 12 x 10, which it never saw.
    for one, same in zip(actual, expected, strict=True):
        assert one.probability == pytest.approx(same.probability, rel=1e-4)
    assert abs(other[0].probability - actual[0].probability) > 1e-5
    assert classify.at_resolution(model, (6, 5)) is model


def test_learned_positions_are_interpolated_on_request():
    model = loaded(rgb_classifier(position=zoo.LearnedConfig(channels=4)))
    with pytest.raises(ModelError, match="6 x 5 pixels .*--interpolate_positions"):
        classify.at_resolution(model, (9, 9))
    larger = classify.at_resolution(model, (9, 10), interpolate=True)
    module = "image_preprocessor/~_build_network_inputs/trainable_position_encoding"
    assert larger.params[module]["pos_embs"].shape == (90, 4)
    assert model.params[module]["pos_embs"].shape == (30, 4)
    assert len(classify.classify(larger, images(1, (9, 10)))) == 1
    # Nothing else changed, and the same size gives the same table.
    assert all(larger.params[name] is model.params[name] for name in model.params if name != module)
    params, config = classify.interpolate_positions(model.params, model.config, (6, 5))
    assert config == model.config
    np.testing.assert_allclose(
        params[module]["pos_embs"], model.params[module]["pos_embs"], atol=1e-6
    )


@pytest.mark.core
@pytest.mark.usefixtures("highest_precision")
def test_interpolation_as_hugging_face():
    from safetensors.numpy import load_file

    folder = GOLDEN / "hf_small" / "vision-perceiver-learned"
    model = load(folder, numerics="huggingface")
    pixels = load_file(folder / "inputs.safetensors")["case1_interpolate.inputs"]
    expected = load_file(folder / "outputs.safetensors")["case1_interpolate.logits"]
    assert classify.image_shape(model.config) == (14, 14) and pixels.shape == (1, 3, 20, 20)
    larger = classify.at_resolution(model, (20, 20), interpolate=True)
    logits = larger.apply(np.moveaxis(pixels, 1, -1))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_table_for_every_step_of_pixels():
    # Positions belong to elements, of which there are fewer than pixels here.
    config = rgb_classifier((8, 6), zoo.LearnedConfig(channels=4), spatial_downsample=2)
    model = loaded(config)
    larger = classify.at_resolution(model, (16, 10), interpolate=True)
    assert len(classify.classify(larger, images(1, (16, 10)))) == 1


def test_models_of_other_inputs_are_refused():
    four = dataclasses.replace(tiny_models.classifier().preprocessor, channels=4)
    with pytest.raises(ModelError, match="4 channels"):
        classify.image_shape(dataclasses.replace(tiny_models.classifier(), preprocessor=four))
    assert classify.image_channels(tiny_models.classifier()) == 1
    with pytest.raises(ModelError, match="no single images"):
        classify.image_shape(tiny_models.optical_flow())
    with pytest.raises(ModelError, match="single images"):
        params, _ = perceiver_jax.build(tiny_models.language_model()).abstract_params()
        classify.interpolate_positions(params, tiny_models.language_model(), (3, 3))
    small = zoo.ConvNetConfig((8, 8), 3, channels=3)
    assert classify.image_shape(small) == (8, 8)
    with pytest.raises(ModelError, match="but one size"):
        classify.at_resolution(LoadedModel(perceiver_jax.build(small), {}, {}), (9, 9))


def test_a_baseline_with_batch_norm_classifies():
    resnet = loaded(dataclasses.replace(tiny.RESNET, channels=3), ("a", "b", "c"))
    assert tasks_of(resnet.config) == ("classify",)
    assert classify.image_shape(resnet.config) == (16, 24)
    (predictions,) = classify.classify(resnet, images(1, (16, 24)), top_k=3)
    assert {each.name for each in predictions} == {"a", "b", "c"}
    assert sum(each.probability for each in predictions) == pytest.approx(1)
    with pytest.raises(ModelError, match="a ResNet that classifies images cannot do --task=flow"):
        check_task(resnet.config, "flow")


def test_what_models_can_do():
    configs = {name: make() for name, make in tiny_models.ALL.items()}
    assert {name: tasks_of(config) for name, config in configs.items()} == {
        "classifier": ("classify", "tag", "attention"),  # Of one channel, as spectrograms are.
        "language_model": ("fill_mask", "attention"),
        "optical_flow": ("flow",),
        "video_autoencoder": ("autoencode",),
    }
    check_task(configs["classifier"], "classify")
    with pytest.raises(ModelError, match="an optical flow model .*--task=classify.*: flow"):
        check_task(configs["optical_flow"], "classify")
    tasks = {name: tasks_of(zoo.get_config(name)) for name in perceiver_jax.list_models()}
    assert tasks["imagenet_conv"] == tasks["perceiver_imagenet"] == ("classify", "attention")
    assert tasks["perceiver_modelnet40"] == ("classify", "attention")
    assert tasks["perceiver_audioset_raw"] == ("tag", "attention")
    assert tasks["perceiver_audioset_video"] == ("tag",)
    assert tasks["perceiver_audioset_audio_video_raw"] == ("tag",)


def test_encode_and_decode_are_apply(model):
    batch = np.stack(images(2))
    np.testing.assert_allclose(model.decode(model.encode(batch)), model.apply(batch), atol=1e-5)
