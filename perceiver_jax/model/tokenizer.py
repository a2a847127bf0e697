"""Text as bytes (Perceiver IO, Sec. 4.1 and App. F): no vocabulary to learn or ship."""

import numpy as np

# NOTE(fidelity): the paper speaks of four special tokens; the released model has six.
PAD, BOS, EOS, MASK, CLS, SEP = range(6)
NUM_SPECIAL = 6
VOCAB_SIZE = 256 + NUM_SPECIAL


def encode(text: str) -> np.ndarray:  # [length], int32
    """The UTF-8 bytes of `text` as token ids. No special token is added."""
    return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) + NUM_SPECIAL


def decode(ids: np.ndarray) -> str:
    """The text of token ids [length]: special tokens are dropped, broken UTF-8 becomes U+FFFD.

    Raises:
      ValueError: an id is outside the vocabulary.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= VOCAB_SIZE):
        raise ValueError(
            f"token ids must be from 0 to {VOCAB_SIZE - 1}; got {ids.min()} to {ids.max()}."
        )
    kept = ids[ids >= NUM_SPECIAL] - NUM_SPECIAL
    return kept.astype(np.uint8).tobytes().decode("utf-8", errors="replace")


def pad(ids: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pads token ids [n] with PAD.

    Returns:
      The ids [length] and their mask [length], 1 where a token stands, both int32.

    Raises:
      ValueError: there are more ids than `length`.
    """
    if len(ids) > length:
        raise ValueError(f"{len(ids)} tokens do not fit into {length}; cut the text.")
    padded = np.full(length, PAD, np.int32)
    padded[: len(ids)] = ids
    mask = np.zeros(length, np.int32)
    mask[: len(ids)] = 1
    return padded, mask
