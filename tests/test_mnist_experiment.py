"""experiments/mnist.py: what its variants claim about ImageNet's, and about each other."""

from pathlib import Path

import pytest

from perceiver_jax import config as config_lib
from perceiver_jax.config import load_experiment
from perceiver_jax.config.files import _load_variants

VARIANTS = ("mnist", "mnist_permuted", "mnist_resnet", "mnist_resnet_permuted")

COMMON = {
    "data.images", "data.size", "data.channels", "data.mean", "data.stddev", "data.eval_crop",
    "data.crop.area", "data.crop.aspect", "data.flip", "data.randaugment.num_layers",
    "data.randaugment.operations", "data.randaugment.translate", "task.num_classes", "task.top_k",
}  # fmt: skip
SIZES = {
    "mnist": {
        "preprocessor.shape", "preprocessor.channels", "preprocessor.position.num_bands",
        "preprocessor.position.max_resolution", "encoder.num_latents", "encoder.latent_channels",
        "encoder.num_blocks", "encoder.self_attends_per_block", "encoder.cross_attend_heads",
        "encoder.self_attend_heads", "encoder.qk_channels", "encoder.v_channels",
        "decoder.query_channels", "decoder.num_heads", "decoder.num_classes",
    },
    "mnist_resnet": {
        "shape", "channels", "num_classes", "position.num_bands", "position.max_resolution",
        "depth", "stem_channels", "stem_kernel_shape", "stem_stride", "blocks_per_group",
        "channels_per_group",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "imagenet"),
    [("mnist", "io_fourier"), ("mnist_resnet", "resnet50_fourier")],
)
def test_nothing_but_sizes_data_and_recipe_is_other_than_on_imagenet(
    name: str, imagenet: str
) -> None:
    one = load_experiment(f"experiments/imagenet.py:{imagenet}")
    other = load_experiment(f"experiments/mnist.py:{name}")
    assert type(one.model) is type(other.model) and type(one.data) is type(other.data)
    changed = {path for path, _, _ in config_lib.diff(one, other)}
    recipe = ("optimizer", "schedule", "trainer", "name", "paper")
    changed = {path for path in changed if path.split(".")[0] not in recipe}
    changed.discard("task.mixing")  # On ImageNet, of Perceiver IO alone; never here.
    assert changed == COMMON | {f"model.{path}" for path in SIZES[name]}
    assert other.task.mixing is None
    # The same way from an image to what the model reads: crop, RandAugment, bicubic, normalisation.
    assert other.data.resize == one.data.resize == "tensorflow"
    assert other.data.crop is not None and other.data.randaugment is not None
    assert not other.data.flip  # A mirrored digit is another one, or none.
    assert set(other.data.randaugment.operations) == {
        "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["mnist", "mnist_resnet"])
def test_permuted_variants_differ_in_the_permutation_alone(name: str) -> None:
    raw = load_experiment(f"experiments/mnist.py:{name}")
    permuted = load_experiment(f"experiments/mnist.py:{name}_permuted")
    where = "model.preprocessor" if name == "mnist" else "model"
    assert [
        (path, before) for path, before, _ in config_lib.diff(raw, permuted) if path != "name"
    ] == [(f"{where}.permutation_seed", None)]


def test_imagenet_offers_them_too() -> None:
    variants = _load_variants(Path("experiments/imagenet.py"))
    assert set(VARIANTS) <= set(variants)
    for name in VARIANTS:
        assert variants[name]() == load_experiment(f"experiments/mnist.py:{name}")
