"""MNIST trial"""
import dataclasses

from perceiver_jax.data.images.config import ImagesConfig
from perceiver_jax.data.images.crop import RandomCrop
from perceiver_jax.data.images.mnist import MnistConfig
from perceiver_jax.data.images.randaugment import RandAugment
from perceiver_jax.tasks import ClassificationConfig
from perceiver_jax.train.config import ConstantCosine, ExperimentConfig, Lamb, TrainerConfig
from perceiver_jax.zoo import (
    ClassificationDecoderConfig,
    EncoderConfig,
    FourierConfig,
    ImageConfig,
    PerceiverConfig,
    ProjectionDecoderConfig,
)

PIXELS = ImageConfig(
    shape=(28, 28), channels=1, position=FourierConfig(num_bands=16, max_resolution=(28, 28))
)
ENCODER = EncoderConfig(
    num_latents=32,
    latent_channels=96,
    num_blocks=3,
    self_attends_per_block=2,
    num_cross_attends=3,
    cross_attend_heads=1,
    self_attend_heads=4,
    width_rule="min",
)


def exp(name, model):
    return ExperimentConfig(
        name=name,
        model=model,
        task=ClassificationConfig(num_classes=10, label_smoothing=0.1, top_k=None),
        data=ImagesConfig(
            images=MnistConfig(), size=(28, 28), channels=1,
            crop=RandomCrop(area=(0.8, 1.0), aspect=(0.8, 1.25)), flip=False,
            randaugment=RandAugment(num_layers=1, magnitude=5.0, operations=("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"), translate=4.0),
            eval_crop=1.0,
            mean=(127.5,), stddev=(127.5,),
        ),
        optimizer=Lamb(weight_decay=0.1),
        schedule=ConstantCosine(base_lr=3e-3),
        trainer=TrainerConfig(num_steps=2000, batch_size=64, log_every=50, eval_every=250, checkpoint_every=5000, report=False),
    )


def icml():
    return exp("icml", PerceiverConfig(PIXELS, ENCODER, ProjectionDecoderConfig(num_classes=10)))


def io():
    enc = dataclasses.replace(ENCODER, num_cross_attends=1, num_blocks=2, width_rule="kv")
    return exp("io", PerceiverConfig(PIXELS, enc, ClassificationDecoderConfig(num_classes=10, query_channels=96, num_heads=1)))


VARIANTS = {"icml": icml, "io": io}
