"""ImageNet as in both papers: their models, their recipes, and the baselines beside them.

    python -m perceiver_jax.train --config=experiments/imagenet.py:io_fourier --workdir=DIR
    python -m perceiver_jax.evaluate --workdir=DIR
    python -m perceiver_jax.report --paper_table=imagenet --workdirs=DIR,DIR

The data are ILSVRC2012: 1,281,167 images to train, 50,000 to test, prepared once by
tensorflow-datasets as array_record (docs/data.md). An ImageFolder tree does as well, with any
number of classes:

    --config.data.images=folder --config.data.images.path=DIR
    --config.data.images=folder --config.data.images.path=DIR --config.task.num_classes=10 \\
        --config.model.decoder.num_classes=10     (of baselines: --config.model.num_classes=10)

With fewer than six classes add --config.task.top_k=none. RandAugment moves and covers by pixels of
the stored image: for small ones lower --config.data.randaugment.translate and cutout.

Accuracies are the papers', in per cent, top 1 on the 50,000. None of the full-size variants has
been trained to its end with this package; `perceiver_jax.report` says of each what was run.
"Open" marks what a paper does not say, and what stands here instead. Hardware: 64 TPUv3 for
Perceiver IO (App. A.1); at most 64 TPUs for Perceiver (App. B). On fewer devices:
--config.trainer.accumulate, remat=layers, precision=bfloat16; the batch stays. Decoding and
augmenting take all cores of the hosts: --config.trainer.reader_threads, as many as there are.

Perceiver (Jaegle et al., ICML 2021)
  perceiver                      78.0   Table 1
  perceiver_permuted             78.0   Table 2: pixels shuffled after their positions are attached
  perceiver_learned              70.9   Table 2: learned positions, one cross-attend
  perceiver_learned_permuted     70.9   Table 2
  perceiver_unshared             72.9   Table 7: no weight sharing
  table5_4, table5_8, table5_12  39.4, 45.3, out of memory: cross-attends without a tower
  table6_N_at_start              76.7, 76.7, 75.9, 73.7 for N = 1, 2, 4, 8 cross-attends
  table6_N_interleaved           76.7, 76.5, 76.5, 78.0

Perceiver IO (Jaegle et al., ICLR 2022), Table 7
  io_fourier                     79.0   config A, Fourier features of the positions
  io_learned                     72.7   config A, learned positions
  io_conv                        82.1   config A, a convolution and max-pooling first
  io_perceiver_fourier           78.6   the mean of the latents in place of the decoder; likewise
  io_perceiver_learned           67.6
  io_perceiver_conv              77.4
  io_b_fourier_finetune          84.5   config B, pretrained on JFT: needs its weights
  io_b_conv_finetune             86.4

Baselines, Perceiver, Tables 1 and 2; with `_fourier` on RGB and Fourier features
  resnet50, resnet50_permuted                   77.6, -
  resnet50_fourier, resnet50_fourier_permuted   73.5, 39.4
  vit_b16, vit_b16_permuted                     77.9, -
  vit_b16_fourier, vit_b16_fourier_permuted     76.7, 61.7
  transformer_64, transformer_64_permuted       57.0, 57.0

Small
  smoke                          io_fourier in small, on photographs: minutes on a CPU
  mnist, mnist_permuted, mnist_resnet, mnist_resnet_permuted    Table 2 on real digits: see mnist.py
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from perceiver_jax import zoo
from perceiver_jax.config import load_experiment, override
from perceiver_jax.data.images.config import FolderConfig, ImagesConfig, TfdsConfig
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.tasks.mixing import MixConfig
from perceiver_jax.train.config import (
    Adam,
    Constant,
    ConstantCosine,
    Cosine,
    ExperimentConfig,
    Lamb,
    Steps,
    TrainerConfig,
)
from perceiver_jax.train.paper import PaperResult

MNIST = Path(__file__).with_name("mnist.py")

PERMUTATION_SEED = 0  # The one permutation of all shuffled variants.
EPOCH = 1251  # Steps: 1,281,167 images in batches of 1,024.
BATCH = 1024  # Of Perceiver IO (App. A.1).

# Perceiver IO, App. A.1: LAMB, weight decay 0.1, gradients clipped to a global norm of 10.
LAMB = Lamb(weight_decay=0.1, max_norm=10.0)

# Perceiver, Sec. 4.1: 120 epochs, 0.004, a tenth of it after epochs 84, 102 and 114.
PERCEIVER_SCHEDULE = Steps(
    base_lr=4e-3, decay_rate=0.1, decay_boundaries=(84 / 120, 102 / 120, 114 / 120)
)
# Perceiver IO, App. A.1: 2e-3 for 55 epochs, then a cosine to 0 over 55, without warm-up. Written
# as 5e-4 for each 256 examples of a batch, as in the released training code.
IO_SCHEDULE = ConstantCosine(base_lr=5e-4, scale_by_batch=True, constant_fraction=0.5)

# What the papers say, by field; the report shows where a run differs. Crops are random, and
# RandAugment has 4 layers of magnitude 5 in both (Perceiver, Sec. 4.1; Perceiver IO, App. A.1).
_INPUT_RECIPE = {
    "task.num_classes": 1000,
    "data.images.hold_out": 0,  # All training images, as in the released code.
    "data.size": (224, 224),
    "data.crop": "RandomCrop",
    "data.randaugment": "RandAugment",
    "data.randaugment.num_layers": 4,
    "data.randaugment.magnitude": 5,
}
_FOURIER_RECIPE = {
    "model.preprocessor.position.num_bands": 64,
    "model.preprocessor.position.max_resolution": (224, 224),
}
_PERCEIVER_RECIPE = {
    **_INPUT_RECIPE,
    "optimizer": "Lamb",
    "schedule": "Steps",
    "schedule.base_lr": 4e-3,
    "schedule.decay_rate": 0.1,
    "schedule.decay_boundaries": (84 / 120, 102 / 120, 114 / 120),
    "trainer.num_epochs": 120,
    "model.encoder.num_latents": 512,
    "model.encoder.latent_channels": 1024,
    "model.encoder.cross_attend_heads": 1,
}
_LAMB_RECIPE = {"optimizer": "Lamb", "optimizer.weight_decay": 0.1, "optimizer.max_norm": 10.0}
_IO_RECIPE = {
    **_INPUT_RECIPE,
    **_LAMB_RECIPE,
    "schedule": "ConstantCosine",
    "schedule.base_lr": 5e-4,
    "schedule.scale_by_batch": True,
    "schedule.constant_fraction": 0.5,
    "trainer.num_epochs": 110,
    "trainer.batch_size": BATCH,
    "task.mixing": "MixConfig",
    "task.mixing.mixup_alpha": 0.2,
    "model.encoder.num_latents": 512,
    "model.encoder.latent_channels": 1024,
    "model.encoder.num_blocks": 8,
    "model.encoder.self_attends_per_block": 6,
    "model.encoder.cross_attend_heads": 1,
}


def experiment(
    name: str,
    model: zoo.ModelConfig,
    *,
    schedule: Constant,
    trainer: TrainerConfig,
    paper: PaperResult | None,
    mixing: MixConfig | None = None,
    optimizer: Adam = LAMB,
) -> ExperimentConfig:
    """What all variants share: images, augmentation, label smoothing, how often what is written."""
    return ExperimentConfig(
        name=f"imagenet_{name}",
        model=model,
        # Smoothing is that of the released training code; neither paper mentions it.
        task=ClassificationConfig(num_classes=1000, label_smoothing=0.1, mixing=mixing),
        data=ImagesConfig(images=TfdsConfig()),
        optimizer=optimizer,
        schedule=schedule,
        trainer=trainer,
        paper=paper,
    )


def trained_for(epochs: float | None, steps: int | None = None) -> TrainerConfig:
    """A trainer with the papers' batch, for so many epochs or steps."""
    return TrainerConfig(
        num_epochs=epochs,
        num_steps=steps,
        batch_size=BATCH,
        eval_batch_size=BATCH,
        log_every=100,
        eval_every=5 * EPOCH,
        checkpoint_every=EPOCH,
    )


