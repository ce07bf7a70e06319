"""docs/tutorial_decisions.md: its program, run whole in an environment of its own that has neurogym."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clean_environments as clean

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial_decisions.md").read_text(encoding="utf-8")
PROGRAM = "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S))
# What follows a program is what it printed.
PRINTED = re.findall(r"^```python\n.*?^```\n\n```\n(.*?)^```", PAGE, flags=re.M | re.S)


def test_the_program_is_python():
    compile(PROGRAM, "tutorial_decisions.md", "exec")
    assert len(PRINTED) == 4


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with the extra [neuro] and nothing else but PyTorch; the package is the one that is tested."""
    probe = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--quiet",
    ]
    done = subprocess.run([*probe, "neurogym>=2.3.1"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"neurogym cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    installing = clean.Installing(tmp_path_factory.mktemp("environments"))
    return installing("neuro").python


def lines(text, kind):
    return re.findall(kind, text, flags=re.M)


@pytest.mark.long
def test_the_program_does_what_the_page_says(python, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [python, "-W", "ignore", "program.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": clean.SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, "".join(PRINTED)):
        assert "(90, 64, 3) (90, 64) [0.0, 6.4, 12.8, 25.6, 51.2]" in text
        assert "signs as at the start: True" in text
        assert float(lines(text, r"fixated at ([\d.]+)%")[0]) > 98
        scores = dict(lines(text, r"^ +(\S+) +\d+  ([\d.]+) ±"))
        assert float(scores["51.2%"]) > 0.97
        assert 0.4 < float(scores["0.0%"]) < 0.6
        assert 0.8 < float(scores["all"]) < 0.93
        rests = dict(lines(text, r"^(\D+): \d+ fixed points, (\d+) stable"))
        assert int(rests["fixation"]) == 1
        assert int(rests["after the stimulus"]) >= 2
        after = text.partition("after the stimulus: ")[2]
        stable = lines(after, r"fixate, 1, 2: \S+, (\S+), (\S+); .*, stable$")
        assert any(float(first) > 0.9 for first, _ in stable)
        assert any(float(second) > 0.9 for _, second in stable)
        assert lines(after, r"direction\(s\) away$")
    assert (tmp_path / "decisions.png").read_bytes().startswith(b"\x89PNG")
