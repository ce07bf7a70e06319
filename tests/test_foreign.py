"""What others wrote against its bounds: of kinds of files, sizes, nesting, memory, time and life."""

import gzip
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from ostinato import foreign
from ostinato.domains.series.array_file import read_arrays
from ostinato.domains.series.csv_file import read_csv
from ostinato.domains.text.reading.source import whole_file
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.search.space import Space

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    return path


@needs_pipes
@pytest.mark.parametrize("read", [Recipe.read_settings, Space.read, read_csv, read_arrays])
def test_a_pipe_is_no_file(read, pipe):
    with pytest.raises(UserError, match="found something else"):
        read(pipe)


@needs_pipes
def test_a_pipe_of_text_is_read_and_a_forgotten_one_told(pipe, monkeypatch):
    monkeypatch.setattr(foreign, "_WAIT_SECONDS", 0.2)
    with pytest.raises(UserError, match="a pipe that nobody writes to"):
        whole_file(pipe)

    def write():
        with open(pipe, "wb") as file:
            time.sleep(0.5)  # longer than a writer is waited for
            file.write(b"the cat\n")

    monkeypatch.setattr(foreign, "_WAIT_SECONDS", 5.0)
    writer = threading.Thread(target=write)
    writer.start()
    assert list(whole_file(pipe).blocks()) == ["the cat\n"]
    writer.join()


@needs_pipes
def test_a_writer_may_take_time(pipe, monkeypatch):
    monkeypatch.setattr(foreign, "_WAIT_SECONDS", 0.1)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer can open it at once
    writer = os.open(pipe, os.O_WRONLY)
    os.close(reader)
    threading.Timer(0.6, lambda: (os.write(writer, b"the dog\n"), os.close(writer))).start()
    assert list(whole_file(pipe).blocks()) == ["the dog\n"]


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_a_device_is_no_text():
    with pytest.raises(UserError, match="found a device"):
        foreign.piped(foreign.Path("/dev/zero"))


def test_closed_standard_input_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="found it closed"):
        whole_file(foreign.Path("-"))


def test_what_is_packed_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "MOST_UNPACKED", 3 << 20)
    small, large = tmp_path / "small.gz", tmp_path / "large.gz"
    small.write_bytes(gzip.compress(b"a b\n" * (3 << 18)))
    large.write_bytes(gzip.compress(b"a b\n" * (3 << 18) + b"a"))
    assert whole_file(small).size == 3 << 20
    with pytest.raises(UserError, match=r"at most 3 MB unpacked, found more in .*large.gz"):
        whole_file(large)


def test_a_bomb_of_gigabytes_is_refused_within_seconds(tmp_path):
    path, member = tmp_path / "bomb.gz", gzip.compress(bytes(64 << 20), 1)
    path.write_bytes(member * 100)  # 6.4 GB
    begin = time.process_time()
    with pytest.raises(UserError, match="at most 256 MB unpacked"):
        whole_file(path)
    assert time.process_time() - begin < 10


