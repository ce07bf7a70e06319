"""The table of quality at equal processor time is what its cells say."""

import json
import math
import re
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).parents[2]
CELLS = ROOT / "results" / "language_model_quality"
ROW = re.compile(
    r"^\| (\S+), (\d+) s \| `?(?:nn\.)?(\w+)`? \| ([\d.]+) \| ([\d.]+) \| (\d) \| (\d+) s \|$", re.M
)


def shown(data: str, nats: float) -> float:
    return math.exp(nats) if data.endswith("words") else nats / math.log(2)


def read(pattern: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(CELLS.glob(pattern))]


def measured() -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Means of validation and test, seeds, and seconds of tuning, as the table would have them."""
    found = {}
    kinds = {re.match(r"cell-(.+)-(\w+)-(\d+)-\d$", p.stem).groups() for p in CELLS.glob("cell-*.json")}
    for data, program, budget in kinds:
        cells = read(f"cell-{data}-{program}-{budget}-*.json")
        trials = read(f"trial-{data}-{program}-[0-9].json")
        if int(budget) > 120:
            trials += read(f"trial-{data}-{program}-long-*.json")
        means = (f"{fmean(shown(data, cell[split]) for cell in cells):.3f}" for split in ("valid", "test"))
        spent = f"{sum(trial['spent'] for trial in trials):.0f}"
        found[data, budget, program] = (*means, str(len(cells)), spent)
    return found


def test_every_row_is_what_was_measured() -> None:
    rows = ROW.findall((ROOT / "docs" / "text.md").read_text())
    told = {(data, budget, program.lower()): tuple(rest) for data, budget, program, *rest in rows}
    assert told == measured()
    assert len(rows) == len(told) > 11


def test_every_cell_is_one_of_the_benchmark() -> None:
    """Every program had the same trials, and was trained with the settings of its best one."""
    for data, budget, program in measured():
        trials = read(f"trial-{data}-{program}-[0-9].json")
        others = read(f"trial-{data}-lstm-[0-9].json")
        assert [one["settings"] for one in trials] == [one["settings"] for one in others]
        if int(budget) > 120:
            trials = read(f"trial-{data}-{program}-long-*.json")
            assert len(trials) == 4
        best = min(trials, key=lambda one: one["valid"])
        for cell in read(f"cell-{data}-{program}-{budget}-*.json"):
            assert cell["settings"] == best["settings"]
            assert cell["seconds"] == float(budget)
            assert cell["spent"] == sorted([float(budget), cell["spent"], 1.25 * float(budget)])[1]
