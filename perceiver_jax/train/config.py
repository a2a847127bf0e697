"""What an experiment is made of, as data. Nothing here runs anything."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Literal

from perceiver_jax.data.source import DataConfig
from perceiver_jax.errors import ConfigError
from perceiver_jax.tasks.base import Task
from perceiver_jax.train.paper import PaperResult
from perceiver_jax.train.patterns import parse_rate
from perceiver_jax.zoo import Remat

WRITERS = ("tensorboard", "wandb")  # Those that perceiver_jax/train/writers has.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with decoupled weight decay, in the order of the released optimiser chain."""

    max_norm: float | None = 10.0  # Gradients are scaled down to this global norm; None: not.
    weight_decay: float = 0.1  # Added to the update as weight_decay * parameter.
    decay_pos_embs: bool = True  # Whether learned position embeddings and latents decay too.
    b1: float = 0.9  # Decay of the first moment.
    b2: float = 0.999  # Decay of the second moment.
    eps: float = 1e-8  # Added to the root of the second moment.

    def __post_init__(self) -> None:
        if self.max_norm is not None and self.max_norm <= 0:
            raise ConfigError(
                f"optimizer.max_norm={self.max_norm} must be above 0; none turns clipping off."
            )
        if not (0 <= self.b1 < 1 and 0 <= self.b2 < 1):
            raise ConfigError(f"optimizer.b1={self.b1} and b2={self.b2} must lie in [0, 1).")
        if self.weight_decay < 0 or self.eps < 0:
            raise ConfigError(
                f"optimizer.weight_decay={self.weight_decay} and eps={self.eps} must not be "
                "negative."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lamb(Adam):
    """LAMB (You et al. 2020): Adam's update, scaled for each tensor to the tensor's own norm.

    The optimiser of both papers' ImageNet runs (Perceiver IO, App. A.1); defaults as released.
    """

    eps: float = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """A constant learning rate."""

    base_lr: float = 1e-3  # Learning rate at batch size 256, or at any if not scale_by_batch.
    scale_by_batch: bool = False  # Multiplies by batch_size / 256, as in the released code.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps(Constant):
    """Multiplied by `decay_rate` at each boundary, a fraction of training (Perceiver, 4.1)."""

    decay_boundaries: tuple[float, ...] = (0.5, 0.8, 0.95)  # Fractions of all steps.
    decay_rate: float = 0.1  # Factor at each boundary.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine(Constant):
    """Linear warm-up, then a half cosine down to `end_value` at the end of training."""

    init_value: float = 0.0  # Learning rate at step 0, if there is a warm-up.
    warmup_epochs: float = 0.0  # Length of the warm-up.
    end_value: float = 0.0  # Learning rate at the end.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstantCosine(Constant):
    """Constant, then a half cosine down to `end_value` (Perceiver IO, App. A.1)."""

    constant_fraction: float = 0.5  # Fraction of all steps before the cosine begins.
    end_value: float = 0.0  # Learning rate at the end; never scaled by the batch size.


AXES = ("data", "fsdp", "tensor")  # Of the mesh of devices.


@dataclasses.dataclass(frozen=True)
class ShardingRule:
    """How the parameters whose path fits a pattern are split; see `train/sharding.py`."""

    pattern: str  # Regular expression, searched for in "params/MODULE/NAME".
    # For each dimension, from the first: the mesh axis that splits it ("tensor", "fsdp", or two as
    # "tensor+fsdp"), or None. It must divide the dimension. Dimensions left out stay whole.
    spec: tuple[str | None, ...] = ()
    # 'auto': where `spec` does not name fsdp, it splits the largest whole dimension it divides.
    fsdp: Literal["auto", "off"] = "auto"

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"The pattern {self.pattern!r} of a sharding rule is no regular expression: "
                f"{error}."
            ) from error


