"""The results that the papers print, as data with their sources: what runs are measured against.

"Perceiver" is Jaegle et al., ICML 2021 (arXiv 2103.03206 v2), "Perceiver IO" Jaegle et al.,
ICLR 2022 (arXiv 2107.14795 v3). A run belongs to a row if its experiment's `paper` names the row
and the source (see train/paper.py). Sizes and operations of the same rows are in paper_rows.py.
"""

import dataclasses
import difflib
from collections.abc import Mapping

from perceiver_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """A printed result."""

    row: str  # The row's name, as `PaperResult.row` has it.
    printed: str  # The result as printed: "78.0"; or why the paper has none: "OOM".
    variant: str | None = None  # Of the table's experiment file; None: no experiment here has it.
    # Source and row of a row that is the same model, trained and evaluated the same way: whose run
    # is one of this row too.
    same_as: tuple[str, str] | None = None
    note: str = ""  # What a reader should know, shown below the table.

    @property
    def value(self) -> float | None:
        """The result in the printed unit; None where nothing was measured."""
        try:
            return float(self.printed)
        except ValueError:
            return None


@dataclasses.dataclass(frozen=True)
class ResultTable:
    """A table of a paper; of several columns, each is a row here."""

    source: str  # Paper and table, as `PaperResult.source` has them.
    title: str  # What it shows.
    metric: str  # Name of the metric among the task's, such as "top_1".
    unit: str  # What it is printed in; with "%" our values are fractions.
    split: str  # The split that the results are on, in our names.
    examples: int  # How many examples that split has.
    experiment: str  # The file of experiments that reproduces it.
    rows: tuple[ResultRow, ...]
    data_set: str | None = None  # Its name, as configs of data sets have it; None: not compared.

    @property
    def scale(self) -> float:
        """What a value of ours is multiplied with to be in the printed unit."""
        return 100.0 if self.unit == "%" else 1.0


Key = tuple[str, str]  # Source and row.

_TABLE_1 = "Perceiver, Table 1"
_TABLE_6 = "Perceiver, Table 6"
_MAIN = (_TABLE_1, "Perceiver (FF)")
_QUOTED = "The paper takes it from another one."


def _imagenet(source: str, title: str, *rows: ResultRow) -> ResultTable:
    """Top-1 accuracy on the 50,000 images of the validation set, our split "test"."""
    return ResultTable(
        source,
        title,
        "top_1",
        "%",
        "test",
        50_000,
        "experiments/imagenet.py",
        tuple(rows),
        data_set="imagenet2012",
    )


