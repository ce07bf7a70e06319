"""Which header may include which: the layers of native/README.md, from the #include lines as written."""

import re
import shutil
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"

# Every folder, and each file beside them, with what it may include besides what is of its own.
LAYERS = {
    "simd": "",
    "linear": "simd",
    "team": "simd linear",
    "rnn": "simd linear team",
    "gated": "simd linear team",
    "nade": "simd linear team",
    "kernels.hpp": "rnn gated nade",
    "kernels.cpp": "kernels.hpp rnn gated nade",
    "python": "kernels.hpp team",
    "module.cpp": "kernels.hpp team python",
    "ngrams": "",
}
# What is compiled once, for any processor, may know no instruction set.
FOR_ANY_PROCESSOR = ("module.cpp", "team/team.cpp", "team/scratch.cpp", "ngrams/ngrams.cpp")

pytestmark = pytest.mark.skipif(not NATIVE.exists(), reason="needs the sources of the extension")


def includes(file: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*"([^"]+)"', file.read_text(encoding="utf-8"), re.MULTILINE)


def sources(native: Path) -> list[str]:
    return sorted(str(p.relative_to(native)) for p in native.rglob("*") if p.suffix in (".hpp", ".cpp"))


def reached(native: Path, file: str) -> set[str]:
    """What a file includes, directly or not."""
    found: set[str] = set()
    waiting = [file]
    while waiting:
        for name in includes(native / waiting.pop()):
            if name not in found and (native / name).exists():
                found.add(name)
                waiting.append(name)
    return found


def faults(native: Path) -> list[str]:
    """Each rule that is broken, in a line."""
    found = []
    for file in sources(native):
        own = file.split("/", maxsplit=1)[0]
        if own not in LAYERS:
            found.append(f"{file} is in no layer")
            continue
        for name in includes(native / file):
            if not (native / name).exists():
                found.append(f"{file} includes {name}, which is no path from native/")
            elif (layer := name.split("/", maxsplit=1)[0]) not in (own, *LAYERS[own].split()):
                found.append(f"{file} includes {name}: {own} may not know {layer}")
        if file in reached(native, file):
            found.append(f"{file} includes itself in the end")
    for file in FOR_ANY_PROCESSOR:
        found += [
            f"{file} reaches {name}, which is built for each instruction set"
            for name in sorted(reached(native, file))
            if "OSTINATO_ISA" in re.sub(r"#define\s.*", "", (native / name).read_text(encoding="utf-8"))
        ]
    return found


def test_every_header_includes_only_what_lies_below() -> None:
    assert faults(NATIVE) == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("team/grid.hpp", '#include "rnn/gradient.hpp"', "team may not know rnn"),
        ("linear/sparse.hpp", '#include "team/scratch.hpp"', "linear may not know team"),
        ("simd/simd.hpp", '  # include "linear/types.hpp"', "simd may not know linear"),
        ("nade/sample.hpp", '#include "rnn/scan.hpp"', "nade may not know rnn"),
        ("gated/scan.hpp", '#include "rnn/scan.hpp"', "gated may not know rnn"),
        ("rnn/scan.hpp", '#include "kernels.hpp"', "rnn may not know kernels.hpp"),
        ("module.cpp", '#include "simd/simd.hpp"', "module.cpp may not know simd"),
        ("rnn/scan.hpp", '#include "arguments.hpp"', "no path from native/"),
        ("rnn/scan.hpp", '#include "rnn/layer.hpp"', "includes itself in the end"),
        ("team/scratch.hpp", '#include "team/progress.hpp"', "built for each instruction set"),
        ("extra/new.hpp", "", "is in no layer"),
    ],
)
def test_a_broken_copy_is_found(tmp_path: Path, file: str, line: str, fault: str) -> None:
    broken = tmp_path / "native"
    shutil.copytree(NATIVE, broken)
    (broken / file).parent.mkdir(exist_ok=True)
    with (broken / file).open("a", encoding="utf-8") as out:
        out.write(f"{line}\n")
    assert any(fault in found for found in faults(broken)), faults(broken)


def test_the_readme_names_every_file() -> None:
    """The reading order goes stale with the first file that it leaves out or that is gone."""
    text = (NATIVE / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)?\w+\.[hc]pp)`", text)
    assert sorted(set(named)) == sources(NATIVE)
