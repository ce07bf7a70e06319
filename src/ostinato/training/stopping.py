"""Ctrl-C and a terminating signal as a request that training heeds at its next checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(*numbers: int) -> Iterator[Callable[[], int]]:
    """A function that returns the number of the first signal that has asked to stop, or 0.

    Args:
        numbers: of the signals; SIGINT and SIGTERM where none is named. In a thread that is not the main one
            no signal arrives, and none is waited for.
    """
    asked: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    handlers = {
        number: signal.signal(number, lambda number, _: asked.append(number))
        for number in (numbers or (signal.SIGINT, signal.SIGTERM))
        if main
    }
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