# Layers of the towers: their heads and the hidden channels of their MLPs are shared out, so that
# one sum over `tensor` follows each attention and each MLP (Shoeybi et al. 2019, Sec. 3). Biases of
# what is summed, and everything else, are split by fsdp alone. Cross-attends mostly have one head.
DEFAULT_RULES = (
    ShardingRule(r"self_attention(_\d+)?/attention/linear(_1|_2)?/w$", (None, "tensor")),
    ShardingRule(r"self_attention(_\d+)?/attention/linear(_1|_2)?/b$", ("tensor",)),
    ShardingRule(r"self_attention(_\d+)?/attention/linear_3/w$", ("tensor",)),
    ShardingRule(r"self_attention(_\d+)?/mlp/linear/w$", (None, "tensor")),
    ShardingRule(r"self_attention(_\d+)?/mlp/linear/b$", ("tensor",)),
    ShardingRule(r"self_attention(_\d+)?/mlp/linear_1/w$", ("tensor",)),
    ShardingRule(""),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How devices are laid out, and parameters over them.

    One axis may be -1: all the devices that the others leave.
    """

    data: int = -1  # Devices that each take a part of the batch, with copies of the parameters.
    fsdp: int = 1  # Devices that each take a part of the batch and hold a part of each parameter.
    tensor: int = 1  # Devices that share the work on each example of the towers' layers.
    min_split: int = 2**14  # Values below which fsdp leaves an array whole, where it may choose.
    rules: tuple[ShardingRule, ...] = DEFAULT_RULES  # The first that fits a parameter decides.


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeepConfig:
    """Which checkpoints stay; whatever one of the three keeps. The others are deleted."""

    last: int = 3  # The newest ones.
    best: int = 1  # The best ones by an evaluation; --step=best of `evaluate` is the first.
    every: int | None = None  # All of whose steps this is a divisor, for good; None: none.
    metric: str | None = None  # What "best" goes by; None: the task's headline.
    higher_is_better: bool | None = None  # None: as the task says; for metrics it does not name.

    def __post_init__(self) -> None:
        if self.last < 1 or (self.every is not None and self.every < 1):
            raise ConfigError(
                f"trainer.keep.last={self.last} and every={self.every} must be at least 1: a run "
                "that is interrupted goes on from the newest checkpoint."
            )
        if self.best < 0:
            raise ConfigError(f"trainer.keep.best={self.best} must not be negative.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how large, and what is written when. All intervals are in steps."""

    num_steps: int | None = None  # Length of training; or give num_epochs.
    num_epochs: float | None = None  # Length in passes over the training set; or give num_steps.
    batch_size: int = 64  # Examples that a step trains on, over all devices.
    eval_batch_size: int = 256  # Examples at once in evaluation, over all devices.
    eval_split: str = "test"  # The split that is evaluated during and after training.
    seed: int = 0  # Decides parameters, data order, augmentation and dropout.
    accumulate: int = 1  # Parts that a batch is computed in, one after the other, to save memory.
    precision: Literal["float32", "bfloat16"] = "float32"  # Of activations; the rest is float32.
    remat: Remat = "none"  # What the backward pass computes again instead of keeping it.
    ema_decay: float | None = None  # Evaluates an average of past weights; None: the newest.
    log_every: int = 10  # A line of training metrics.
    eval_every: int | None = None  # An evaluation over the whole split; None: only at the end.
    checkpoint_every: int = 500  # A checkpoint; one is always written at the end.
    keep: KeepConfig = KeepConfig()  # Which checkpoints stay.
    reader_threads: int = 2  # Threads that read and transform examples; 0: none.
    reader_processes: int = 0  # Processes that do so instead of the threads; 0: none.
    max_corrupt_examples: int = 100  # Examples a process may leave out because they are corrupt.
    prefetch_batches: int = 4  # Batches that wait, ready, for the device.
    report: bool = True  # Writes report.html at the end; python -m perceiver_jax.report does too.
    mesh: MeshConfig = MeshConfig()  # Layout of the devices.
    show_parameters: bool = True  # The table of parameters at the start.
    writers: tuple[str, ...] = ()  # "tensorboard", "wandb", or one's own as "module:factory".

    def __post_init__(self) -> None:
        if (self.num_steps is None) == (self.num_epochs is None):
            raise ConfigError(
                f"trainer.num_steps={self.num_steps} and num_epochs={self.num_epochs}: give one "
                "of the two, and none for the other."
            )
        at_least_one = dataclasses.asdict(self)
        for name in ("num_steps", "batch_size", "eval_batch_size", "accumulate", "log_every",
                     "eval_every", "checkpoint_every", "prefetch_batches"):  # fmt: skip
            value = at_least_one[name]
            if value is not None and value < 1:
                raise ConfigError(f"trainer.{name}={value} must be at least 1.")
        if self.keep.every is not None and self.keep.every % self.checkpoint_every:
            raise ConfigError(
                f"trainer.keep.every={self.keep.every} must be a multiple of "
                f"checkpoint_every={self.checkpoint_every}: there are no checkpoints in between."
            )
        if self.num_epochs is not None and self.num_epochs <= 0:
            raise ConfigError(f"trainer.num_epochs={self.num_epochs} must be above 0.")
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"trainer.accumulate={self.accumulate} parts do not divide "
                f"trainer.batch_size={self.batch_size}."
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"trainer.ema_decay={self.ema_decay} must lie in (0, 1), or be none.")
        for name in ("reader_threads", "reader_processes", "max_corrupt_examples"):
            if getattr(self, name) < 0:
                raise ConfigError(f"trainer.{name}={getattr(self, name)} must not be negative.")
        for name in self.writers:
            if name not in WRITERS and not re.fullmatch(r"[\w.]+:\w+", name):
                raise ConfigError(
                    f"trainer.writers: {name!r} is none of {', '.join(WRITERS)}, and does not name "
                    'a function of yours either, as in "package.module:function".'
                )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"trainer.seed={self.seed} must lie in [0, 2**32).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """What is traced with `jax.profiler`; it changes nothing of what is learned."""

    steps: tuple[int, int] | None = None  # The first and the last step of the trace, from 1.

    def __post_init__(self) -> None:
        if self.steps is not None and not 1 <= self.steps[0] <= self.steps[1]:
            raise ConfigError(
                f"profile.steps={self.steps} must be the first and the last step to trace, counted "
                "from 1, such as 10,20."
            )


# Which evaluation is the result: that of the last step, or the best one on the test split.
Select = Literal["last", "test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Which of a run's evaluations is its result; it changes nothing of what is learned.

    "test" is what Perceiver's Table 4 does, "by test score". Such a result is the best of many on
    the examples that it is reported on, and so flatters the model: compare it with no other kind.
    """

    select: Select = "last"  # The last one, or the best one by `trainer.keep.metric`.

    def __post_init__(self) -> None:
        if self.select not in ("last", "test"):
            raise ConfigError(f"evaluation.select={self.select!r} must be 'last' or 'test'.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """One experiment: a model, what it learns, from what, and how."""

    name: str  # Shown in logs and on the picture of the curves.
    model: Any  # A config that `perceiver_jax.build` takes, such as zoo.PerceiverConfig.
    task: Task  # Loss and metrics.
    data: DataConfig  # Where examples come from.
    trainer: TrainerConfig  # How long, how large, what is written when.
    optimizer: Lamb | Adam = Lamb()  # How gradients become updates.
    schedule: Constant | Steps | Cosine | ConstantCosine = ConstantCosine()  # Learning rate.
    checkpoint: str | None = None  # Weights to start from, of any format; None: random ones.
    # Patterns, as in train/patterns.py, of parts of the model or of the checkpoint:
    fresh: tuple[str, ...] = ()  # Parts of the model that start at random all the same.
    skip: tuple[str, ...] = ()  # Parts of the checkpoint that the model has not: left out.
    interpolate_positions: bool = False  # Stretches learned positions to the model's image size.
    frozen: tuple[str, ...] = ()  # Parts that do not train.
    learning_rates: tuple[str, ...] = ()  # PATTERN=FACTOR: parts that train slower, or faster.
    evaluation: EvaluationConfig = EvaluationConfig()  # Which evaluation is the result.
    profile: ProfileConfig = ProfileConfig()  # Which steps are traced, if any.
    paper: PaperResult | None = None  # The paper's result to compare with, shown in the report.

    def __post_init__(self) -> None:
        for name in ("model", "task", "data"):
            value = getattr(self, name)
            if not dataclasses.is_dataclass(value) or isinstance(value, type):
                raise ConfigError(
                    f"config.{name} must be a config (a frozen dataclass), and is {value!r}."
                )
        for name in ("fresh", "skip", "interpolate_positions"):
            value = getattr(self, name)
            if value and self.checkpoint is None:
                raise ConfigError(
                    f"config.{name}={value} has no meaning without config.checkpoint: without "
                    "weights to start from, everything starts at random."
                )
        for text in self.learning_rates:
            parse_rate(text)
        if self.evaluation.select == "test":
            _check_selection(self.trainer)


def _check_selection(trainer: TrainerConfig) -> None:
    """Checks that there is something to choose by test score, and that its weights are kept.

    Raises:
      ConfigError: there is not, or they are not.
    """
    every, saved = trainer.eval_every, trainer.checkpoint_every
    if trainer.eval_split != "test":
        raise ConfigError(
            "config.evaluation.select=test chooses by the score on the split 'test', and "
            f"trainer.eval_split={trainer.eval_split!r} is what is evaluated. Evaluate 'test', or "
            "select=last."
        )
    if every is None:
        raise ConfigError(
            "config.evaluation.select=test has nothing to choose from: trainer.eval_every=none "
            f"evaluates at the end only. Set it, for example to checkpoint_every={saved}."
        )
    if every % saved:
        raise ConfigError(
            "config.evaluation.select=test needs the weights of every evaluation: "
            f"trainer.eval_every={every} must be a multiple of checkpoint_every={saved}."
        )
    if trainer.keep.best < 1:
        raise ConfigError(
            "config.evaluation.select=test needs the best checkpoint to be kept: "
            f"trainer.keep.best={trainer.keep.best} must be at least 1."
        )


# Fields that change what is written, how fast, or where data are read, never what is learned. A
# work directory may go on with other values for these, and for nothing else.
NEUTRAL_FIELDS = (
    "name",
    "paper",
    "evaluation",
    # Where data lie: they may be moved, and be elsewhere on another machine.
    "data.images.data_dir",
    "data.images.path",
    "data.points.data_dir",
    "data.recordings.data_dir",
    "trainer.eval_batch_size",
    "trainer.log_every",
    "trainer.eval_every",
    "trainer.checkpoint_every",
    "trainer.keep",
    "trainer.reader_threads",
    "trainer.reader_processes",
    "trainer.max_corrupt_examples",
    "trainer.prefetch_batches",
    "trainer.report",
    "trainer.mesh",
    "trainer.remat",
    "trainer.show_parameters",
    "trainer.writers",
    "profile",
)


def changes_trajectory(path: str, neutral: Sequence[str] = NEUTRAL_FIELDS) -> bool:
    """Says whether a change of the field named `path` makes another experiment."""
    return not any(path == each or path.startswith(each + ".") for each in neutral)
