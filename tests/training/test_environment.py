import pytest
import torch

from ostinato.errors import UserError
from ostinato.nn.kernels import cpu
from ostinato.training import environment as module
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


def surroundings(monkeypatch, **options):
    known = module.environment(torch.device("cpu")) | options
    monkeypatch.setattr(module, "environment", lambda device: known)
    return module.Surroundings


def test_another_instruction_set_is_a_notice_and_an_error_where_bits_are_to_be_the_same(monkeypatch):
    place = torch.device("cpu")
    told = []
    before = surroundings(monkeypatch, kernel="avx512")(place).state()
    same = surroundings(monkeypatch, kernel="avx512")(place, exact=True)
    same.go_on(before, told.append)
    assert told == []
    assert len(same.state()["environments"]) == 1
    other = surroundings(monkeypatch, kernel="avx2")
    with pytest.raises(UserError, match=r"found kernel avx2 \(before avx512\).* or without exact"):
        other(place, exact=True).go_on(before, told.append)
    later = other(place)
    later.go_on(before, told.append)
    assert len(told) == 1
    assert "kernel avx2 (before avx512)" in told[0]
    # both are recorded, and what goes on from here is compared with the last
    after = later.state()
    assert [one["kernel"] for one in after["environments"]] == ["avx512", "avx2"]
    other(place, exact=True).go_on(after, told.append)
    # nothing is computed in a run that is done
    other(place, exact=True).go_on(before, told.append, done=True)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["threads", "torch", "ostinato", "processor"])
def test_whatever_sums_depend_on_is_compared(monkeypatch, name):
    made = surroundings(monkeypatch)(torch.device("cpu"))
    state = made.state()
    state["environments"] = [state["environments"][0] | {name: "another"}]
    with pytest.raises(UserError, match=f"found {name} "):
        surroundings(monkeypatch)(torch.device("cpu"), exact=True).go_on(state, print)


def test_a_checkpoint_of_before_has_one_of_each(monkeypatch):
    made = surroundings(monkeypatch)(torch.device("cpu"))
    state = made.state()
    del state["environments"], state["devices"]
    told = []
    surroundings(monkeypatch)(torch.device("cpu"), exact=True).go_on(state, told.append)
    assert told == []
