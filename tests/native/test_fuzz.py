"""The fuzzer works; its numbers, without the sanitizers, which `python tests/native/fuzz.py` builds."""

import runpy
from pathlib import Path

import pytest

from ostinato.nn.kernels import cpu

pytestmark = pytest.mark.skipif(
    not cpu.available(), reason=cpu.why_unavailable() or "native kernel available"
)


def test_some_calls_of_each_operation(capsys: pytest.CaptureFixture[str]) -> None:
    program = runpy.run_path(str(Path(__file__).parent / "fuzz.py"))
    program["fuzz"](calls=12, seed=5)
    assert capsys.readouterr().out.count("12 calls") == len(program["OPERATIONS"])