def permuted(config: ExperimentConfig, percent: float | None) -> ExperimentConfig:
    """A variant on shuffled pixels, one permutation for all, after positions are attached.

    Args:
      config: the variant.
      percent: the paper's result (Perceiver, Table 2); None where it has none.
    """
    is_baseline = isinstance(config.model, zoo.BaselineConfig)
    where = "model" if is_baseline else "model.preprocessor"
    paper = None
    if percent is not None and config.paper is not None:
        paper = dataclasses.replace(
            config.paper,
            row=f"{config.paper.row}, permuted",
            source="Perceiver, Table 2",
            value=percent / 100,
        )
    return override(
        config,
        {
            "name": f"{config.name}_permuted",
            f"{where}.permutation_seed": PERMUTATION_SEED,
            "paper": paper,
        },
    )


# ----------------------------------------------------------------------------------------------
# Perceiver


def _perceiver(
    name: str,
    model: str,
    row: str,
    source: str,
    percent: float | None,
    says: Mapping[str, Any],
) -> ExperimentConfig:
    """The recipe of Perceiver, Sec. 4.1: Inception-style crops, RandAugment, LAMB.

    Open: batch, weight decay, clipping, label smoothing, flips; those of Perceiver IO. Strength of
    RandAugment: what Perceiver IO gives as this paper's. CutMix and MixUp are not mentioned: none.
    """
    return experiment(
        name,
        zoo.get_config(model),
        schedule=PERCEIVER_SCHEDULE,
        trainer=trained_for(120),
        paper=PaperResult(
            row=row,
            source=source,
            metric="top_1",
            value=None if percent is None else percent / 100,
            recipe={**_PERCEIVER_RECIPE, **says},
        ),
    )


