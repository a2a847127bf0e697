"""A progress bar on stderr, for what takes long."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def progress(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterates over `iterable` and shows how far it is; silent where stderr is no terminal.

    Args:
      iterable: what to go through.
      description: a word or two before the bar.
      total: the number of items, where `len` does not know it.

    Yields:
      The items.
    """
    if not sys.stderr.isatty():
        yield from iterable
        return
    try:
        from tqdm import tqdm
    except ImportError:  # A bar is nice to have, and no reason to fail.
        yield from iterable
        return
    yield from tqdm(
        iterable, desc=description, total=total, file=sys.stderr, leave=False, dynamic_ncols=True
    )
