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


def _points():
    """Clouds of 128 points, two cross-attends, the 40 classes of ModelNet40."""
    encoder = dataclasses.replace(
        tiny_models.encoder(), num_blocks=2, num_latents=8, num_cross_attends=2
    )
    return zoo.PerceiverConfig(
        preprocessor=zoo.PointsConfig(128, zoo.FourierConfig(4, max_resolution=(20, 20, 20))),
        encoder=encoder,
        decoder=zoo.ClassificationDecoderConfig(num_classes=40, query_channels=14),
    )


def _sound_and_video():
    """Four frames of 16 x 16 pixels and their sound, 5 classes."""
    sound = zoo.AudioConfig(4 * 1920, 128, position=zoo.FourierConfig(num_bands=4))
    video = zoo.ImageConfig(
        (4, 16, 16),
        prep="patches",
        temporal_downsample=2,
        spatial_downsample=8,
        position=zoo.FourierConfig(num_bands=2),
    )
    return zoo.PerceiverConfig(
        preprocessor=zoo.MultimodalConfig({"audio": sound, "video": video}, min_padding_size=4),
        encoder=tiny_models.encoder(),
        decoder=zoo.ProjectionDecoderConfig(num_classes=5),
    )


CHECKPOINTS = {
    "audioset.safetensors": _sound_and_video,
    "modelnet40.safetensors": _points,
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
    """Photographs, two frames, half a second of video with sound, meshes and clouds."""
    rng = np.random.default_rng(0)
    _write_meshes(folder, rng)
    (folder / "photos").mkdir()
    for name in ("cat.jpg", "photos/dog.png", "sintel_frame1.png", "sintel_frame2.png"):
        Image.fromarray(rng.integers(0, 256, (20, 26, 3), np.uint8)).save(folder / name)
    clip = folder / "clip.mp4"
    with video_writing.writing_video(clip, size=(20, 26), sample_rate=48_000) as video:
        frames = rng.integers(0, 256, (6, 20, 26, 3), np.uint8)
        video.write(frames, rng.uniform(-1, 1, (6 * 1920, 1)))


def _write_meshes(folder, rng):
    """A mesh, a folder of other files, and one of two classes in ModelNet40's layout."""
    (folder / "things").mkdir()
    (folder / "chair.off").write_text(_pyramid(1, 1, 2))
    (folder / "things" / "lamp.obj").write_text(_as_obj(_pyramid(1, 2, 3)))
    np.save(folder / "things" / "scan.npy", rng.uniform(-1, 1, (500, 3)))
    for name, height in (("shelf", 3.0), ("table", 1.0)):
        for split in ("train", "test"):
            (folder / "furniture" / name / split).mkdir(parents=True)
            for number in range(2):
                mesh = _pyramid(1, rng.uniform(1, 2), height)
                (folder / "furniture" / name / split / f"{name}_{number}.off").write_text(mesh)


def _pyramid(x, y, z):
    """As an OFF file: a base of two triangles, and four sides."""
    corners = f"0 0 0\n{x} 0 0\n{x} {y} 0\n0 {y} 0\n{x / 2} {y / 2} {z}\n"
    faces = "3 0 2 1\n3 0 3 2\n3 0 1 4\n3 1 2 4\n3 2 3 4\n3 3 0 4\n"
    return f"OFF\n5 6 0\n{corners}{faces}"


def _as_obj(off):
    lines = [line.split() for line in off.splitlines()[2:]]
    corners = ["v " + " ".join(line) for line in lines if len(line) == 3]
    faces = ["f " + " ".join(str(int(i) + 1) for i in line[1:]) for line in lines if len(line) == 4]
    return "\n".join(corners + faces) + "\n"
