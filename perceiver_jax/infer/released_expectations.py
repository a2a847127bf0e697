"""What others published about the outputs of the released checkpoints, as data.

All numbers are of Hugging Face's port, so a model must be run with its numerics. They come from its
tests and from the script that converted the checkpoints; DeepMind published none. What is done with
them is in `released_procedures.py`.
"""

import dataclasses
from collections.abc import Callable

from perceiver_jax import zoo
from perceiver_jax.zoo import released

Nested = tuple["float | Nested", ...]

_TESTS = "transformers, tests/models/perceiver/test_modeling_perceiver.py"
_PIPELINES = "transformers, tests/pipelines/test_pipelines_image_classification.py"
_CONVERSION = "transformers, convert_perceiver_haiku_to_pytorch.py"
_DOCSTRING = "transformers, docstring of PerceiverForMultimodalAutoencoding"


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Published numbers, and how far from them a correct model may be.

    A value passes where |difference| <= atol + rtol * |published| + rounding.

    `rounding` is not published: two correct programs in float32 differ. It is twice the largest
    difference that there was between this program and transformers 5.23.0, both on a CPU, with
    models of full size and random weights of unit scale; rounded up.
    """

    values: Nested  # The corner of the output that was published.
    atol: float
    rtol: float
    rounding: float
    source: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that published numbers are about; it is not ours to give."""

    title: str
    endings: tuple[str, ...]  # Ends of its path, the best first; "./" is the folder verified.
    excluded: tuple[str, ...]  # Folders in which files of the same name are other pictures.
    size: tuple[int, int]  # Height and width.
    mend: str  # Where to get it.


@dataclasses.dataclass(frozen=True)
class Text:
    """A masked text, its logits and what should be predicted."""

    name: str
    text: str
    special_tokens: bool  # Whether [CLS] and [SEP] are put around it.
    masked: tuple[int, int]  # The first token that is masked, and the one after the last.
    predicted: tuple[int, ...]  # The most probable ids where it is masked.
    shape: tuple[int, ...]  # Of all logits.
    logits: Numbers  # logits[0, :n, :m]


@dataclasses.dataclass(frozen=True)
class Texts:
    """Masked texts for a language model."""

    texts: tuple[Text, ...]


@dataclasses.dataclass(frozen=True)
class Image:
    """A picture's logits and its most probable classes."""

    picture: Picture
    shape: tuple[int, ...]  # Of all logits.
    logits: Numbers  # logits[0, :n]
    top: tuple[str, ...]  # Names of the most probable classes, in order.
    probabilities: Numbers  # Theirs.


@dataclasses.dataclass(frozen=True)
class Flow:
    """The network's outputs, without the factor of 20, for a frame that does not move."""

    picture: Picture
    shape: tuple[int, ...]
    outputs: Numbers  # outputs[0, :n, :m]


@dataclasses.dataclass(frozen=True)
class Autoencoding:
    """Shapes of what one chunk decodes to: no numbers were published."""

    image_points: int  # The first pixels of the video, ...
    audio_points: int  # ... and the first patches of the sound, that are decoded.
    audio: tuple[int, ...]
    image: tuple[int, ...]
    label: tuple[int, ...]
    source: str


