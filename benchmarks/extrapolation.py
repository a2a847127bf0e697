"""Work of many equal calls, of which a few are timed and stand for all."""

TIMED_CALLS = 3


def timed_calls(of_calls: int) -> int:
    """How many calls are made of `of_calls` equal ones."""
    return min(TIMED_CALLS, of_calls)


def scale(of_calls: int) -> float:
    """What the time of the timed calls is multiplied by to be that of all."""
    return of_calls / timed_calls(of_calls)


def extrapolated_from(of_calls: int) -> str | None:
    """Says in words which part was timed; None: all was."""
    timed = timed_calls(of_calls)
    return f"{timed} of {of_calls} calls" if timed < of_calls else None
