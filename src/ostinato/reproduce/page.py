"""The results as the documents show them: what is finished, with both errors, and the claims it decides."""

from collections.abc import Sequence
from statistics import fmean

from ostinato.evaluation.numbers import number
from ostinato.reproduce import delays
from ostinato.reproduce.cells import TABLES, find_cells
from ostinato.reproduce.claims import CLAIMS, verdicts
from ostinato.reproduce.document import HEADINGS, claims_text
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import CONDITIONS
from ostinato.reproduce.table import Row, notes, rows_of

BEGIN, END = "<!-- made from results/ -->", "<!-- end of what is made from results/ -->"
_TITLES = {"table1": "Table 1, music", "table2": "Table 2, Penn Treebank"}

_DELAYS = (
    "Solved: fewer than 1% of 10,000 fresh sequences wrong. Costs are counted in gradients of one sequence, "
    "as `src/ostinato/shipped/delays.toml` says; both are medians of the seeds that solved the problem."
)


def page_text(evidence: Evidence) -> str:
    """The finished cells of every table under both conditions, and what became of the claims, in Markdown."""
    parts = [BEGIN]
    for table in TABLES:
        cells = find_cells(table)
        rows = {c: rows_of({cell: evidence.seeds(cell, c) for cell in cells}) for c in CONDITIONS}
        finished = {c: [row for row in found if row.figures] for c, found in rows.items()}
        done = min(len(found) for found in finished.values())
        parts.append(f"## {_TITLES[table]}")
        parts.append(f"Finished: {done} of {len(cells)} cells; `results/PLAN.md` has the rest.")
        for condition, found in finished.items():
            if found:
                parts.append(f"### {HEADINGS[condition]}\n\n{_markdown(found, evidence, condition)}")
        for condition in CONDITIONS:
            claims = [claim for claim in CLAIMS if claim.table == table]
            told = [each for each in verdicts(evidence, condition, claims) if each.word != "open"]
            if told:
                parts.append(f"### Claims, {condition}\n\n{claims_text(told).strip()}")
    every = delays.every(delays.Comparison.read(), evidence.folder)
    if compared := [each for each in every if each.record["seeds"]]:
        finished_ones = (
            f"Finished: {sum(each.finished for each in every)} of {len(every)} methods on a problem."
        )
        parts += ["## Problems with long delays", finished_ones, delays.markdown(compared).strip(), _DELAYS]
    return "\n\n".join([*parts, END]) + "\n"


def replaced(page: str, evidence: Evidence) -> str:
    """A page with what stands between its marks made anew.

    Raises:
        ValueError: it has no such marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a page with {BEGIN} and {END}, found none")
    return before + page_text(evidence).rstrip("\n") + after


def _markdown(rows: Sequence[Row], evidence: Evidence, condition: str) -> str:
    music = rows[0].cell.table == "table1"
    names = ["data", "model", "train", "valid", "test paper", "test", "over seeds", "difference"]
    names += ["ACC paper", "ACC", "seen", "unseen", "seeds"] if music else ["seeds"]
    lines = [names, ["---"] * 2 + ["---:"] * (len(names) - 2)]
    lines += [_line(row, evidence, condition) for row in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = [*notes(rows), "over seeds: standard deviation of the test figure over seeds."]
    if music:
        below.append(
            "seen, unseen: test, of the songs that training data have much of in any key, and of the others."
        )
    return f"{table}\n\n" + "\n".join("- " + line.replace("<", "\\<") for line in below)


def _line(row: Row, evidence: Evidence, condition: str) -> list[str]:
    test, unit = row.figures["test"], row.unit
    paper, difference, spread = row.paper("test"), row.difference, test.spread
    texts = [row.cell.column, row.cell.row, *(row.figures[s].show(unit) for s in ("train", "valid"))]
    texts += ["N/A" if paper is None else f"{paper:.2f}", test.show(unit, error=True, interval=True)]
    texts += ["-" if spread is None else number(spread, unit)]
    texts += ["-" if difference is None else number(difference, unit, plus=True)]
    if "accuracy" in row.figures:
        wanted = row.paper("accuracy")
        texts += ["N/A" if wanted is None else f"{wanted:.2f}", row.figures["accuracy"].show("%", error=True)]
        texts += [_part(row, evidence, condition, part) for part in ("seen", "unseen")]
    return [*texts, str(len(row.seeds))]


def _part(row: Row, evidence: Evidence, condition: str, part: str) -> str:
    """The mean over seeds of the test score of the songs that training has, or has not."""
    runs = evidence.seeds(row.cell, condition).values()
    values = [run["overlap"]["scores"].get(part, {}).get("value") for run in runs if "overlap" in run]
    return "-" if not values or None in values else number(fmean(values), row.unit)