def test_packed_arrays_are_bounded_and_others_are_not(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(foreign, "MOST_UNPACKED", 1000)
    np.savez(tmp_path / "plain.npz", np.zeros(1000))
    np.savez_compressed(tmp_path / "packed.npz", np.zeros(1000))
    assert read_arrays(tmp_path / "plain.npz").series
    with pytest.raises(UserError, match="save it without compression"):
        read_arrays(tmp_path / "packed.npz")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a = " + "[" * 100_000 + "]" * 100_000, "larger than 64 kB"),
        (".".join(["a"] * 100_000) + " = 1", "larger than 64 kB"),
        ("a = " + "[" * 10_000 + "]" * 10_000, "nested too deeply"),
        ("a = " + "9" * 5000, "limit"),
        ("a = \udcff".encode("utf-8", "surrogateescape"), "decode"),
    ],
)
def test_settings_are_bounded(content, reason, tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (Recipe.read_settings, Space.read):
        with pytest.raises(UserError, match=reason):
            read(path)


@pytest.mark.parametrize("part", ["a", '"a.b"', "'a'", "a "])
def test_keys_of_many_parts_are_bounded(part):
    key = ".".join([part] * 99)
    assert foreign.parsed(f"{key} = 1".encode())
    many = ".".join([part] * (60_000 // (1 + len(part))))
    for deeper in (f"{key}.{part} = 1", f"[{key} .\t{part}]", f"{many} = 1"):
        with pytest.raises(UserError, match="nested too deeply"):
            foreign.parsed(deeper.encode())


@pytest.mark.parametrize(
    "slow",
    [
        "[a." + ".".join(["a"] * 97) + ".{}]\n",
        "a{} = [" + "0.1, " * 50 + "]\n",
        "x{} = 'a" + 200 * " . " + "'\n",
        "a" * 500 + "{} = 1\n",
    ],
)
def test_settings_that_take_longest_are_read_within_seconds(slow):
    count = (60 << 10) // (len(slow) + 3)
    begin = time.process_time()
    assert foreign.parsed("".join(slow.format(n) for n in range(count)).encode())
    assert time.process_time() - begin < 2
    with pytest.raises(UserError):
        foreign.parsed((65_000 * "a").encode())
    assert time.process_time() - begin < 4


def child(code: str, **variables: str) -> "subprocess.Popen[str]":
    paths = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths} | variables,
    )


@needs_linux
def test_a_process_is_held_to_its_memory():
    with child("from ostinato.foreign import limited\nlimited(200 << 20)\nbytearray(300 << 20)") as process:
        assert process.wait(60) == 1
    with child("from ostinato.foreign import limited\nlimited(200 << 20)\nbytearray(50 << 20)") as process:
        assert process.wait(60) == 0


@needs_linux
def test_a_process_is_held_to_its_time():
    code = "from ostinato.foreign import cpu_seconds\nwith cpu_seconds({}):\n    sum(range({}))"
    with child(code.format(0.3, 10**12)) as process:
        assert process.wait(60) == -signal.SIGPROF
    with child(code.format(30, 10**5)) as process:
        assert process.wait(60) == 0


@needs_linux
def test_a_process_ends_with_its_parent():
    reader = "from ostinato.foreign import limited; limited(); print(flush=True); [0 for _ in iter(int, 1)]"
    parent = (
        "import subprocess, sys, time\n"
        f"own = subprocess.Popen([sys.executable, '-c', {reader!r}], stdout=subprocess.PIPE)\n"
        "own.stdout.readline(); print(own.pid, flush=True); time.sleep(60)"
    )
    with child(parent) as process:
        number = int(process.stdout.readline())
        assert is_alive(number)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while is_alive(number) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_alive(number)


def is_alive(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_archive_that_lies_is_a_reason(tmp_path):
    from ostinato.domains.music.reading.content import unzipped

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", "<score-partwise/>" * 20)
    whole = data.getvalue()
    refused = 0
    for place in range(len(whole)):
        for bit in (1, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            try:
                unzipped(bytes(damaged))
            except UserError:
                refused += 1
    assert refused > len(whole)


@needs_linux
def test_a_process_whose_parent_has_ended_before_it_is_held_ends():
    code = "import os\nfrom ostinato.foreign import limited\nlimited(parent={})\nprint('here')"
    for parent, said in (("os.getppid()", "here\n"), ("os.getppid() + 1", "")):
        with child(code.format(parent)) as process:
            assert process.stdout.read() == said


def numbered(form: str, count: int) -> str:
    return "".join(form.format(n) for n in range(count))


# Files that take more than 40 MB to read, and what reads them.
GROWING = {
    "a.arpa": (
        "from ostinato.domains.text.evaluation.arpa import read_arpa as read",
        lambda: (
            "\\data\\\nngram 1=160001\n\n\\1-grams:\n-1\t</s>\n"
            + numbered("-1\t{:x}\n", 160_000)
            + "\\end\\\n"
        ),
    ),
    "table.txt": (
        "from ostinato.domains.text.nbest import load_nbest\nread = lambda path: load_nbest([path])",
        lambda: "u\t1\ta\n" * 160_000,
    ),
    "references.txt": (
        "from ostinato.domains.text.nbest import read_by_utterance\n"
        "from ostinato.domains.text.score import read_text\n"
        "read = lambda path: read_by_utterance(read_text(path), path.name)",
        lambda: numbered("{:x} a\n", 240_000),
    ),
    "words.txt": (
        "from ostinato.domains.text.reading.data_sets import listed_words\n"
        "read = lambda path: listed_words(str(path))",
        lambda: numbered("{:x}\n", 240_000),
    ),
    "text.txt": (
        "from ostinato.domains.text.score import read_text as read",
        lambda: "a b c d\n" * 2_160_000,
    ),
    "a.csv": (
        "from ostinato.domains.series.csv_file import read_csv as read",
        lambda: "1,2,3,4\n" * 600_000,
    ),
    "a.npy": ("from ostinato.domains.series.array_file import read_arrays as read", lambda: None),
}
READ = """
import os, re
from pathlib import Path
from ostinato.errors import UserError
from ostinato.foreign import VARIABLE
{}

def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10

def found():
    try:
        read(Path({!r}))
        return "read"
    except UserError as error:
        return str(error)

Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
said = found()
print(memory("VmHWM") - before, said)
os.environ[VARIABLE] = "1000"
print(found())
"""


@needs_linux
@pytest.mark.parametrize("name", GROWING)
def test_what_is_read_here_is_bounded_and_the_bound_can_be_raised(name, tmp_path):
    import numpy as np

    reader, content = GROWING[name]
    path = tmp_path / name
    if name.endswith(".npy"):
        np.save(path, np.ones(6_000_000, np.int8))
    else:
        path.write_text(content())
    with child(READ.format(reader, str(path)), OSTINATO_READER_MB="40") as process:
        first, second = process.stdout.read().splitlines()
    peak, _, said = first.partition(" ")
    assert int(peak) < 100  # a block of a file, and its lines, may come on top
    assert "at most 40 MB of memory to read" in said
    assert "OSTINATO_READER_MB=160" in said
    assert second == "read"


def test_the_bound_is_a_number(monkeypatch):
    for wrong in ("much", "-1", "0", "1e3", "9" * 20):
        monkeypatch.setenv("OSTINATO_READER_MB", wrong)
        with pytest.raises(UserError, match="whole number of megabytes in OSTINATO_READER_MB"):
            foreign.most_memory()
    monkeypatch.setenv("OSTINATO_READER_MB", "2000")
    assert foreign.most_memory() == 2000 << 20
    assert foreign.most_unpacked() == 512 << 20


def test_lines_without_an_end_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "MOST_UNPACKED", 6 << 20)
    path = tmp_path / "a.txt"
    path.write_text("a" * (5 << 20))
    assert sum(map(len, whole_file(path).blocks())) == (5 << 20) + 1
    path.write_text("a" * (13 << 20))
    with pytest.raises(UserError, match="6 MB without a line end or a space"):
        list(whole_file(path).blocks())
    (tmp_path / "a.csv").write_text("1," * (3 << 20))
    with pytest.raises(UserError, match="a row for each step"):
        read_csv(tmp_path / "a.csv")


def test_a_huge_file_of_a_run_is_not_read(tmp_path, monkeypatch):
    from ostinato import seal
    from ostinato.runs.folder import Run

    with Run.create(tmp_path / "run", {"data": "jsb"}) as run:
        run.append_metrics({"epoch": 0})
    sealed = (run.folder / "config.toml", "changed since"), (run.folder / "seal.json", "at most 4 MB")
    bare = (run.folder / "config.toml", "at most 64 kB"), (run.folder / "metrics.jsonl", "at most 256 MB")

    def read_all():
        with seal.telling(lambda _: None):
            own = Run.open(run.folder)
            return own.config(), own.metrics()

    for path, reason in (*sealed, *bare):
        if (path, reason) == bare[0]:
            (run.folder / "seal.json").unlink()
        before = path.read_bytes()
        os.truncate(path, 8 << 30)  # of zeros, which take no room
        with pytest.raises(UserError, match=reason):
            read_all()
        path.write_bytes(before)