Procedure = Texts | Image | Flow | Autoencoding


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What is known about one released model."""

    name: str  # As Hugging Face calls it.
    pickle: str  # The file that DeepMind released.
    family: str  # See zoo.recognise.
    config: Callable[[], zoo.PerceiverConfig]  # Whose arrays it has.
    procedure: Procedure


COCO = Picture(
    title="000000039769 of COCO val2017",
    # The tests of logits read a PNG of it, those of probabilities the JPEG.
    endings=("000000039769.png", "000000039769.jpg", "000000039769.jpeg"),
    excluded=(),
    size=(480, 640),
    mend="put 000000039769.png or .jpg of COCO val2017 beside it "
    "(http://images.cocodataset.org/val2017/000000039769.jpg)",
)

SINTEL = Picture(
    title="MPI Sintel test/clean/cave_3/frame_0001",
    endings=(
        "clean/cave_3/frame_0001.png",
        "cave_3/frame_0001.png",
        "sintel_frame1.png",
        "./frame_0001.png",
    ),
    excluded=("final",),
    size=(436, 1024),
    mend="put test/clean/cave_3/frame_0001.png of MPI Sintel beside it, as sintel_frame1.png or "
    "in a folder cave_3 (http://sintel.is.tue.mpg.de)",
)

_SENTENCE = "This is an incomplete sentence where some words are missing."
_MISSING = (38, 115, 111, 121, 121, 111, 116, 109, 52)  # " missing."

_MLM = Texts(
    (
        Text(
            name="[CLS] text [SEP]",
            text=_SENTENCE,
            special_tokens=True,
            masked=(52, 61),
            predicted=_MISSING,
            shape=(1, 2048, 262),
            logits=Numbers(
                values=(
                    (-10.8609, -10.7651, -10.9187),
                    (-12.1689, -11.9389, -12.1479),
                    (-12.1518, -11.9707, -12.2073),
                ),
                atol=1e-4,
                rtol=1e-4,
                rounding=1.7e-4,  # Twice 8.3e-5.
                source=f"{_TESTS}, test_inference_masked_lm",
            ),
        ),
        # That no special token was added is inferred: the same word is masked, one token earlier.
        Text(
            name="text alone",
            text=_SENTENCE,
            special_tokens=False,
            masked=(51, 60),
            predicted=_MISSING,
            shape=(1, 2048, 262),
            logits=Numbers(
                values=(
                    (-11.8336, -11.6850, -11.8483),
                    (-12.8149, -12.5863, -12.7904),
                    (-12.8440, -12.6410, -12.8646),
                ),
                atol=1e-8,
                rtol=1e-5,
                rounding=1.7e-4,
                source=_CONVERSION,
            ),
        ),
    )
)


def _image(
    logits: tuple[float, ...],
    top: tuple[tuple[str, float], ...],
) -> Image:
    return Image(
        picture=COCO,
        shape=(1, 1000),
        logits=Numbers(
            logits,
            atol=1e-4,
            rtol=1e-4,
            rounding=1e-5,  # Twice 4.2e-6.
            source=f"{_TESTS}, test_inference_image_classification*",
        ),
        top=tuple(name for name, _ in top),
        # Equal after rounding to four decimals. A change of all logits by no more than d changes no
        # probability by more than d / 2.
        probabilities=Numbers(
            tuple(probability for _, probability in top),
            atol=5e-5,
            rtol=0.0,
            rounding=5e-6,
            source=f"{_PIPELINES}, test_perceiver",
        ),
    )


_LEARNED = _image(
    (-1.1652, -0.1992, -0.7520),
    (
        ("tabby, tabby cat", 0.3022),
        ("Egyptian cat", 0.2362),
        ("tiger cat", 0.1856),
        ("remote control, remote", 0.0324),
        ("quilt, comforter, comfort, puff", 0.0096),
    ),
)
_FOURIER = _image(
    (-1.1295, -0.2832, 0.3226),
    (
        ("tabby, tabby cat", 0.5658),
        ("tiger cat", 0.1309),
        ("Egyptian cat", 0.0722),
        ("remote control, remote", 0.0707),
        ("computer keyboard, keypad", 0.0082),
    ),
)
_CONV = _image(
    (-1.1186, 0.0554, 0.0897),
    (
        ("tabby, tabby cat", 0.4385),
        ("tiger cat", 0.3210),
        ("Egyptian cat", 0.0502),
        ("crib, cot", 0.0137),
        ("radiator", 0.0070),
    ),
)

# A weak check: the tolerance is 2 % of the larger of two values.
_FLOW = Flow(
    picture=SINTEL,
    shape=(1, 368, 496, 2),
    outputs=Numbers(
        (
            ((0.0025, -0.0050), (0.0025, -0.0049), (0.0025, -0.0048)),
            ((0.0026, -0.0049), (0.0026, -0.0048), (0.0026, -0.0047)),
            ((0.0026, -0.0049), (0.0026, -0.0048), (0.0026, -0.0046)),
        ),
        atol=1e-4,
        rtol=1e-4,
        rounding=0.0,  # Twice 1.2e-8, which is nothing beside the tolerance.
        source=f"{_TESTS}, test_inference_optical_flow",
    ),
)

_AUTOENCODING = Autoencoding(
    image_points=16 * 224 * 224 // 128,
    audio_points=30_720 // 16 // 128,
    audio=(1, 240),
    image=(1, 6272, 3),
    label=(1, 700),
    source=_DOCSTRING,
)

RELEASED: tuple[Expectation, ...] = (
    Expectation(
        "language-perceiver",
        "language_perceiver_io_bytes.pickle",
        "mlm",
        released.mlm,
        _MLM,
    ),
    Expectation(
        "vision-perceiver-learned",
        "imagenet_learned_position_encoding.pystate",
        "imagenet_learned",
        released.imagenet_learned,
        _LEARNED,
    ),
    Expectation(
        "vision-perceiver-fourier",
        "imagenet_fourier_position_encoding.pystate",
        "imagenet_fourier",
        released.imagenet_fourier,
        _FOURIER,
    ),
    Expectation(
        "vision-perceiver-conv",
        "imagenet_conv_preprocessing.pystate",
        "imagenet_conv",
        released.imagenet_conv,
        _CONV,
    ),
    Expectation(
        "optical-flow-perceiver",
        "optical_flow_checkpoint.pystate",
        "optical_flow",
        released.optical_flow,
        _FLOW,
    ),
    Expectation(
        "multimodal-perceiver",
        "video_autoencoding_checkpoint.pystate",
        "video_autoencoding",
        released.video_autoencoding,
        _AUTOENCODING,
    ),
)
