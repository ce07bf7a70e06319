"""Files of music, in processes of their own: a reader that crashes, hangs or grows costs one file.

Each worker is this module run as a program: it takes one path a line and answers with one line of JSON. (Not
`multiprocessing`: its workers import the user's script again, which needs a guard that newcomers do not
write, and a crash of one of its workers takes the whole pool with it.)
"""

import atexit
import base64
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ostinato.domains.music.reading.notation import KERN, MIDI, USUAL, Playing, contents
from ostinato.domains.music.reading.stored import Reading, pack, unpack
from ostinato.errors import UserError
from ostinato.foreign import cpu_seconds, limited

# Of a processor's time, with as much again for each megabyte: the longest works that are known take a tenth.
CPU_SECONDS = 9.0
# music21 takes half a minute for a long orchestral work.
KERN_CPU_SECONDS = 120.0
# Of kern up to a size, of which notes alone take a second.
SMALL_KERN, SMALL_KERN_CPU_SECONDS = 16 << 10, 5.0
# On a busy machine a file takes far longer than its computing; what takes longer than this will never end.
SECONDS_PER_FILE = 120.0
# Of MIDI, whose notes are no more than its bytes: such a file is read at once, without a process.
_SMALL = 1 << 20
MAX_WORKERS = 4
# Until a worker whose output has ended, or whose input has, is gone.
_LAST_SECONDS = 0.5

# -P: not even a module of the same name in the current folder is imported
_PROGRAM = ("-P", "-m", "ostinato.domains.music.reading.readers")


def read_all(
    paths: Sequence[Path],
    playing: Playing = USUAL,
    *,
    tick: Callable[[int, Reading], None] = lambda index, reading: None,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> list[Reading]:
    """Read every file, in parallel. The answers are in the order of `paths`.

    Args:
        paths: of the files.
        playing: what of their notation is played.
        tick: is called after each, with its place in `paths` and what came of it.
        seconds_per_file: what takes longer is given up; each megabyte of a file counts as a file.
    """
    found: list[Reading] = [Reading()] * len(paths)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(paths)):
        waiting.put(index)
    stopping = threading.Event()
    done: queue.SimpleQueue[tuple[int, Reading] | BaseException] = queue.SimpleQueue()

    def serve() -> None:
        worker = _Worker(seconds_per_file)
        try:
            while not stopping.is_set():
                index = waiting.get_nowait()
                done.put((index, worker.read(paths[index], playing)))
        except queue.Empty:
            pass
        except BaseException as error:  # handed to the caller's thread, which raises it
            done.put(error)
        finally:
            worker.stop()

    # a worker takes about as long to start as a few files take to read
    workers = min(MAX_WORKERS, _processors(), (len(paths) + 3) // 4)
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for _ in paths:
            answer = done.get()
            if isinstance(answer, BaseException):
                raise answer
            found[answer[0]] = answer[1]
            tick(*answer)
    finally:
        stopping.set()
    for thread in threads:
        thread.join()
    return found


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """A process that reads files, one at a time; started when needed, and again after a crash."""

    def __init__(self, seconds_per_file: float) -> None:
        self._seconds = seconds_per_file
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path, playing: Playing) -> Reading:
        if self._process is not None and self._process.poll() is not None:
            self.stop()  # it ends with the thread that started it
        process = self._process or self._start()
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        seconds = self._seconds * (1 + (_size(path) >> 20))
        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            asked = os.fspath(path.absolute()), playing.repeats, playing.chords
            _ends(process)[0].write(json.dumps(asked) + "\n")
            _ends(process)[0].flush()
            answer = _ends(process)[1].readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if answer:
            return _decode(answer)
        code = self.stop()
        reason = "reading it crashed the reader: the file is damaged, or too large for the memory"
        if late.is_set():
            reason = f"reading it took more than {seconds:.3g} seconds"
        elif code == -getattr(signal, "SIGPROF", 0):
            reason = f"reading it took more than {_cpu_seconds(path):.3g} seconds of a processor's time"
        return Reading(reason=reason, final=False)

    def _start(self) -> "subprocess.Popen[str]":
        # The worker finds the modules that this process finds, and nothing in the user's current folder.
        paths = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            [sys.executable, *_PROGRAM, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # music21 warns about each oddity of each file
            text=True,
            encoding="utf-8",
            # one thread each: others would only cost memory
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        return self._process

    def stop(self) -> int | None:
        """End the process; its exit code, where it had ended by itself."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        for end in _ends(process):
            with contextlib.suppress(OSError):  # what was meant for a worker that is gone
                end.close()
        # who answers no more has just ended, or will not
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LAST_SECONDS)
        process.kill()
        process.wait()
        return None


def _ends(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the worker was started without pipes")
    return process.stdin, process.stdout


def _encode(reading: Reading) -> str:
    arrays, meta = pack(reading)
    coded = {
        name: [values.dtype.str, base64.b64encode(values.tobytes()).decode("ascii")]
        for name, values in arrays.items()
    }
    return json.dumps([coded, meta])


def _decode(line: str) -> Reading:
    coded, meta = json.loads(line)
    arrays = {name: np.frombuffer(base64.b64decode(text), kind) for name, (kind, text) in coded.items()}
    found = unpack(arrays, meta)
    if found is None:
        raise RuntimeError("the worker's answer is of another version")
    return found


def _cpu_seconds(path: Path) -> float:
    """What reading a file may take."""
    size = _size(path)
    if path.suffix.lower() not in KERN:
        return CPU_SECONDS * (1 + (size >> 20))
    return SMALL_KERN_CPU_SECONDS if size <= SMALL_KERN else KERN_CPU_SECONDS * (1 + (size >> 20))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


_BY_ITSELF, _BY_ITSELF_LOCK = _Worker(SECONDS_PER_FILE), threading.Lock()
atexit.register(_BY_ITSELF.stop)


def read_few(path: Path, playing: Playing = USUAL) -> Reading:
    """Read a file, as one of a few: here where it cannot hang or grow, else in a process that stays."""
    if path.suffix.lower() in MIDI and _size(path) <= _SMALL:
        return read_one(path, playing)
    with _BY_ITSELF_LOCK:
        return _BY_ITSELF.read(path, playing)


def read_one(path: Path, playing: Playing = USUAL) -> Reading:
    """Read a file in this process; whatever goes wrong is the reason."""
    try:
        found = contents(path, playing)
        return Reading(found.pieces, faults=found.faults)
    except UserError as error:
        return Reading(reason=str(error))
    except (RecursionError, MemoryError) as error:
        return Reading(reason=f"too large or too deeply nested to read ({type(error).__name__})")


def main() -> None:
    """The worker: a path and what is played a line in, an answer a line out."""
    limited(parent=int(sys.argv[1]) if len(sys.argv) > 1 else None)
    # Readers may print: only answers go to the real standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, *playing = json.loads(line)
        path = Path(name)
        with cpu_seconds(_cpu_seconds(path)):
            answer = _encode(read_one(path, Playing(*playing)))
        answers.write(answer + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
