"""What the tutorials read, small: random weights under the released files' names, and inputs."""

import dataclasses

import numpy as np
from PIL import Image

import perceiver_jax
from perceiver_jax import zoo
from perceiver_jax.checkpoints import native
from perceiver_jax.infer import video_writing
from tests import random_params, tiny_models


def _classifier(**preprocessor):
    """Images of 16 x 16 pixels, 7 classes."""
    return zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig((16, 16), **preprocessor),
        encoder=dataclasses.replace(tiny_models.encoder(), num_blocks=2, num_latents=8),
        decoder=zoo.ClassificationDecoderConfig(num_classes=7, query_channels=14),
    )


def _fourier():
    return _classifier(position=zoo.FourierConfig(num_bands=64, max_resolution=(224, 224)))


def _learned():
    return _classifier(
        prep="conv1x1",
        prep_channels=256,
        position=zoo.LearnedConfig(channels=256),
        project_position_to=256,
    )


def _language_model():
    """Texts of 96 bytes, with the heads that transformers needs."""
    return zoo.PerceiverConfig(
        preprocessor=zoo.TokensConfig(length=96, channels=16),
        encoder=zoo.EncoderConfig(
            num_latents=8,
            latent_channels=16,
            num_blocks=1,
            self_attends_per_block=1,
            cross_attend_heads=8,
            self_attend_heads=8,
            qk_channels=256,
            v_channels=16,
        ),
        decoder=zoo.DecoderConfig(
            output_channels=None,
            query=zoo.QueryConfig(shape=(96,), position=zoo.LearnedConfig(channels=16)),
            num_heads=8,
            qk_channels=256,
            v_channels=16,
        ),
        postprocessor=zoo.TiedEmbeddingConfig(),
    )


def _flow():
    """Frames of 12 x 16 pixels."""
    return zoo.PerceiverConfig(
        preprocessor=zoo.ImageConfig(
            (2, 12, 16),
            prep="patches",
            temporal_downsample=2,
            neighbourhood=3,
            prep_channels=64,
            position=zoo.FourierConfig(num_bands=64),
        ),
        encoder=tiny_models.encoder(),
        decoder=zoo.FlowDecoderConfig((12, 16)),
    )


def _video():
    """The released structure: 4 frames of 16 x 16 pixels, 1,920 samples each, 5 classes."""
    released = zoo.get_config("video_autoencoding")
    inputs, outputs = released.preprocessor, released.decoder
    video = zoo.FourierConfig(num_bands=32, max_resolution=(4, 4, 4))
    sound = zoo.FourierConfig(num_bands=192, max_resolution=(4 * 1920,))
    modalities, queries = dict(inputs.modalities), dict(outputs.queries)
    modalities["image"] = dataclasses.replace(
        modalities["image"], shape=(4, 16, 16), position=video
    )
    modalities["audio"] = dataclasses.replace(
        modalities["audio"], num_samples=4 * 1920, position=sound
    )
    modalities["label"] = zoo.LabelConfig(num_classes=5)
    queries["image"] = dataclasses.replace(queries["image"], shape=(4, 16, 16), position=video)
    queries["audio"] = dataclasses.replace(queries["audio"], shape=(4 * 120,), position=sound)
    outputs_ = dict(released.postprocessor.outputs)
    outputs_["label"] = zoo.ClassOutputConfig(num_classes=5)
    return dataclasses.replace(
        released,
        preprocessor=dataclasses.replace(inputs, modalities=modalities),
        encoder=dataclasses.replace(
            released.encoder, num_latents=8, latent_channels=16, self_attends_per_block=1
        ),
        decoder=dataclasses.replace(outputs, queries=queries),
        postprocessor=zoo.MultimodalOutputConfig(outputs_),
    )


CHECKPOINTS = {
    "imagenet_fourier_position_encoding.pystate": _fourier,
    "imagenet_learned_position_encoding.pystate": _learned,
    "language_perceiver_io_bytes.pickle": _language_model,
    "optical_flow_checkpoint.pystate": _flow,
    "video_autoencoding_checkpoint.pystate": _video,
}


def write_checkpoint(folder, name):
    model = perceiver_jax.build(CHECKPOINTS[name]())
    native.save(folder / name, *random_params.model_params(model), model.config)


def write_inputs(folder):
    """A photograph, a folder of them, two frames, and a video of half a second with sound."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name in ("cat.jpg", "photos/dog.png", "sintel_frame1.png", "sintel_frame2.png"):
        Image.fromarray(rng.integers(0, 256, (20, 26, 3), np.uint8)).save(folder / name)
    clip = folder / "clip.mp4"
    with video_writing.writing_video(clip, size=(20, 26), sample_rate=48_000) as video:
        frames = rng.integers(0, 256, (6, 20, 26, 3), np.uint8)
        video.write(frames, rng.uniform(-1, 1, (6 * 1920, 1)))
