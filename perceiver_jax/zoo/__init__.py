"""Every model that the papers name, as typed configs, and `build`.

The configs of the parts are here too, for models of one's own: experiments and other callers need
no import from `perceiver_jax.model`.
"""

from perceiver_jax.model.baselines import (
    BaselineConfig,
    ConvNetConfig,
    ResNetConfig,
    TransformerConfig,
)
from perceiver_jax.model.decoders import (
    ClassificationDecoderConfig,
    DecoderConfig,
    FlowDecoderConfig,
    ProjectionDecoderConfig,
    QueryConfig,
    VideoDecoderConfig,
)
from perceiver_jax.model.encoder import EncoderConfig
from perceiver_jax.model.execution import Execution, Remat
from perceiver_jax.model.multimodal import (
    MaskProbability,
    MultimodalConfig,
    MultimodalDecoderConfig,
)
from perceiver_jax.model.perceiver import PerceiverConfig
from perceiver_jax.model.permutation import fixed_permutation
from perceiver_jax.model.position_encoding import FourierConfig, LearnedConfig
from perceiver_jax.model.postprocessors import (
    AudioOutputConfig,
    ClassOutputConfig,
    ImageOutputConfig,
    MultimodalOutputConfig,
    ProjectionOutputConfig,
    TiedEmbeddingConfig,
)
from perceiver_jax.model.preprocessors import (
    AudioConfig,
    ImageConfig,
    LabelConfig,
    PointsConfig,
    TokensConfig,
)
from perceiver_jax.zoo.model import Encoded, Model, ModelConfig, count
from perceiver_jax.zoo.registry import build, get_config, list_models

__all__ = [
    "AudioConfig",
    "AudioOutputConfig",
    "BaselineConfig",
    "ClassOutputConfig",
    "ClassificationDecoderConfig",
    "ConvNetConfig",
    "DecoderConfig",
    "Encoded",
    "EncoderConfig",
    "Execution",
    "FlowDecoderConfig",
    "FourierConfig",
    "ImageConfig",
    "ImageOutputConfig",
    "LabelConfig",
    "LearnedConfig",
    "MaskProbability",
    "Model",
    "ModelConfig",
    "MultimodalConfig",
    "MultimodalDecoderConfig",
    "MultimodalOutputConfig",
    "PerceiverConfig",
    "PointsConfig",
    "ProjectionDecoderConfig",
    "ProjectionOutputConfig",
    "QueryConfig",
    "Remat",
    "ResNetConfig",
    "TiedEmbeddingConfig",
    "TokensConfig",
    "TransformerConfig",
    "VideoDecoderConfig",
    "build",
    "count",
    "fixed_permutation",
    "get_config",
    "list_models",
]
