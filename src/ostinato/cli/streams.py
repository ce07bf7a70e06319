"""Standard output and standard error whose reader may go, as `head` does."""

import contextlib
import errno
import os
from typing import IO, Any

from rich.console import Console


def forget(*streams: IO[str] | None) -> None:
    """What these could not take is not tried again as the program ends, which would then end with 120."""
    for stream in streams:
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Piped(Console):
    """A console whose reader may go, as `head` does: rich would end the program with 1, whatever it is at.

    Args:
        patient: nothing is raised then: nothing more is written, and `gone` says so, for work that has to
            come to a checkpoint. Otherwise a `BrokenPipeError`, which ends a command (`cli.boundary`).
        options: see `rich.console.Console`.
    """

    def __init__(self, *, patient: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.gone, self._patient = False, patient

    def print(self, *objects: Any, **options: Any) -> None:
        """See `rich.console.Console`."""
        try:
            super().print(*objects, **options)
        except BrokenPipeError:  # of a rich that knows no `on_broken_pipe`, too
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """See `patient`."""
        self.gone = self.quiet = True
        forget(self.file)
        if not self._patient:
            raise BrokenPipeError(errno.EPIPE, "nobody reads what is written")