IMAGENET = (
    _imagenet(
        _TABLE_1,
        "ImageNet, top-1 accuracy",
        ResultRow("ResNet-50", "77.6", "resnet50", note=_QUOTED),
        ResultRow("ViT-B-16", "77.9", "vit_b16", note=_QUOTED),
        ResultRow("ResNet-50 (FF)", "73.5", "resnet50_fourier"),
        ResultRow("ViT-B-16 (FF)", "76.7", "vit_b16_fourier"),
        ResultRow("Transformer (64x64, FF)", "57.0", "transformer_64"),
        ResultRow("Perceiver (FF)", "78.0", "perceiver"),
    ),
    _imagenet(
        "Perceiver, Table 2",
        "ImageNet, top-1 accuracy on raw and on permuted images",
        ResultRow(
            "ResNet-50 (FF)",
            "73.5",
            "resnet50_fourier",
            same_as=(_TABLE_1, "ResNet-50 (FF)"),
        ),
        ResultRow("ResNet-50 (FF), permuted", "39.4", "resnet50_fourier_permuted"),
        ResultRow("ViT-B-16 (FF)", "76.7", "vit_b16_fourier", same_as=(_TABLE_1, "ViT-B-16 (FF)")),
        ResultRow("ViT-B-16 (FF), permuted", "61.7", "vit_b16_fourier_permuted"),
        ResultRow(
            "Transformer (64x64, FF)",
            "57.0",
            "transformer_64",
            same_as=(_TABLE_1, "Transformer (64x64, FF)"),
        ),
        ResultRow("Transformer (64x64, FF), permuted", "57.0", "transformer_64_permuted"),
        ResultRow("Perceiver (FF)", "78.0", "perceiver", same_as=_MAIN),
        ResultRow("Perceiver (FF), permuted", "78.0", "perceiver_permuted"),
        ResultRow("Perceiver (Learned pos.)", "70.9", "perceiver_learned"),
        ResultRow("Perceiver (Learned pos.), permuted", "70.9", "perceiver_learned_permuted"),
    ),
    _imagenet(
        "Perceiver, Table 5",
        "ImageNet without a latent tower, top-1 accuracy",
        ResultRow("4 cross-attends, no tower", "39.4", "table5_4"),
        ResultRow("8 cross-attends, no tower", "45.3", "table5_8"),
        ResultRow(
            "12 cross-attends, no tower", "OOM", "table5_12", note="Out of memory on 64 TPUs."
        ),
    ),
    _imagenet(
        _TABLE_6,
        "ImageNet by number and place of the cross-attends, top-1 accuracy",
        ResultRow("1 cross-attends, at start", "76.7", "table6_1_at_start"),
        ResultRow(
            "1 cross-attends, interleaved",
            "76.7",
            "table6_1_interleaved",
            same_as=(_TABLE_6, "1 cross-attends, at start"),
        ),
        ResultRow("2 cross-attends, at start", "76.7", "table6_2_at_start"),
        ResultRow("2 cross-attends, interleaved", "76.5", "table6_2_interleaved"),
        ResultRow("4 cross-attends, at start", "75.9", "table6_4_at_start"),
        ResultRow("4 cross-attends, interleaved", "76.5", "table6_4_interleaved"),
        ResultRow("8 cross-attends, at start", "73.7", "table6_8_at_start"),
        ResultRow("8 cross-attends, interleaved", "78.0", "table6_8_interleaved", same_as=_MAIN),
    ),
    _imagenet(
        "Perceiver, Table 7",
        "ImageNet with and without weight sharing, top-1 accuracy",
        ResultRow(
            "No weight sharing",
            "72.9",
            "perceiver_unshared",
            note="87.7 on the training set.",
        ),
        ResultRow(
            "Weight sharing",
            "78.0",
            "perceiver",
            same_as=_MAIN,
            note="79.5 on the training set.",
        ),
    ),
    _imagenet(
        "Perceiver IO, Table 7",
        "ImageNet, top-1 accuracy; with the details of Table 8",
        ResultRow("ResNet-50", "78.6", note=_QUOTED),
        ResultRow("NFNet-F6+SAM", "86.5", note=_QUOTED),
        ResultRow("Meta Pseudo Labels, pre-trained", "90.2", note=_QUOTED),
        ResultRow("ViT-B/16", "77.9", note=_QUOTED),
        ResultRow("ViT-H/14, pre-trained", "88.6", note=_QUOTED),
        ResultRow("DeiT, 1000 epochs", "85.2", note=_QUOTED),
        ResultRow("CaiT-M48 448", "86.5", note=_QUOTED),
        ResultRow("Perceiver (2D FF)", "78.6", "io_perceiver_fourier"),
        ResultRow("Perceiver IO, config A (2D FF)", "79.0", "io_fourier"),
        ResultRow(
            "Perceiver IO, config B (2D FF)",
            "84.5",
            "io_b_fourier_finetune",
            note="Pre-trained on JFT-300M, which is not public.",
        ),
        ResultRow("Perceiver (learned pos.)", "67.6", "io_perceiver_learned"),
        ResultRow("Perceiver IO, config A (learned pos.)", "72.7", "io_learned"),
        ResultRow("Perceiver (conv)", "77.4", "io_perceiver_conv"),
        ResultRow("Perceiver IO, config A (conv)", "82.1", "io_conv"),
        ResultRow(
            "Perceiver IO, config B (conv)",
            "86.4",
            "io_b_conv_finetune",
            note="Pre-trained on JFT-300M, which is not public.",
        ),
    ),
)

MODELNET40 = (
    ResultTable(
        "Perceiver, Table 4",
        "ModelNet40, top-1 accuracy, the best by test score",
        "top_1",
        "%",
        "test",
        2_468,
        "experiments/modelnet40.py",
        (
            ResultRow("PointNet++", "91.9", note=_QUOTED),
            ResultRow("ResNet-50 (FF)", "66.3", "resnet50"),
            ResultRow("ViT-B-2 (FF)", "78.9", "vit_b2"),
            ResultRow("ViT-B-4 (FF)", "73.4", "vit_b4"),
            ResultRow("ViT-B-8 (FF)", "65.3", "vit_b8"),
            ResultRow("ViT-B-16 (FF)", "59.6", "vit_b16"),
            ResultRow("Transformer (44x44)", "82.1", "transformer_44"),
            ResultRow("Perceiver", "85.7", "perceiver"),
        ),
        data_set="modelnet40",
    ),
)