def _says_encoder(cross_attends: int, blocks: int) -> dict[str, Any]:
    return {
        "model.encoder.num_cross_attends": cross_attends,
        "model.encoder.num_blocks": blocks,
        "model.encoder.self_attends_per_block": 6,
    }


def perceiver() -> ExperimentConfig:
    """Perceiver with Fourier features: 78.0 % (Tables 1, 2, 6 and 7), 44.9M parameters.

        python -m perceiver_jax.train --config=experiments/imagenet.py:perceiver --workdir=DIR

    Hardware: not stated for this run. Open: see `_perceiver`; heads of the self-attends (8).
    """
    says = {**_says_encoder(8, 8), **_FOURIER_RECIPE}
    return _perceiver("perceiver", "perceiver_imagenet", "Perceiver (FF)", "Perceiver, Table 1",
                      78.0, says)  # fmt: skip


def perceiver_permuted() -> ExperimentConfig:
    """The same on shuffled pixels: 78.0 % (Table 2).

        python -m perceiver_jax.train --config=experiments/imagenet.py:perceiver_permuted ...

    Equal parameters give equal logits, so a trained `perceiver` may be evaluated this way too.
    """
    return permuted(perceiver(), 78.0)


def perceiver_learned() -> ExperimentConfig:
    """Learned positions and a single cross-attend, since 8 were unstable: 70.9 % (Table 2).

        python -m perceiver_jax.train --config=experiments/imagenet.py:perceiver_learned ...

    The table of 50,176 x 128 starts at a scale of 1.0 (App. B). Open: see `_perceiver`; whether
    the towers share weights, as in `perceiver` here.
    """
    says = {
        **_says_encoder(1, 8),
        "model.preprocessor.position": "LearnedConfig",
        "model.preprocessor.position.channels": 128,
        "model.preprocessor.position.init_scale": 1.0,
    }
    return _perceiver("perceiver_learned", "perceiver_imagenet_learned", "Perceiver (Learned pos.)",
                      "Perceiver, Table 2", 70.9, says)  # fmt: skip


def perceiver_learned_permuted() -> ExperimentConfig:
    """The same on shuffled pixels: 70.9 % (Table 2).

    python -m perceiver_jax.train --config=experiments/imagenet.py:perceiver_learned_permuted ...
    """
    return permuted(perceiver_learned(), 70.9)


