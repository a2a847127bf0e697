"""What is said of a conversion while it goes on."""

import io

from perceiver_jax.data.conversion.progress import Progress


def test_progress_tells_rate_and_time_left():
    now = [100.0]
    said = []
    progress = Progress(1000, 200, said.append, io.StringIO(), lambda: now[0])
    assert said == ["Going on after 200 that an earlier run has converted."]
    for item in range(320):
        now[0] += 0.125  # 8 a second.
        progress.done(item)
    # A line after 3 s, then each 15 s; what an earlier run did says nothing about the rate.
    assert said[1:] == [
        "224 of 1,000 converted, 8.0/s",  # Too early to say more.
        "344 of 1,000 converted, 8.0/s, 0:01:22 left",
        "464 of 1,000 converted, 8.0/s, 0:01:07 left",
    ]
    progress.end()

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    slow = Progress(11, 0, said.append, io.StringIO(), lambda: now[0])
    now[0] += 60  # Processes start.
    for item in range(6):
        slow.done(item)
        now[0] += 2
    now[0] -= 2
    assert slow.line() == "6 of 11 converted, 0.5/s, 0:00:10 left"
    del said[4:]
    terminal = Terminal()
    progress = Progress(4, 0, said.append, terminal, lambda: now[0])
    now[0] += 1
    progress.done(0)
    progress.end()
    assert terminal.getvalue() == "\r1 of 4 converted, 1.0/s\x1b[K\r\x1b[K"
    assert len(said) == 4
