"""Text with holes to text, byte by byte (Perceiver IO, Sec. 4.1).

The model reads and predicts bytes of UTF-8; a hole is a number of masked bytes, and every one of
them is predicted on its own, all at once. As in the released procedure, the text is padded to the
model's length, and no special token is added.

Holes work better if they begin with the space before a word.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from perceiver_jax import zoo
from perceiver_jax.errors import DataError, ModelError
from perceiver_jax.infer.classify import softmax
from perceiver_jax.infer.loaded import LoadedModel
from perceiver_jax.model import tokenizer

_MARK = re.compile(r"\[MASK(?:\*([0-9]{1,6}))?\]")
_SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[CLS]", "[SEP]")


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedText:
    """A text as token ids, some of which are masked."""

    ids: np.ndarray  # [tokens], int32; MASK where a byte is to be predicted.

    @property
    def positions(self) -> np.ndarray:
        """Where it is masked, [masked]."""
        return np.flatnonzero(self.ids == tokenizer.MASK)

    def spans(self) -> list[tuple[int, int]]:
        """The holes: first position and the one after the last of each."""
        positions = self.positions
        breaks = np.flatnonzero(np.diff(positions) > 1) + 1
        return [(int(run[0]), int(run[-1]) + 1) for run in np.split(positions, breaks) if len(run)]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What a masked byte may be."""

    token: int  # Token id.
    probability: float

    def __str__(self) -> str:
        return token_name(self.token)


@dataclasses.dataclass(frozen=True)
class Filled:
    """A text whose holes are filled with the most probable bytes."""

    text: str  # Bytes that are no UTF-8 are shown as U+FFFD.
    spans: tuple[tuple[int, int], ...]  # The holes, in tokens.
    fillings: tuple[str, ...]  # What was put into each.
    ids: tuple[int, ...]  # All tokens, filled.
    positions: tuple[int, ...]  # The masked tokens.
    candidates: tuple[tuple[Candidate, ...], ...]  # For each of them, the most probable first.


def from_marks(text: str) -> MaskedText:
    """Reads a text with `[MASK]` for one byte and `[MASK*9]` for nine.

    Raises:
      DataError: it has no mark, or `[MASK*0]`.
    """
    pieces: list[np.ndarray] = []
    end = 0
    for mark in _MARK.finditer(text):
        count = int(mark.group(1)) if mark.group(1) is not None else 1
        if count < 1:
            raise DataError(f"{mark.group()} hides nothing; give the number of bytes to predict.")
        pieces += [encode(text[end : mark.start()]), np.full(count, tokenizer.MASK, np.int32)]
        end = mark.end()
    if not pieces:
        raise DataError(
            f"nothing is masked in {shorten(text)!r}: write [MASK] for a byte or [MASK*9] for "
            "nine, or hide a part of the text with --mask_span or --mask_text."
        )
    return MaskedText(np.concatenate([*pieces, encode(text[end:])]))


def has_marks(text: str) -> bool:
    """Whether there is a `[MASK]` in a text."""
    return _MARK.search(text) is not None


def hide_span(text: str, start: int, stop: int) -> MaskedText:
    """Hides the bytes of `text` from `start` up to, not including, `stop`.

    Bytes, not characters: they differ where the text is not plain ASCII.

    Raises:
      DataError: the span is empty or reaches beyond the text.
    """
    ids = encode(text)
    if not 0 <= start < stop <= len(ids):
        raise DataError(
            f"the span {start}:{stop} is not within the {len(ids)} bytes of {shorten(text)!r}; "
            f"give START:STOP with 0 <= START < STOP <= {len(ids)}."
        )
    ids[start:stop] = tokenizer.MASK
    return MaskedText(ids)


def hide_text(text: str, hidden: str) -> MaskedText:
    """Hides every occurrence of `hidden` in `text`.

    Raises:
      DataError: there is none.
    """
    if not hidden or hidden not in text:
        raise DataError(f"there is no {hidden!r} to hide in {shorten(text)!r}.")
    return from_marks(text.replace(hidden, f"[MASK*{len(encode(hidden))}]"))


