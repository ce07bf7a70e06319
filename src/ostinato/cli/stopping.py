"""Ctrl-C and a terminating signal as a request that training heeds at its next checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """A function that returns the number of the first signal that has asked to stop, or 0."""
    asked: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: asked.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
