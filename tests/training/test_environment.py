import torch

from ostinato.nn.kernels import cpu
from ostinato.training.environment import environment, processor

LINUX = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 207
model name\t: A Processor

processor\t: 1
model\t\t: 1
model name\t: Another
"""


def test_a_processor_is_the_first_one_s_name_and_numbers(tmp_path) -> None:
    (tmp_path / "cpuinfo").write_text(LINUX)
    assert processor(tmp_path / "cpuinfo") == "A Processor, family 6, model 207"
    (tmp_path / "empty").write_text("")
    assert processor(tmp_path / "empty")
    assert processor(tmp_path / "none")


def test_a_seed_s_instruction_set_is_known() -> None:
    found = environment(torch.device("cpu"))
    assert (found["kernel"], found["torch"]) == (cpu.instruction_set(), torch.__version__)
    assert found["processor"] == processor()