def perceiver_unshared() -> ExperimentConfig:
    """No weight sharing: 72.9 % (87.7 % on the training images), 326.2M parameters (Table 7).

    python -m perceiver_jax.train --config=experiments/imagenet.py:perceiver_unshared ...
    """
    says = {
        **_says_encoder(8, 8),
        **_FOURIER_RECIPE,
        "model.encoder.share_towers": False,
        "model.encoder.cross_attend_sharing": "none",
    }
    return _perceiver("perceiver_unshared", "perceiver_imagenet_unshared", "No weight sharing",
                      "Perceiver, Table 7", 72.9, says)  # fmt: skip


def table5(cross_attends: int, percent: float | None) -> ExperimentConfig:
    """Cross-attends without sharing and without towers: 39.4 % with 4, 45.3 % with 8 (Table 5).

        python -m perceiver_jax.train --config=experiments/imagenet.py:table5_4 ...

    Twelve were out of memory on 64 TPUs. Open: see `_perceiver`; that recipe is assumed to be the
    one of App. B's tables too.

    Args:
      cross_attends: 4, 8 or 12.
      percent: the paper's result; None for none.
    """
    says = {
        **_FOURIER_RECIPE,
        "model.encoder.num_cross_attends": cross_attends,
        "model.encoder.num_blocks": 0,
        "model.encoder.cross_attend_sharing": "none",
    }
    return _perceiver(f"table5_{cross_attends}", f"perceiver_table5_{cross_attends}_cross_attends",
                      f"{cross_attends} cross-attends, no tower", "Perceiver, Table 5", percent,
                      says)  # fmt: skip


def table6(cross_attends: int, place: str, percent: float) -> ExperimentConfig:
    """Number and place of the cross-attends among 8 towers (Table 6).

        python -m perceiver_jax.train --config=experiments/imagenet.py:table6_8_at_start ...

    At the start 76.7, 76.7, 75.9 and 73.7 % for 1, 2, 4 and 8 of them; interleaved 76.7, 76.5,
    76.5 and 78.0 %. One is the same model in both columns; 8 interleaved are `perceiver`. Open:
    see `_perceiver`; where 2 and 4 stand: spread evenly.

    Args:
      cross_attends: 1, 2, 4 or 8.
      place: "at_start" or "interleaved".
      percent: the paper's result.
    """
    name = f"table6_{cross_attends}_{place}"
    says = {
        **_says_encoder(cross_attends, 8),
        **_FOURIER_RECIPE,
        "model.encoder.cross_attend_placement": place,
    }
    row = f"{cross_attends} cross-attends, {place.replace('_', ' ')}"
    return _perceiver(name, f"perceiver_{name}", row, "Perceiver, Table 6", percent, says)


# ----------------------------------------------------------------------------------------------
# Perceiver IO


def io(kind: str, row: str, percent: float, *, model: str = "imagenet_{}") -> ExperimentConfig:
    """Perceiver IO, config A: 79.0 % (fourier), 72.7 % (learned), 82.1 % (conv), Table 7.

        python -m perceiver_jax.train --config=experiments/imagenet.py:io_fourier --workdir=DIR

    Trained as in App. A.1, on 64 TPUv3: 110 epochs of batches of 1,024, RandAugment, MixUp and
    CutMix; 4.85 steps a second (Table 7). Open: label smoothing, 0.1 as in the released training
    code, and how MixUp and CutMix share a batch: half and half, as there.

    With the mean of the latents in place of the decoder ("Perceiver" in Table 7): 78.6, 67.6 and
    77.4 %. Open for these: the recipe, the same here.

    Args:
      kind: "fourier", "learned" or "conv".
      row: the row of Table 7.
      percent: the paper's result.
      model: name in the zoo, {} standing for the kind.
    """
    position: dict[str, dict[str, Any]] = {
        "fourier": _FOURIER_RECIPE,
        "learned": {
            "model.preprocessor.position": "LearnedConfig",
            "model.preprocessor.position.channels": 256,
            "model.preprocessor.position.init_scale": 0.02,
            "model.preprocessor.prep_channels": 256,
        },
        "conv": {
            "model.preprocessor.prep": "conv",
            "model.preprocessor.prep_channels": 64,
            "model.preprocessor.position.num_bands": 64,
        },
    }
    name = "io" if model == "imagenet_{}" else "io_perceiver"
    return experiment(
        f"{name}_{kind}",
        zoo.get_config(model.format(kind)),
        schedule=IO_SCHEDULE,
        trainer=trained_for(110),
        mixing=MixConfig(mixup_alpha=0.2),
        paper=PaperResult(
            row=row,
            source="Perceiver IO, Table 7",
            metric="top_1",
            value=percent / 100,
            recipe={**_IO_RECIPE, **position[kind]},
        ),
    )


