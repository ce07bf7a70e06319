"""The whole harness, or parts of it: many trials, and a table of how they ended.

    python tests/torture/whole.py [--trials 101000] [--parts readers pages ...] [--out torture.json] [--docs]

Each part has its share of the trials; all of them have fixed seeds. What a part came to is kept in the file,
and the same command goes on behind the parts that are done. Ends with 1 where anything but a right answer or
a refusal came. --docs writes the table into docs/how_it_is_tested.md, of a whole run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from torture import damage, kills, pages, places, readers, sanitized
from torture.trials import FAULTS, HANG, ORPHAN, REFUSED, RIGHT, SILENT, TRACEBACK, Tally, tally

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how_it_is_tested.md"
BEGIN, END = "<!-- the last whole run -->", "<!-- its end -->"

# Of 1,000 trials. Readers and kernels answer in a millisecond; a kill takes two trainings.
SHARES = {"readers": 780, "pages": 100, "damage": 90, "kills": 6, "addresses": 24, "threads": 0}
NAMES = {
    "readers": "files from elsewhere",
    "pages": "kernels between pages",
    "damage": "damage to files",
    "kills": "kills and power cuts",
    "addresses": "kernels, sanitizers",
    "threads": "threads, sanitizer",
}


def part(name: str, count: int, scratch: Path) -> Tally:
    """What so many trials of a part came to."""
    title = NAMES[name]
    if name == "readers":
        return tally(title, readers.run(scratch, count))
    if name == "pages":
        return tally(title, pages.run(count))
    if name in ("addresses", "threads"):
        if why := sanitized.why_not():
            raise SystemExit(f"{name}: {why}")
        found = sanitized.addresses(count, scratch) if name == "addresses" else sanitized.threads(scratch)
        return tally(title, found)
    whole = places.make(scratch / "places")
    (scratch / "own").mkdir()
    if name == "damage":
        return tally(title, damage.run(damage.Bench(whole, scratch / "own"), count))
    return tally(title, kills.run(kills.Workshop(whole, scratch / "own"), count))


def in_its_own_process(name: str, count: int, scratch: Path, *more: str) -> dict[str, Any]:
    """A part; kills need a process that was begun on their disk. `more` are further options."""
    environment = dict(os.environ)
    if name == "kills":
        environment = kills.with_disk(kills.compiled(scratch))
    made = scratch / "part.json"
    program = (sys.executable, __file__, "--part", name, "--trials", str(count), "--out", str(made), *more)
    subprocess.run(program, check=True, env=environment | {"OMP_NUM_THREADS": "1"})
    found: dict[str, Any] = json.loads(made.read_text())
    return found


def run(trials: int, parts: list[str], out: Path) -> dict[str, Any]:
    """All parts that are not done yet; each is kept as soon as it is done."""
    record = json.loads(out.read_text()) if out.exists() else {}
    asked = {"trials": trials, **_machine()}
    if {key: record.get(key) for key in asked} != asked:
        record = {**asked, "parts": {}}
    for name in parts:
        if name in record["parts"]:
            continue
        began = time.monotonic()
        scratch = Path(
            tempfile.mkdtemp(prefix="torture", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        )
        try:
            found = in_its_own_process(name, trials * SHARES[name] // 1000, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        record["parts"][name] = {**found, "minutes": round((time.monotonic() - began) / 60, 1)}
        record["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        out.write_text(json.dumps(record, indent=1) + "\n")
        print(line(record["parts"][name]), flush=True)
    return record


def line(found: dict[str, Any]) -> str:
    """A part in a line, and its first faults."""
    faults = "".join(f"\n  {one['kind']}: {one['case']}: {one['about']}" for one in found["faults"][:20])
    return f"{found['name']}: {found['trials']:,} trials, {found['counts']}{faults}"


def table(record: dict[str, Any]) -> str:
    """Counts by class, as Markdown of at most 80 columns."""
    head = "| | trials | right | refused | other | trace | hang | orphan | peak MB |"
    rows = [head, "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    total = [0] * 8
    for found in (record["parts"][name] for name in SHARES if name in record["parts"]):
        counts = found["counts"]
        own = {kind: counts.get(kind, 0) for kind in (RIGHT, REFUSED, SILENT, TRACEBACK, HANG, ORPHAN)}
        # a crash shows nothing better than a traceback; what is lost is another result
        own[SILENT] += counts.get("lost", 0)
        own[TRACEBACK] += counts.get("crash", 0) + counts.get("too much memory", 0)
        numbers = [found["trials"], *own.values(), found["peak"] // 1_000_000]
        total = [a + b for a, b in zip(total[:-1], numbers[:-1], strict=True)] + [max(total[-1], numbers[-1])]
        rows.append(_row(found["name"], numbers))
    return "\n".join([*rows, _row("all", total)])


def _row(name: str, numbers: list[int]) -> str:
    shown = [f"{n:,}" for n in numbers[:-1]] + [f"{numbers[-1]:,}" if numbers[-1] else ""]
    return f"| {name} | {' | '.join(shown)} |"


def write_docs(record: dict[str, Any]) -> None:
    """Put the table of a run in place of the one before it."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    minutes = sum(found["minutes"] for found in record["parts"].values())
    where = (
        f"{record['date']}, ostinato {record['version']}, {record['processor']},\nPython {record['python']}"
    )
    said = f"The last whole run: {where}, {minutes:.0f} minutes.\n\n{table(record)}"
    PAGE.write_text(f"{before}{BEGIN}\n\n{said}\n\n{END}{after}")


def _machine() -> dict[str, str]:
    import ostinato

    processor = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as lines:
        names = [one.partition(":")[2].strip() for one in lines if one.startswith("model name")]
    return {
        "version": ostinato.__version__,
        "processor": names[0] if names else processor,
        "python": platform.python_version(),
    }


def _one_part(name: str, count: int, out: Path) -> None:
    scratch = Path(tempfile.mkdtemp(dir=out.parent))
    found = part(name, count, scratch)
    out.write_text(json.dumps(found.to_dict()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=101_000, help="of all parts together")
    parser.add_argument("--parts", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--out", type=Path, default=Path("torture.json"), help="what they came to")
    parser.add_argument("--docs", action="store_true", help="write the table into the documentation")
    parser.add_argument("--part", choices=SHARES, help=argparse.SUPPRESS)
    parser.add_argument("--without-sync", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.without_sync:
        os.fsync = lambda descriptor: None
    if options.part:
        _one_part(options.part, options.trials, options.out)
        return 0
    record = run(options.trials, options.parts, options.out)
    if options.docs:
        write_docs(record)
    wrong = [found for found in record["parts"].values() if any(found["counts"].get(kind) for kind in FAULTS)]
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
