"""Write what is made of results/: its tables and its plan, the shipped settings, and the documents' page.

Run it where `ostinato reproduce` has added to results/:

    python docs/make_results.py
"""

import sys
from pathlib import Path

import tomli_w

from ostinato.errors import UserError
from ostinato.files import atomic_write
from ostinato.reproduce import delays
from ostinato.reproduce.cells import TABLES
from ostinato.reproduce.document import tuned_settings, write_plan, write_table
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.page import replaced
from ostinato.reproduce.protocol import Protocol

ROOT = Path(__file__).resolve().parents[1]
HEAD = """\
# The settings that the protocol has chosen for the cells of the tables, by condition: what is other than the
# defaults of their letters. Written by docs/make_results.py from results/.
"""


def shipped_text(evidence: Evidence) -> str:
    """What `src/ostinato/shipped/tuned.toml` holds."""
    settings = tuned_settings(evidence)
    return HEAD + ("\n" + tomli_w.dumps(settings) if settings else "")


def main() -> None:
    """Write all of it."""
    evidence = Evidence(ROOT / "results")
    for table in TABLES:
        print(write_table(evidence, table))
    print(write_plan(evidence, Protocol.read()))
    compared = delays.every(delays.Comparison.read(), evidence.folder)
    atomic_write(evidence.folder / "delays.md", delays.markdown(compared))
    page = ROOT / "docs" / "results.md"
    atomic_write(page, replaced(page.read_text(encoding="utf-8"), evidence))
    print(page)
    place = ROOT / "src" / "ostinato" / "shipped" / "tuned.toml"
    atomic_write(place, shipped_text(evidence))
    print(place)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
