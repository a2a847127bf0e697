"""Parameters and inputs of the released models at full size, drawn by NumPy alone.

The golden outputs at full size were computed for these arrays: every one is a function of its name
and shape, so that they need not be stored. `tests/golden/full/sha256_16.json` has digests.
"""

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_SEED = 20210730


def normal(label: str, shape: Sequence[int]) -> np.ndarray:
    """Standard normal numbers in float64, from a stream that `label` alone determines."""
    seed = np.random.SeedSequence([_SEED, zlib.crc32(label.encode())])
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(shape))


def parameter(module: str, name: str, shape: Sequence[int]) -> np.ndarray:
    """A parameter: weights keep the size of what they multiply, and nothing is zero."""
    z = normal(f"params/{module}/{name}", shape)
    if name == "w":
        z *= 1.0 / np.sqrt(np.float64(math.prod(shape[:-1])))
        if module.endswith(("/attention/linear", "/attention/linear_1")):
            z *= 2.0  # Queries and keys: attention that is far from uniform.
    elif name == "scale":
        z = 1.0 + 0.1 * z
    elif name not in ("pos_embs", "embeddings"):
        z *= 0.1
    return z.astype(np.float32)


def state_entry(module: str, name: str, shape: Sequence[int]) -> np.ndarray:
    """A moving average of batch norm, after one step."""
    if name == "counter":
        return np.array(1, np.int32)
    z = normal(f"state/{module}/average", shape)
    return (1.0 + 0.1 * np.abs(z) if "var_ema" in module else 0.1 * z).astype(np.float32)


def tree(shapes: Mapping[str, Mapping[str, Any]], entry: Any) -> dict[str, dict[str, np.ndarray]]:
    """Draws a tree whose shapes are given, by `parameter` or `state_entry`."""
    return {
        module: {name: entry(module, name, x.shape) for name, x in entries.items()}
        for module, entries in shapes.items()
    }


def _smooth(height: int, width: int) -> np.ndarray:
    """A colour image whose values depend smoothly on the position: [height, width, 3]."""
    y = np.linspace(0.0, height - 1.0, height)[:, None, None] / (height - 1)
    x = np.linspace(0.0, width - 1.0, width)[None, :, None] / (width - 1)
    channel = np.arange(3)
    return 2.0 * y - 1.5 * x + 3.0 * y * x - 1.0 * x * x + 0.5 * (channel - 1) * (y - x * x) - 0.5


def inputs(model: str) -> tuple[Any, ...]:
    """The inputs of a released model, in the form that `Model.apply` takes.

    Those of the video model are followed by the output points of one chunk of 128.
    """
    if model.startswith("imagenet_"):
        noise = normal("inputs/images", (1, 224, 224, 3))
        return ((_smooth(224, 224)[None] + 0.5 * noise).astype(np.float32),)
    if model == "mlm":
        z = normal("inputs/inputs", (1, 2048))
        ids = (6 + np.floor((np.abs(z) * 1000.0) % 256.0)).astype(np.int32)
        mask = np.ones((1, 2048), np.int32)
        ids[:, 100:110] = 3  # MASK
        ids[:, 1536:] = mask[:, 1536:] = 0  # PAD
        return ids, mask
    if model == "optical_flow":
        first = _smooth(368, 496)
        frames = 0.25 * np.stack([first, first[::-1]])[None]
        frames = frames + 0.3 * normal("inputs/images", (1, 2, 368, 496, 3))
        return (np.clip(frames, -1, 1).astype(np.float32),)
    assert model == "video_autoencoding", model
    start = _smooth(224, 224)
    time = np.arange(16.0)[:, None, None, None] / 15
    video = start * (1.0 - time) + start[:, ::-1] * time
    video = 0.5 + 0.15 * video[None] + 0.1 * normal("inputs/images", (1, 16, 224, 224, 3))
    sample = np.arange(30720.0) / 30719
    sound = (0.8 * sample * sample - 0.3 * sample)[None, :, None]
    sound = sound + 0.3 * normal("inputs/audio", (1, 30720, 1))
    modalities = {
        "image": np.clip(video, 0, 1).astype(np.float32),
        "audio": np.clip(sound, -1, 1).astype(np.float32),
        "label": np.zeros((1, 700), np.float32),
    }
    chunk = 3
    return modalities, {
        "image": np.arange(chunk * 6272, (chunk + 1) * 6272),
        "audio": np.arange(chunk * 15, (chunk + 1) * 15),
    }


def digest(array: np.ndarray) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
