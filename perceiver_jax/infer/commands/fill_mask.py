"""predict --task=fill_mask: what stands in the holes of a text."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.fill_mask import Filled, MaskedText
    from perceiver_jax.infer.loaded import LoadedModel


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_integer("top_k", 5, "How many bytes to name for each hole.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 4, "How many texts to compute at a time.", lower_bound=1)
    define_text_flags()


def define_text_flags() -> None:
    """Defines the flags of all tasks that read text for a masked language model."""
    flags.DEFINE_string(
        "mask_span",
        None,
        "START:STOP, the bytes of the text to hide, counted from 0, STOP not included. Bytes of "
        "UTF-8: beyond plain ASCII a character has several.",
    )
    flags.DEFINE_string("mask_text", None, "A part of the text to hide, wherever it occurs.")
    flags.DEFINE_bool(
        "special_tokens",
        False,
        "Puts [CLS] before and [SEP] after the text, as Hugging Face's tokenizer does. The "
        "released procedure does not; spans do not count them.",
    )


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Fills the holes of the texts `inputs`: [MASK] is a byte, [MASK*9] nine."""
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import fill_mask

    length = fill_mask.text_length(loaded.config)
    special = flags.FLAGS.special_tokens
    texts, masked = [], []
    for text in inputs:
        try:
            hidden = mask(text)
            fill_mask.pad(hidden.ids, length, special_tokens=special)  # Refuses what is too long.
        except DataError as error:
            report.failure(error)
            continue
        texts.append(text)
        masked.append(hidden)
    filled = fill_mask.fill(
        loaded,
        masked,
        top_k=flags.FLAGS.top_k,
        special_tokens=special,
        batch_size=flags.FLAGS.batch_size,
    )
    for text, each in zip(texts, filled, strict=True):
        report.result(_record(text, each), _lines(each))


def mask(text: str) -> "MaskedText":
    """Hides in a text what the flags say, or else reads its [MASK]s.

    Raises:
      ConfigError: the flags make no sense.
      DataError: there is nothing to hide.
    """
    from perceiver_jax.errors import ConfigError
    from perceiver_jax.infer import fill_mask

    span, hidden = flags.FLAGS.mask_span, flags.FLAGS.mask_text
    if span is not None and hidden is not None:
        raise ConfigError("give --mask_span or --mask_text, not both.")
    if hidden is not None:
        return fill_mask.hide_text(text, hidden)
    if span is None:
        return fill_mask.from_marks(text)
    start, separator, stop = span.partition(":")
    if not (separator and start.isdecimal() and stop.isdecimal()):
        raise ConfigError(f"--mask_span={span} must be START:STOP in bytes, such as 51:60.")
    return fill_mask.hide_span(text, int(start), int(stop))


def _record(text: str, filled: "Filled") -> dict:
    bytes_ = [
        {
            "position": position,
            "candidates": [
                {"token": each.token, "text": str(each), "probability": each.probability}
                for each in candidates
            ],
        }
        for position, candidates in zip(filled.positions, filled.candidates, strict=True)
    ]
    fillings = [
        {"start": start, "stop": stop, "text": filling}
        for (start, stop), filling in zip(filled.spans, filled.fillings, strict=True)
    ]
    return {"input": text, "text": filled.text, "fillings": fillings, "bytes": bytes_}


def _lines(filled: "Filled") -> str:
    lines = ["".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in filled.text)]
    for position, candidates in zip(filled.positions, filled.candidates, strict=True):
        shown = "  ".join(f"{str(each)!r:6} {each.probability:6.1%}" for each in candidates)
        lines.append(f"{position:6}  {shown}")
    return "\n".join(lines)
