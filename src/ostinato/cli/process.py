"""What other users of the machine see of this process."""

import contextlib
import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

# The fields of /proc/PID/stat, after the name, with the first and the last address of the arguments.
_ARGUMENTS = slice(45, 47)


def hide_arguments(secrets: Iterable[str]) -> None:
    """Write x over these texts where the system keeps the process's arguments, which `ps` shows to everybody.

    Done on Linux only; elsewhere arguments stay as they were typed.

    Args:
        secrets: such as passwords.
    """
    found = [secret.encode() for secret in secrets if secret]
    if sys.platform != "linux" or not found:
        return
    with contextlib.suppress(OSError, ValueError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = map(int, fields[_ARGUMENTS])
        if begin == 0:  # not to be known here
            return
        text = ctypes.string_at(begin, end - begin)
        for secret in sorted(found, key=len, reverse=True):
            place = text.find(secret)
            while place >= 0:
                ctypes.memset(begin + place, ord("x"), len(secret))
                place = text.find(secret, place + len(secret))
