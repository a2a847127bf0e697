"""The parameters and operations that the two papers print, as data with their sources.

"Perceiver" is Jaegle et al., ICML 2021 (arXiv 2103.03206 v2), "Perceiver IO" Jaegle et al.,
ICLR 2022 (arXiv 2107.14795 v3). Where a printed figure is not that of the model it stands beside, a
note says what is known, and alternatives say what was computed to find out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perceiver_jax.report.anatomy import (
    CROSS_ATTENDS,
    DECODER,
    POSTPROCESSOR,
    PREPROCESSOR,
    TOWERS,
)


@dataclasses.dataclass(frozen=True)
class Alternative:
    """Another way to come to a figure: another model, or not all of its parts."""

    what: str  # In words, after "with" or "without".
    model: str | None = None  # Another model of the zoo; None: the row's.
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # Changes of its config.
    parts: tuple[str, ...] | None = None  # The parts whose operations count; None: all.


@dataclasses.dataclass(frozen=True)
class Figure:
    """A printed number."""

    printed: str  # As printed: "44.9M", "707.2B".
    note: str = ""  # What is known where it is not ours.
    misprint: bool = False  # Whether the paper contradicts it elsewhere.
    alternatives: tuple[Alternative, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table, or a sentence."""

    source: str  # Paper and table.
    label: str  # The row's name.
    model: str  # The model of the zoo.
    params: Figure | None = None
    flops: Figure | None = None
    # Outputs that are decoded, by modality (None: all of them); None: all of all.
    points: Mapping[str, int | None] | None = None


_ONE_READ = Figure(
    "41.1M",
    "A misprint: one cross-attend at the start and one interleaved are the same model, for which "
    "the paper prints 41.1M here and 42.1M there.",
    misprint=True,
)
_NO_DECODING = Alternative(
    "without decoder and logits", parts=(PREPROCESSOR, CROSS_ATTENDS, TOWERS)
)
_BYTES_NOTE = (
    "Encoder and towers leave 2.5B to 2.7B of the printed figures for decoding, give or take 0.5B "
    "and whatever the number of latents, where 2,048 queries and their logits cost 9.9B to 12.0B. "
    "The figure of Perceiver IO++ has all of it. What was left out here is not known."
)
_SENTENCEPIECE_NOTE = (
    "The logits over 32,000 words cost 25.2B. Half of that, one operation for each multiply-add, "
    "would leave a difference of 1.7 %, and would also turn the 121.9B of BERT Base into the 109B "
    "that the paper prints. The rest is not known, as for bytes."
)
_FLOW_16 = Alternative("with 1,024 latents and 16 layers", model="perceiver_io_flow_16_layers")
_FLOW_NOTE = (
    "Both figures of App. H are those of a smaller model than the 2,048 latents and 24 layers that "
    "it describes and that were released: the size of Table 16's light model, on pixels."
)
_VIDEO_1024 = Alternative("with 1,024 latents", overrides={"encoder.num_latents": 1024})
_VIDEO_NOTE = (
    "Parameters and training cost are those of 1,024 latents; Table 4 and the released model have "
    "784."
)
_LEARNED_NOTE = (
    "The paper prints the figure of the Fourier row. Learned positions make the inputs 512 "
    "channels wide instead of 261, which the printed parameters confirm; that costs 71.9B more, "
    "6.7B of it before the encoder."
)
_CONV_NOTE = "The figure is that of a count without the convolution before the encoder."
_ALL_BUT_STEM = Alternative(
    "without the convolution", parts=(CROSS_ATTENDS, TOWERS, DECODER, POSTPROCESSOR)
)
_CONFIG_B_NOTE = (
    "The parameters of both models of config B are those of 16 layers, which the paper describes, "
    "the operations those of 12. It does not state the number of latents; 512 here."
)
_MULTIPLY_ADDS_NOTE = (
    "Printed from the literature, which counts a multiply-add as one operation; the paper counts "
    "two everywhere else (App. D). Half of ours is 4.1B."
)
_VIT_NOTE = (
    "That of 384 x 384 pixels, of which half of the alternative, its multiply-adds, is 55.5B. At "
    "224 x 224 half of ours is 17.6B. As for ResNet-50, the literature counts multiply-adds."
)
_PIXELS = {"preprocessor.prep": "pixels", "preprocessor.prep_channels": None}
_TABLE_10_NOTE = (
    "The parameters of this table are those of cross-attends as wide as the latents, its "
    "operations those of cross-attends as wide as the inputs (487), as in the released models. "
    "Ours are the latter."
)
_Q_RULE = Alternative(
    "with cross-attends as wide as the queries", overrides={"encoder.width_rule": "q"}
)