_MEAN = "perceiver_io_table8_perceiver_{}"  # The mean of the latents in place of the decoder.


def io_b_finetune(kind: str, row: str, percent: float, rate: float) -> ExperimentConfig:
    """Config B, fine-tuned on ImageNet: 84.5 % (fourier), 86.4 % (conv), Table 7.

        python -m perceiver_jax.train --config=experiments/imagenet.py:io_b_fourier_finetune \\
            --checkpoint=PATH --workdir=DIR

    The weights that it starts from were pretrained on JFT, 300 million images that are not public,
    and never released: give your own, of this model with any number of classes. The last layer
    starts anew. 131,000 steps of batches of 1,024 on 64 TPUs, LAMB at 2e-3 (2e-4 with the
    convolution) for 70,000 steps, then a cosine over 61,000 (App. A.2). Open: weight decay,
    clipping and augmentation; those of training from scratch. The number of latents: 512.

    Args:
      kind: "fourier" or "conv".
      row: the row of Table 7.
      percent: the paper's result.
      rate: the learning rate.
    """
    recipe = {
        "optimizer": "Lamb",
        "schedule": "ConstantCosine",
        "schedule.base_lr": rate,
        "schedule.constant_fraction": 70 / 131,
        "trainer.num_steps": 131_000,
        "trainer.batch_size": BATCH,
        "data.size": (224, 224),
        "model.encoder.self_attends_per_block": 16,
        "model.encoder.self_attend_widening_factor": 4,
    }
    config = experiment(
        f"io_b_{kind}_finetune",
        zoo.get_config(f"perceiver_io_config_b_{kind}"),
        schedule=ConstantCosine(base_lr=rate, constant_fraction=70 / 131),
        trainer=trained_for(None, steps=131_000),
        mixing=MixConfig(mixup_alpha=0.2),
        paper=PaperResult(
            row=row,
            source="Perceiver IO, Table 7",
            metric="top_1",
            value=percent / 100,
            recipe=recipe,
        ),
    )
    return dataclasses.replace(config, checkpoint=NOT_RELEASED, fresh=("*basic_decoder/output",))


# Stands where a path must be given; the error that it "does not exist" says which one.
NOT_RELEASED = "weights of config B pretrained on JFT (never released: give --checkpoint=PATH)"


# ----------------------------------------------------------------------------------------------
# Baselines. Rows on RGB are printed from the literature; those with Fourier features (FF) are the
# paper's own runs, of which it tells no setting. So everything about the training is open.

_FF_RECIPE = {"model.position.num_bands": 64, "model.position.max_resolution": (224, 224)}


def resnet50(*, fourier: bool = False) -> ExperimentConfig:
    """ResNet-50: 77.6 % on RGB, from the RandAugment paper; 73.5 % on RGB + FF (Table 1).

        python -m perceiver_jax.train --config=experiments/imagenet.py:resnet50 --workdir=DIR

    Hardware: not stated. Open: all of the training. Here the Perceiver's recipe, so that only the
    model is another, but a weight decay of 0.02, which Wightman et al. (2021, "ResNet strikes
    back", A2) have with LAMB for this network; they train at 5e-3 with batches of 2,048.
    """
    model = "baseline_resnet50_fourier" if fourier else "baseline_resnet50"
    return experiment(
        "resnet50_fourier" if fourier else "resnet50",
        zoo.get_config(model),
        schedule=PERCEIVER_SCHEDULE,
        trainer=trained_for(120),
        optimizer=Lamb(weight_decay=0.02, max_norm=10.0),
        paper=PaperResult(
            row="ResNet-50 (FF)" if fourier else "ResNet-50",
            source="Perceiver, Table 1",
            metric="top_1",
            value=0.735 if fourier else 0.776,
            recipe={
                "model": "ResNetConfig",
                "model.depth": 50,
                "data.size": (224, 224),
                **(_FF_RECIPE if fourier else {}),
            },
        ),
    )


