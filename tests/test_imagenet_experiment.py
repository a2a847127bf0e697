"""experiments/imagenet.py: every variant is the model and the recipe that its row says."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.config import diff, from_dict, load_experiment, override, to_dict
from perceiver_jax.data.images.config import FolderConfig, ImagesConfig, TfdsConfig
from perceiver_jax.errors import CheckpointError, ConfigError
from perceiver_jax.tasks.mixing import MixConfig
from perceiver_jax.train.assemble import assemble
from perceiver_jax.train.config import Adam, Lamb, MeshConfig
from perceiver_jax.train.initial import start_of_run
from perceiver_jax.train.loop import train
from perceiver_jax.train.paper import NOT_THERE, differences, look_up
from perceiver_jax.train.schedules import make_schedule
from tests.data.images.photos import write_tree
from tests.golden_cases import GOLDEN

_FILE = "experiments/imagenet.py"

PERCEIVER = "perceiver_imagenet"
MEAN = "perceiver_io_table8_perceiver_"
CONFIG_B = "perceiver_io_config_b_"

# Variant: model of the zoo, permuted or not, and the paper's accuracy, if it has one.
ROWS = {
    "perceiver": (PERCEIVER, False, 78.0),
    "perceiver_permuted": (PERCEIVER, True, 78.0),
    "perceiver_learned": ("perceiver_imagenet_learned", False, 70.9),
    "perceiver_learned_permuted": ("perceiver_imagenet_learned", True, 70.9),
    "perceiver_unshared": ("perceiver_imagenet_unshared", False, 72.9),
    "table5_4": ("perceiver_table5_4_cross_attends", False, 39.4),
    "table5_8": ("perceiver_table5_8_cross_attends", False, 45.3),
    "table5_12": ("perceiver_table5_12_cross_attends", False, None),
    "table6_1_at_start": ("perceiver_table6_1_at_start", False, 76.7),
    "table6_2_at_start": ("perceiver_table6_2_at_start", False, 76.7),
    "table6_4_at_start": ("perceiver_table6_4_at_start", False, 75.9),
    "table6_8_at_start": ("perceiver_table6_8_at_start", False, 73.7),
    "table6_1_interleaved": ("perceiver_table6_1_interleaved", False, 76.7),
    "table6_2_interleaved": ("perceiver_table6_2_interleaved", False, 76.5),
    "table6_4_interleaved": ("perceiver_table6_4_interleaved", False, 76.5),
    "table6_8_interleaved": ("perceiver_table6_8_interleaved", False, 78.0),
    "io_fourier": ("imagenet_fourier", False, 79.0),
    "io_learned": ("imagenet_learned", False, 72.7),
    "io_conv": ("imagenet_conv", False, 82.1),
    "io_perceiver_fourier": (f"{MEAN}fourier", False, 78.6),
    "io_perceiver_learned": (f"{MEAN}learned", False, 67.6),
    "io_perceiver_conv": (f"{MEAN}conv", False, 77.4),
    "io_b_fourier_finetune": (f"{CONFIG_B}fourier", False, 84.5),
    "io_b_conv_finetune": (f"{CONFIG_B}conv", False, 86.4),
    "resnet50": ("baseline_resnet50", False, 77.6),
    "resnet50_permuted": ("baseline_resnet50", True, None),
    "resnet50_fourier": ("baseline_resnet50_fourier", False, 73.5),
    "resnet50_fourier_permuted": ("baseline_resnet50_fourier", True, 39.4),
    "vit_b16": ("baseline_vit_b16", False, 77.9),
    "vit_b16_permuted": ("baseline_vit_b16", True, None),
    "vit_b16_fourier": ("baseline_vit_b16_fourier", False, 76.7),
    "vit_b16_fourier_permuted": ("baseline_vit_b16_fourier", True, 61.7),
    "transformer_64": ("baseline_transformer_64", False, 57.0),
    "transformer_64_permuted": ("baseline_transformer_64", True, 57.0),
}
IO = {name for name in ROWS if name.startswith("io_") and not name.startswith("io_b_")}
ICML = {name for name in ROWS if name.startswith(("perceiver", "table"))}
IMAGENET = 1_281_167


def load(variant: str):
    return load_experiment(f"{_FILE}:{variant}")


def variants() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load("none of them")
    found = re.search(r"It has: (.*) \(the first", str(caught.value))
    assert found is not None
    return found[1].split(", ")


def schedule_of(config):
    trainer = config.trainer
    per_epoch = IMAGENET / trainer.batch_size
    total = trainer.num_steps or trainer.num_epochs * per_epoch
    schedule = make_schedule(
        config.schedule,
        batch_size=trainer.batch_size,
        steps_per_epoch=per_epoch,
        total_steps=total,
    )
    return schedule, per_epoch, int(total)


def test_every_row_is_a_variant_and_io_fourier_is_the_default() -> None:
    found = variants()
    assert set(ROWS) | {"smoke"} <= set(found)
    assert load_experiment(_FILE) == load("io_fourier")
    assert found[0] == "io_fourier"


@pytest.mark.parametrize("variant", ROWS)
def test_model_data_and_paper(variant: str) -> None:
    config = load(variant)
    name, is_permuted, percent = ROWS[variant]
    model = zoo.get_config(name)
    where = "" if isinstance(model, zoo.BaselineConfig) else "preprocessor."
    if is_permuted:
        model = override(model, {f"{where}permutation_seed": 0})
    assert config.name == f"imagenet_{variant}"
    assert config.model == model
    assert config.data == ImagesConfig(images=TfdsConfig())
    assert (config.task.num_classes, config.task.label_smoothing) == (1000, 0.1)
    assert (config.trainer.batch_size, config.trainer.eval_split) == (1024, "test")
    assert config.task.mixing == (MixConfig() if variant.startswith("io_") else None)
    if variant == "table5_12":  # The row has no number: the paper ran out of memory.
        assert config.paper is not None and config.paper.value is None
    elif percent is None:
        assert config.paper is None
    else:
        assert config.paper is not None
        assert config.paper.value == pytest.approx(percent / 100)
        assert config.paper.metric == config.task.headline.metric
    assert from_dict(to_dict(config)) == config


@pytest.mark.parametrize("variant", [*(name for name, row in ROWS.items() if row[2]), "table5_12"])
def test_nothing_differs_from_what_the_paper_says(variant: str) -> None:
    config = load(variant)
    assert differences(config, config.paper.recipe) == []
    assert all(look_up(config, path) != NOT_THERE for path in config.paper.recipe)


@pytest.mark.parametrize("variant", sorted(ICML))
def test_the_recipe_of_perceiver(variant: str) -> None:
    config = load(variant)
    schedule, per_epoch, steps = schedule_of(config)
    assert steps == 150_136 and config.optimizer == Lamb(weight_decay=0.1, max_norm=10.0)
    for epoch, rate in ((0, 4e-3), (83.9, 4e-3), (84.1, 4e-4), (101.9, 4e-4), (102.1, 4e-5),
                        (113.9, 4e-5), (114.1, 4e-6)):  # fmt: skip
        assert float(schedule(round(epoch * per_epoch))) == pytest.approx(rate, rel=1e-5)


@pytest.mark.parametrize("variant", sorted(IO))
def test_the_recipe_of_perceiver_io(variant: str) -> None:
    config = load(variant)
    schedule, per_epoch, steps = schedule_of(config)
    assert steps == 137_625 and config.optimizer == Lamb(weight_decay=0.1, max_norm=10.0)
    assert config.data.randaugment.num_layers == 4 and config.data.randaugment.magnitude == 5
    for epoch, rate in ((0, 2e-3), (54.9, 2e-3), (82.5, 1e-3), (110, 0.0)):
        assert float(schedule(round(epoch * per_epoch))) == pytest.approx(rate, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize(("kind", "rate"), [("fourier", 2e-3), ("conv", 2e-4)])
def test_the_recipe_of_fine_tuning(kind: str, rate: float) -> None:
    schedule, _, steps = schedule_of(load(f"io_b_{kind}_finetune"))
    assert steps == 131_000
    for step, share in ((0, 1.0), (69_999, 1.0), (70_000 + 30_500, 0.5), (131_000, 0.0)):
        assert float(schedule(step)) == pytest.approx(rate * share, rel=1e-4, abs=1e-9)


def test_the_recipes_of_the_baselines() -> None:
    resnet, vit = load("resnet50_fourier_permuted"), load("vit_b16")
    assert resnet.optimizer == Lamb(weight_decay=0.02, max_norm=10.0)
    assert schedule_of(resnet)[2] == 150_136
    assert vit.optimizer == Adam(weight_decay=0.05, max_norm=None)
    schedule, per_epoch, steps = schedule_of(vit)
    assert steps == 375_341
    for epoch, rate in ((0, 0.0), (2.5, 5e-4), (5, 1e-3), (152.5, 5e-4), (300, 0.0)):
        assert float(schedule(round(epoch * per_epoch))) == pytest.approx(rate, rel=1e-2, abs=1e-8)


def test_a_permuted_variant_differs_in_nothing_else() -> None:
    for variant in (name.removesuffix("_permuted") for name in ROWS if "permuted" in name):
        changed = {path for path, _, _ in diff(load(variant), load(f"{variant}_permuted"))}
        changed = {path for path in changed if not path.startswith("paper")}
        assert changed <= {"name", "model.permutation_seed", "model.preprocessor.permutation_seed"}
        assert len(changed) == 2


def test_smoke_differs_from_io_fourier_in_sizes_only() -> None:
    changed = {path for path, _, _ in diff(load("io_fourier"), load("smoke"))}
    assert changed == {
        "name",
        "paper",
        "data.images",
        "data.size",
        "data.randaugment.translate",
        "data.randaugment.cutout",
        "task.num_classes",
        "model.preprocessor.shape",
        "model.preprocessor.position.num_bands",
        "model.preprocessor.position.max_resolution",
        "model.encoder.num_latents",
        "model.encoder.latent_channels",
        "model.encoder.num_blocks",
        "model.encoder.self_attends_per_block",
        "model.encoder.self_attend_heads",
        "model.decoder.num_classes",
        "model.decoder.query_channels",
        "trainer.num_steps",
        "trainer.num_epochs",
        "trainer.batch_size",
        "trainer.eval_batch_size",
        "trainer.log_every",
        "trainer.eval_every",
        "trainer.checkpoint_every",
    }


def test_any_variant_reads_an_image_folder() -> None:
    text = {"data.images": "folder", "data.images.path": "my/images"}
    config = override(load("resnet50"), text)
    assert config.data == ImagesConfig(images=FolderConfig(path="my/images"))
    with pytest.raises(ConfigError, match="FolderConfig has it: set config.data.images=folder"):
        override(load("resnet50"), {"data.images.path": "my/images"})
    config = override(load("smoke"), {"data.images.path": "my/images"})
    assert config.data.images == FolderConfig(path="my/images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each of a colour of its own, of images of several sizes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("images")
    for label in range(10):
        colour = rng.integers(0, 256, 3)
        for part, number in (("train", 5), ("val", 2)):
            (root / part / f"class_{label}").mkdir(parents=True)
            for index in range(number):
                shape = (*rng.integers(40, 70, 2), 3)
                noise = rng.integers(-20, 20, shape)
                pixels = np.clip(colour + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / f"class_{label}" / f"{index}.jpeg")
    return root


TINY = {
    "data.size": (8, 8),
    "model.preprocessor.shape": (8, 8),
    "model.preprocessor.position.num_bands": 2,
    "model.encoder.num_latents": 4,
    "model.encoder.latent_channels": 8,
    "model.encoder.num_blocks": 1,
    "model.encoder.self_attends_per_block": 1,
    "model.encoder.self_attend_heads": 2,
    "model.decoder.query_channels": 8,
    "trainer.num_steps": 2,
    "trainer.batch_size": 16,
    "trainer.eval_batch_size": 16,
    "trainer.report": False,
}


def on_eight_and_on_one(config, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """What training ends with: the results on eight virtual devices, and on one."""
    on_eight = train(config, folder / "8")
    chosen = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: chosen)
    return on_eight, train(config, folder / "1")


@pytest.mark.slow
def test_smoke_trains_on_a_folder_on_eight_devices(
    folder: Path, tmp_path: Path, quick_compilation: None
) -> None:
    config = override(load("smoke"), {**TINY, "data.images.path": str(folder)})
    on_eight = train(config, tmp_path)
    assert (on_eight["step"], on_eight["examples"]) == (2, 20)
    assert np.isfinite(on_eight["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("images", ["tfds", "folder"])
def test_the_real_config_trains_on_imagenet_and_on_photographs_with_other_sizes_only(
    images: str,
    tmp_path: Path,
    quick_compilation: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The set that TFDS's own builder made of small archives, and a folder of photographs."""
    changes = {**TINY, "trainer.num_epochs": None}
    if images == "tfds":
        changes["data.images.data_dir"] = str(GOLDEN)
        num_examples = 8
    else:
        root = write_tree(tmp_path / "images", {"n01440764": 9, "n01443537": 8})
        changes["data.images"] = FolderConfig(path=str(root))
        num_examples = 4
    config = override(load("io_fourier"), changes)
    assert {path for path, _, _ in diff(load("io_fourier"), config)} == set(changes)
    on_eight, on_one = on_eight_and_on_one(config, tmp_path, monkeypatch)
    assert (on_eight["step"], on_eight["examples"]) == (2, num_examples)
    assert np.isfinite(on_eight["loss"])
    assert on_one["loss"] == pytest.approx(on_eight["loss"], rel=1e-3)


def test_fine_tuning_asks_for_the_weights(folder: Path, quick_compilation: None) -> None:
    config = override(
        load("io_b_conv_finetune"),
        {
            **{path: value for path, value in TINY.items() if "num_blocks" not in path},
            "data.images": "folder",
            "data.images.path": str(folder),
            "trainer.mesh": MeshConfig(),
        },
    )
    assert config.fresh == ("*basic_decoder/output",)
    with pytest.raises(CheckpointError, match="never released: give --checkpoint=PATH.* exist"):
        start_of_run(assemble(config))


def test_the_learned_head_is_what_starts_anew() -> None:
    model = perceiver_jax.build(load("io_b_fourier_finetune").model)
    heads = [name for name in model.abstract_params()[0] if name.endswith("basic_decoder/output")]
    assert heads == ["classification_decoder/~/basic_decoder/output"]
