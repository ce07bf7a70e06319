"""Ctrl-C and a terminating signal as a request that training heeds at its next step; a second one ends it."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Hears of a signal: its number, and whether it is the last.
Ends = Callable[[int, bool], None]


@contextmanager
def stop_signals(*numbers: int, ends: Ends | None = None) -> Iterator[Callable[[], int]]:
    """A function that returns the number of the first signal that has asked to stop, or 0.

    What is asked for is heeded between two steps, and a step may take minutes. Who cannot wait asks twice: a
    program then gets a `KeyboardInterrupt`, as soon as Python has a turn; a command, which gives `ends`, is
    ended at once, whatever it is at, so that what it has done since its last checkpoint is lost.

    Args:
        numbers: of the signals; SIGINT and SIGTERM where none is named. In a thread that is not the main one
            no signal arrives, and none is waited for.
        ends: called in another thread, at once, with each signal's number and whether it is the last: then
            the process ends when it returns, and with it those that it has started.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return

    def handler(number: int, _: object) -> None:
        asked.append(number)
        if len(asked) > 1 and ends is None:
            raise KeyboardInterrupt

    handlers = {
        number: signal.signal(number, handler) for number in (numbers or (signal.SIGINT, signal.SIGTERM))
    }
    try:
        with _at_once(frozenset(handlers), ends):
            yield lambda: asked[0] if asked else 0
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


@contextmanager
def _at_once(numbers: frozenset[int], ends: Ends | None) -> Iterator[None]:
    """Hear of signals while Python is inside a long call: the system's handler writes them to a socket."""
    if ends is None:
        yield
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    thread = threading.Thread(target=_listen, args=(heard, numbers, ends), name="signals", daemon=True)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()
        thread.join()
        heard.close()


def _listen(heard: socket.socket, numbers: frozenset[int], ends: Ends) -> None:
    count = 0
    while data := heard.recv(64):
        for number in data:
            if number not in numbers:
                continue
            count += 1
            try:
                ends(number, count > 1)
            finally:
                if count > 1:
                    for child in multiprocessing.active_children():
                        child.kill()
                    os._exit(128 + number)