def vit_b16(*, fourier: bool = False) -> ExperimentConfig:
    """ViT-B/16: 77.9 % on RGB, from the ViT paper; 76.7 % on RGB + FF (Table 1).

        python -m perceiver_jax.train --config=experiments/imagenet.py:vit_b16 --workdir=DIR

    Hardware: not stated. Open: all of the training. Here that of DeiT (Touvron et al. 2021) as far
    as augmentation is the Perceiver's: AdamW, 1e-3 at batches of 1,024 after 5 epochs of warm-up,
    then a cosine to 0, weight decay 0.05, 300 epochs; no clipping, no stochastic depth. The FLOPs
    that Perceiver IO prints for this row are those of 384 x 384 pixels (docs/models.md), to which
    the ViT paper fine-tunes; 224 here, as for all models.
    """
    model = "baseline_vit_b16_fourier" if fourier else "baseline_vit_b16"
    return experiment(
        "vit_b16_fourier" if fourier else "vit_b16",
        zoo.get_config(model),
        schedule=Cosine(base_lr=1e-3, warmup_epochs=5),
        trainer=trained_for(300),
        optimizer=Adam(weight_decay=0.05, max_norm=None),
        paper=PaperResult(
            row="ViT-B-16 (FF)" if fourier else "ViT-B-16",
            source="Perceiver, Table 1",
            metric="top_1",
            value=0.767 if fourier else 0.779,
            recipe={
                "model": "TransformerConfig",
                "model.patch_size": 16,
                "model.num_layers": 12,
                "model.token_channels": 768,
                **(_FF_RECIPE if fourier else {}),
            },
        ),
    )


def transformer_64() -> ExperimentConfig:
    """The Transformer on 64 x 64 pixels with Fourier features: 57.0 % (Table 1).

        python -m perceiver_jax.train --config=experiments/imagenet.py:transformer_64 --workdir=DIR

    Its layer is that of the latent tower. Open: number and width of the layers and all of the
    training, which the paper searched for. Here one tower of the Perceiver, which costs as much
    as the whole Perceiver does (`perceiver_jax.zoo.baselines`), and the Perceiver's recipe. Images
    are augmented at 224 x 224 and averaged down on the device.
    """
    return experiment(
        "transformer_64",
        zoo.get_config("baseline_transformer_64"),
        schedule=PERCEIVER_SCHEDULE,
        trainer=trained_for(120),
        paper=PaperResult(
            row="Transformer (64x64, FF)",
            source="Perceiver, Table 1",
            metric="top_1",
            value=0.57,
            recipe={
                "model": "TransformerConfig",
                "model.resize_to": (64, 64),
                "model.patch_size": 1,
                "model.widening_factor": 1,
                "model.position.num_bands": 64,
            },
        ),
    )


def baseline_permuted(
    make: Callable[[], ExperimentConfig], percent: float | None = None
) -> ExperimentConfig:
    """A baseline on shuffled pixels: 39.4 % (ResNet-50), 61.7 % (ViT-B/16), 57.0 % (64 x 64).

        python -m perceiver_jax.train --config=experiments/imagenet.py:resnet50_fourier_permuted ...

    These are Table 2, on RGB + FF; on RGB alone the paper has none.

    Args:
      make: the baseline.
      percent: the paper's result; None for none.
    """
    return permuted(make(), percent)


# ----------------------------------------------------------------------------------------------
# Small