_TABLE_3 = "Perceiver, Table 3"
_TABLE_10 = "Perceiver IO, Table 10"


def _audioset(source: str, title: str, *rows: ResultRow) -> ResultTable:
    """mAP on the evaluation list, 20,371 recordings, our split "test"; the papers had fewer.

    How many of the list they could get, they do not say.
    """
    return ResultTable(
        source,
        title,
        "mean_average_precision",
        "%",
        "test",
        20_371,
        "experiments/audioset.py",
        tuple(rows),
        data_set="audioset",
    )


def _quoted(model: str, audio: str, video: str = "", both: str = "") -> tuple[ResultRow, ...]:
    """The rows of a model of somebody else's: what it finds of either stream, and of both."""
    columns = {"audio": audio, "video": video, "A+V": both}
    return tuple(
        ResultRow(f"{model}, {column}", printed, note=_QUOTED)
        for column, printed in columns.items()
        if printed
    )


AUDIOSET = (
    _audioset(
        _TABLE_3,
        "AudioSet, mAP from sound, from video, and from both (A+V)",
        *_quoted("Benchmark", "31.4"),
        *_quoted("Attention", "32.7"),
        *_quoted("Multi-level attention", "36.0"),
        *_quoted("ResNet-50", "38.0"),
        *_quoted("CNN-14", "43.1"),
        *_quoted("CNN-14, no balancing, no mixup", "37.5"),
        *_quoted("G-blend", "32.4", "18.8", "41.8"),
        *_quoted("Attention AV-fusion", "38.4", "25.7", "46.2"),
        ResultRow(
            "Perceiver (raw audio), audio", "38.3", "audio_raw", note="38.4 in the paper's text."
        ),
        ResultRow("Perceiver (mel), audio", "38.4", "audio_mel"),
        ResultRow("Perceiver, video", "25.8", "video"),
        ResultRow("Perceiver (raw audio), A+V", "43.5", "audio_video_raw"),
        ResultRow("Perceiver (mel), A+V", "43.2", "audio_video_mel"),
        ResultRow("Perceiver (mel, tuned), A+V", "44.2", "tuned"),
    ),
    _audioset(
        _TABLE_10,
        "AudioSet, mAP from sound and video",
        ResultRow("Perceiver, raw audio + video", "42.4", "io_perceiver_raw"),
        ResultRow("Perceiver IO, raw audio + video", "43.3", "io_raw"),
        ResultRow("Perceiver, mel + video", "43.6", "io_perceiver_mel"),
        ResultRow("Perceiver IO, mel + video", "44.9", "io_mel"),
    ),
)

PAPER_TABLES: Mapping[str, tuple[ResultTable, ...]] = {
    "imagenet": IMAGENET,
    "modelnet40": MODELNET40,
    "audioset": AUDIOSET,
}


def paper_tables(name: str) -> tuple[ResultTable, ...]:
    """Returns the tables of a data set.

    Raises:
      ConfigError: there are none of this name.
    """
    if name not in PAPER_TABLES:
        near = difflib.get_close_matches(name.lower(), PAPER_TABLES, n=1, cutoff=0.5)
        nearest = (near or list(PAPER_TABLES))[0]
        raise ConfigError(
            f"There is no paper table {name!r}; there is: {', '.join(PAPER_TABLES)}. Write "
            f"--paper_table={nearest}."
        )
    return PAPER_TABLES[name]


def same_results(tables: tuple[ResultTable, ...]) -> dict[Key, Key]:
    """Returns, for every row, the first row that the same run is one of; often the row itself."""
    rows = {(table.source, row.row): row.same_as for table in tables for row in table.rows}
    return {key: _first(key, rows) for key in rows}


def _first(key: Key, rows: Mapping[Key, Key | None]) -> Key:
    before = rows[key]
    return key if before is None else _first(before, rows)