ROWS: tuple[Row, ...] = (
    *(
        Row(
            "Perceiver, Table 5",
            f"{n} cross-attends, no tower",
            f"perceiver_table5_{n}_cross_attends",
            Figure(params),
            Figure(flops),
        )
        for n, params, flops in (
            (4, "12.7M", "173.1B"),
            (8, "23.8M", "346.1B"),
            (12, "34.9M", "519.2B"),
        )
    ),
    *(
        Row(
            "Perceiver, Table 6",
            f"{n}, {place.replace('_', ' ')}",
            f"perceiver_table6_{n}_{place}",
            _ONE_READ if (n, place) == (1, "at_start") else Figure("42.1M" if n == 1 else "44.9M"),
            Figure(flops),
        )
        for n, flops in ((1, "404.3B"), (2, "447.6B"), (4, "534.1B"), (8, "707.2B"))
        for place in ("at_start", "interleaved")
    ),
    Row(
        "Perceiver, Table 7",
        "no weight sharing",
        "perceiver_table7_unshared",
        Figure("326.2M"),
        Figure("707.2B"),
    ),
    Row(
        "Perceiver, Table 7",
        "weight sharing",
        "perceiver_table7_shared",
        Figure("44.9M"),
        Figure("707.2B"),
    ),
    Row(
        "Perceiver IO, Table 1",
        "Perceiver IO Base, SentencePiece",
        "perceiver_io_table1_sentencepiece",
        Figure("223M"),
        Figure("119B", _SENTENCEPIECE_NOTE, alternatives=(_NO_DECODING,)),
    ),
    Row(
        "Perceiver IO, Table 1",
        "Perceiver IO, bytes (released)",
        "mlm",
        Figure("201M"),
        Figure("113B", _BYTES_NOTE, alternatives=(_NO_DECODING,)),
    ),
    Row(
        "Perceiver IO, Table 1",
        "Perceiver IO++, bytes",
        "perceiver_io_table1_plus_plus",
        Figure("425M"),
        Figure("241B"),
    ),
    *(
        Row(
            "Perceiver IO, Table 15",
            f"{n} latents of {width}",
            f"perceiver_io_table15_{n}_latents",
            flops=Figure(flops, _BYTES_NOTE, alternatives=(_NO_DECODING,)),
        )
        for n, width, flops in ((128, 1920, "120B"), (256, 1280, "113B"), (512, 896, "125B"))
    ),
    Row(
        "Perceiver IO, App. H",
        "optical flow, 368 x 496 (released)",
        "optical_flow",
        Figure("27.9M", _FLOW_NOTE, alternatives=(_FLOW_16,)),
        Figure("987B", _FLOW_NOTE, alternatives=(_FLOW_16,)),
    ),
    Row(
        "Perceiver IO, App. I",
        "video, training (released)",
        "video_autoencoding",
        Figure("20.0M", _VIDEO_NOTE, alternatives=(_VIDEO_1024,)),
        Figure("310B", _VIDEO_NOTE, alternatives=(_VIDEO_1024,)),
        points={"audio": 512, "image": 512, "label": None},
    ),
    Row(
        "Perceiver IO, App. I",
        "video, evaluation (released)",
        "video_autoencoding",
        flops=Figure(
            "6.85T",
            "Not known. All outputs are decoded once here; encoding again for each of 128 chunks, "
            "as the released notebook does, would cost 39T.",
            alternatives=(
                _VIDEO_1024,
                Alternative("with 392 latents", model="perceiver_io_table4_176x"),
                Alternative("with 196 latents", model="perceiver_io_table4_352x"),
            ),
        ),
    ),
    Row(
        "Perceiver IO, Table 7",
        "ResNet-50",
        "baseline_resnet50",
        Figure("26M"),
        Figure("4.1B", _MULTIPLY_ADDS_NOTE, misprint=True),
    ),
    Row(
        "Perceiver IO, Table 7",
        "ViT-B/16",
        "baseline_vit_b16",
        Figure("86M"),
        Figure(
            "55.4B",
            _VIT_NOTE,
            misprint=True,
            alternatives=(
                Alternative("with images of 384 x 384", overrides={"shape": (384, 384)}),
            ),
        ),
    ),
    Row(
        "Perceiver IO, Table 7",
        "Perceiver, 2D Fourier",
        "perceiver_io_table8_perceiver_fourier",
        Figure("42.1M"),
        Figure("404B"),
    ),
    Row(
        "Perceiver IO, Table 7",
        "config A, 2D Fourier (released)",
        "imagenet_fourier",
        Figure("48.4M"),
        Figure("407B"),
    ),
    Row(
        "Perceiver IO, Table 7",
        "config B, 2D Fourier",
        "perceiver_io_config_b_fourier",
        Figure(
            "212M",
            "The printed figure is that of pixels that are not projected to 256 channels first.",
            alternatives=(Alternative("with pixels as they are", overrides=_PIXELS),),
        ),
        Figure(
            "213B",
            _CONFIG_B_NOTE,
            alternatives=(
                Alternative(
                    "with 12 layers, and pixels as they are",
                    overrides={**_PIXELS, "encoder.self_attends_per_block": 12},
                ),
                Alternative("with 16 layers, and pixels as they are", overrides=_PIXELS),
            ),
        ),
    ),
    Row(
        "Perceiver IO, Table 7",
        "Perceiver, learned positions",
        "perceiver_io_table8_perceiver_learned",
        Figure("55.9M"),
        Figure(
            "404B",
            _LEARNED_NOTE,
            alternatives=(
                Alternative(
                    "with Fourier positions", model="perceiver_io_table8_perceiver_fourier"
                ),
            ),
        ),
    ),
    Row(
        "Perceiver IO, Table 7",
        "config A, learned positions (released)",
        "imagenet_learned",
        Figure("62.3M"),
        Figure(
            "407B",
            _LEARNED_NOTE,
            alternatives=(Alternative("with Fourier positions", model="imagenet_fourier"),),
        ),
    ),
    Row(
        "Perceiver IO, Table 7",
        "Perceiver, conv + maxpool",
        "perceiver_io_table8_perceiver_conv",
        Figure(
            "42.1M",
            "The paper prints the figure of the Fourier row; inputs of 322 channels instead of 261 "
            "cost 0.2M parameters more, as its own 48.6M against 48.4M below say.",
            alternatives=(
                Alternative(
                    "with Fourier positions", model="perceiver_io_table8_perceiver_fourier"
                ),
            ),
        ),
        Figure("367B", _CONV_NOTE, alternatives=(_ALL_BUT_STEM,)),
    ),
    Row(
        "Perceiver IO, Table 7",
        "config A, conv + maxpool (released)",
        "imagenet_conv",
        Figure("48.6M"),
        Figure("369B", _CONV_NOTE, alternatives=(_ALL_BUT_STEM,)),
    ),
    Row(
        "Perceiver IO, Table 7",
        "config B, conv + maxpool",
        "perceiver_io_config_b_conv",
        Figure("212M"),
        Figure(
            "176B",
            _CONFIG_B_NOTE,
            alternatives=(
                Alternative("with 12 layers", overrides={"encoder.self_attends_per_block": 12}),
            ),
        ),
    ),
    *(
        Row(
            "Perceiver IO, Table 10",
            label,
            f"perceiver_io_table10_{model}",
            Figure(params, note, alternatives=(_Q_RULE,) if note else ()),
            Figure(flops),
        )
        for label, model, params, note, flops in (
            ("Perceiver, raw + video", "perceiver_raw", "21.0M", "", "52.3B"),
            ("Perceiver IO, raw + video", "io_raw", "25.0M", _TABLE_10_NOTE, "52.9B"),
            ("Perceiver, mel + video", "perceiver_mel", "21.0M", "", "60.7B"),
            ("Perceiver IO, mel + video", "io_mel", "88.2M", _TABLE_10_NOTE, "129.5B"),
        )
    ),
)