def smoke() -> ExperimentConfig:
    """`io_fourier` in small, on ten classes of photographs: minutes on a CPU.

        python -m perceiver_jax.data.images.photos --out=data/photos
        python -m perceiver_jax.train --config=experiments/imagenet.py:smoke --workdir=DIR

    Shows that all parts work together, from files to the table; there is no result to expect. Any
    ImageFolder of ten classes will do: --config.data.images.path=DIR. What differs from
    `io_fourier` is where the images lie, and sizes: images of 32 x 32, 8 bands, 32 latents of 64
    channels in 2 blocks of 2 layers with 4 heads, a query of 64 channels, 10 classes, 200 steps of
    batches of 64, how often what is written, and RandAugment's translations and squares, which are
    in pixels of the stored image: the tiles have 64 to a side, ImageNet's images about 400.
    """
    return override(
        VARIANTS["io_fourier"](),
        {
            "name": "imagenet_smoke",
            "paper": None,
            "data.images": FolderConfig(path="data/photos"),
            "data.size": (32, 32),
            "data.randaugment.translate": 16.0,
            "data.randaugment.cutout": 6.0,
            "model.preprocessor.shape": (32, 32),
            "model.preprocessor.position.max_resolution": (32, 32),
            "model.preprocessor.position.num_bands": 8,
            "model.encoder.num_latents": 32,
            "model.encoder.latent_channels": 64,
            "model.encoder.num_blocks": 2,
            "model.encoder.self_attends_per_block": 2,
            "model.encoder.self_attend_heads": 4,
            "model.decoder.query_channels": 64,
            "model.decoder.num_classes": 10,
            "task.num_classes": 10,
            "trainer.num_epochs": None,
            "trainer.num_steps": 200,
            "trainer.batch_size": 64,
            "trainer.eval_batch_size": 64,
            "trainer.log_every": 10,
            "trainer.eval_every": 100,
            "trainer.checkpoint_every": 100,
        },
    )


VARIANTS: dict[str, Callable[[], ExperimentConfig]] = {
    "io_fourier": partial(io, "fourier", "Perceiver IO, config A (2D FF)", 79.0),
    "io_learned": partial(io, "learned", "Perceiver IO, config A (learned pos.)", 72.7),
    "io_conv": partial(io, "conv", "Perceiver IO, config A (conv)", 82.1),
    "io_perceiver_fourier": partial(io, "fourier", "Perceiver (2D FF)", 78.6, model=_MEAN),
    "io_perceiver_learned": partial(io, "learned", "Perceiver (learned pos.)", 67.6, model=_MEAN),
    "io_perceiver_conv": partial(io, "conv", "Perceiver (conv)", 77.4, model=_MEAN),
    "io_b_fourier_finetune": partial(
        io_b_finetune, "fourier", "Perceiver IO, config B (2D FF)", 84.5, 2e-3
    ),
    "io_b_conv_finetune": partial(
        io_b_finetune, "conv", "Perceiver IO, config B (conv)", 86.4, 2e-4
    ),
    "perceiver": perceiver,
    "perceiver_permuted": perceiver_permuted,
    "perceiver_learned": perceiver_learned,
    "perceiver_learned_permuted": perceiver_learned_permuted,
    "perceiver_unshared": perceiver_unshared,
    **{
        f"table5_{n}": partial(table5, n, percent)
        for n, percent in ((4, 39.4), (8, 45.3), (12, None))
    },
    **{
        f"table6_{n}_{place}": partial(table6, n, place, percent)
        for place, column in (
            ("at_start", (76.7, 76.7, 75.9, 73.7)),
            ("interleaved", (76.7, 76.5, 76.5, 78.0)),
        )
        for n, percent in zip((1, 2, 4, 8), column, strict=True)
    },
    "resnet50": resnet50,
    "resnet50_permuted": partial(baseline_permuted, resnet50),
    "resnet50_fourier": partial(resnet50, fourier=True),
    "resnet50_fourier_permuted": partial(baseline_permuted, partial(resnet50, fourier=True), 39.4),
    "vit_b16": vit_b16,
    "vit_b16_permuted": partial(baseline_permuted, vit_b16),
    "vit_b16_fourier": partial(vit_b16, fourier=True),
    "vit_b16_fourier_permuted": partial(baseline_permuted, partial(vit_b16, fourier=True), 61.7),
    "transformer_64": transformer_64,
    "transformer_64_permuted": partial(baseline_permuted, transformer_64, 57.0),
    "smoke": smoke,
    **{
        name: partial(load_experiment, f"{MNIST}:{name}")
        for name in ("mnist", "mnist_permuted", "mnist_resnet", "mnist_resnet_permuted")
    },
}