def encode(text: str) -> np.ndarray:  # [bytes], int32
    """The token ids of `text`, in an array of its own.

    Bytes that are no UTF-8, which Python reads from a command line as lone surrogates, stay what
    they are; other lone surrogates become "?".
    """
    try:
        raw = text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", errors="replace")
    return np.frombuffer(raw, np.uint8).astype(np.int32) + tokenizer.NUM_SPECIAL


def fill(
    loaded: LoadedModel,
    texts: Sequence[MaskedText],
    *,
    top_k: int = 5,
    special_tokens: bool = False,
    batch_size: int = 4,
) -> list[Filled]:
    """Fills the holes of texts, each byte with the most probable one.

    Args:
      loaded: a masked language model of bytes.
      texts: the texts.
      top_k: how many candidates to return for each masked byte.
      special_tokens: puts [CLS] before and [SEP] after the text, as Hugging Face's tokenizer does.
        Positions in the result do not count them.
      batch_size: how many texts to compute at a time.

    Raises:
      ModelError: the model is not a masked language model of bytes.
      DataError: a text is longer than the model takes.
    """
    length = text_length(loaded.config)
    padded = [pad(text.ids, length, special_tokens=special_tokens) for text in texts]
    shift = int(special_tokens)
    results = []
    for begin in range(0, len(texts), batch_size):
        batch = padded[begin : begin + batch_size]
        if begin:
            batch += [batch[-1]] * (batch_size - len(batch))  # Compiled once for all.
        ids, masks = (np.stack(arrays) for arrays in zip(*batch, strict=True))
        logits = np.asarray(loaded.apply(ids, masks))
        for text, rows in zip(texts[begin : begin + batch_size], logits, strict=False):
            results.append(_filled(text, rows[text.positions + shift], top_k))
    return results


def text_length(config: zoo.ModelConfig) -> int:
    """How many byte tokens a model of text reads.

    Raises:
      ModelError: it does not read bytes.
    """
    tokens = None if isinstance(config, zoo.BaselineConfig) else config.preprocessor
    if not isinstance(tokens, zoo.TokensConfig) or tokens.vocab_size != tokenizer.VOCAB_SIZE:
        raise ModelError(
            f"this model does not read text as bytes, in a vocabulary of {tokenizer.VOCAB_SIZE}."
        )
    return tokens.length


def pad(
    ids: np.ndarray, length: int, *, special_tokens: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pads token ids to the model's length.

    Returns:
      Ids [length] and their mask [length], both int32; see `tokenizer.pad`.

    Raises:
      DataError: the text is longer than the model takes.
    """
    room = length - 2 * special_tokens
    if len(ids) > room:
        start = shorten(tokenizer.decode(ids[:200]))
        raise DataError(
            f"the text {start!r} has {len(ids)} bytes, and the model takes {room}; shorten it, or "
            "give it in parts."
        )
    if special_tokens:
        ids = np.concatenate([[tokenizer.CLS], ids, [tokenizer.SEP]])
    return tokenizer.pad(ids, length)


def _filled(text: MaskedText, logits: np.ndarray, top_k: int) -> Filled:
    """Puts the predictions [masked, vocabulary] into a text."""
    ids = text.ids.copy()
    ids[text.positions] = logits.argmax(axis=-1)
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k]
    return Filled(
        text=tokenizer.decode(ids),
        spans=tuple(text.spans()),
        fillings=tuple(tokenizer.decode(ids[start:stop]) for start, stop in text.spans()),
        ids=tuple(ids.tolist()),
        positions=tuple(text.positions.tolist()),
        candidates=tuple(
            tuple(Candidate(int(token), float(row[token])) for token in tops)
            for row, tops in zip(probabilities, order, strict=True)
        ),
    )


def token_name(token: int) -> str:
    """Shows a token: printable ASCII as itself, other bytes as 0xE2, special ones as [MASK]."""
    if token < tokenizer.NUM_SPECIAL:
        return _SPECIAL[token]
    byte = token - tokenizer.NUM_SPECIAL
    return chr(byte) if 0x20 <= byte < 0x7F else f"0x{byte:02X}"


def shorten(text: str, width: int = 40) -> str:
    """The beginning of a text, for a message."""
    return text if len(text) <= width else text[: width - 3] + "..."
