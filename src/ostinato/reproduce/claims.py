"""The paper's claims, each decided by what the cells have come to: it holds, fails, or is undecided."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.bootstrap import Difference, bootstrap_over_seeds
from ostinato.reproduce.cells import TABLES, Cell
from ostinato.reproduce.evidence import Evidence


@dataclass(frozen=True)
class Claim:
    """One row of a table predicts better than another.

    Arguments:
        text: what is claimed.
        table: of which table.
        better: the row that is claimed to be better.
        worse: than this one.
    """

    text: str
    table: str
    better: str
    worse: str


CLAIMS = (
    Claim("clipping helps", "table1", "RNN (SGD+C)", "RNN (SGD)"),
    Claim("leaky units help", "table1", "RNN (SGD+CL)", "RNN (SGD+C)"),
    Claim("rectifiers with L1 help", "table1", "RNN (SGD+CLR)", "RNN (SGD+CL)"),
    Claim("clipping and rectifiers with L1 help NADE", "table1", "RNN-NADE (SGD+CR)", "RNN-NADE (SGD)"),
    Claim("momentum, in the place of leaky units, helps", "table1", "RNN (SGD+CRM)", "RNN (SGD+CLR)"),
    Claim("momentum helps NADE", "table1", "RNN-NADE (SGD+CRM)", "RNN-NADE (SGD+CR)"),
    Claim("SGD with all of it is as good as Hessian-free, or better", "table1", "RNN (SGD+CRM)", "RNN (HF)"),
    Claim("the same with NADE", "table1", "RNN-NADE (SGD+CRM)", "RNN-NADE (HF)"),
    Claim("NADE is better than independent notes", "table1", "RNN-NADE (SGD+CRM)", "RNN (SGD+CRM)"),
    Claim("clipping helps", "table2", "RNN (SGD+C)", "RNN (SGD)"),
    Claim("leaky units help", "table2", "RNN (SGD+CL)", "RNN (SGD+C)"),
    Claim("rectifiers with L1 help", "table2", "RNN (SGD+CLR)", "RNN (SGD+CL)"),
)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim on one data set.

    Arguments:
        claim: the claim.
        column: the data set, or kind of data.
        seeds: of the row that is claimed to be better, and of the other.
        difference: in nats per frame or token of test data; positive where the claim is right. None: open.
    """

    claim: Claim
    column: str
    seeds: tuple[int, int]
    difference: Difference | None

    @property
    def word(self) -> str:
        """Holds or fails where the interval is on one side of zero, else undecided; open before two seeds.

        Example:
            >>> Verdict(CLAIMS[0], "jsb", (0, 0), None).word
            'open'
        """
        if self.difference is None:
            return "open"
        low, high = self.difference.interval
        return "holds" if low > 0 else "fails" if high < 0 else "undecided"


def verdicts(evidence: Evidence, condition: str, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Every claim on every data set of its table, claim by claim."""
    return [
        _verdict(evidence, condition, claim, column)
        for claim in claims
        for column in TABLES[claim.table][claim.better]
    ]


def _verdict(evidence: Evidence, condition: str, claim: Claim, column: str) -> Verdict:
    sides = [
        list(evidence.seeds(Cell(claim.table, row, column), condition).values())
        for row in (claim.better, claim.worse)
    ]
    seeds = (len(sides[0]), len(sides[1]))
    if min(seeds) < 2:
        return Verdict(claim, column, seeds, None)
    totals = [np.array([run["test_totals"]["log_prob"] for run in side]) for side in sides]
    first = sides[0][0]["test_totals"]
    counts, length = np.array(first["counts"]), 1
    if first["ordered"]:
        length = block_length(residuals(totals[0].mean(0) - totals[1].mean(0), counts))
    better, worse, steps = (in_blocks(each, length) for each in (*totals, counts))
    return Verdict(claim, column, seeds, bootstrap_over_seeds(better, worse, steps))
