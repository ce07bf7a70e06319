"""What once ended the process, or was wrong without a word, in a process of its own.

All cases run in one, as an import of torch takes longer than each: one that dies takes those after it along,
and is the first that is not done.
"""

import os
import subprocess
import sys

import pytest

START = """
import os, sys, warnings
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from ostinato.nn import GRU, LSTM, RNN, leaky_scan
torch.set_num_threads(1)
x = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0))
"""

PROGRAMS = {
    "a fake network": """
with FakeTensorMode():
    for kind in (RNN, GRU, LSTM):
        network = kind(4, 5)
        output, _ = network(torch.empty(7, 3, 4))
        output.sum().backward()
        assert output.shape == (7, 3, 5) and network.weight_hh_l0.grad.shape == network.weight_hh_l0.shape
""",
    "a fake scan": """
with FakeTensorMode():
    drive = torch.empty(7, 3, 5, requires_grad=True)
    states = leaky_scan(drive, torch.empty(5, 5))
    states.sum().backward()
    assert states.shape == drive.grad.shape == (7, 3, 5)
""",
    "fake tokens": """
with FakeTensorMode():
    network = RNN(4, 5, token_inputs=True)
    assert network(torch.zeros(7, 3, dtype=torch.int64))[0].shape == (7, 3, 5)
""",
    "a gradient that is fake": """
network = RNN(4, 5)
output = network(x)[0]
with FakeTensorMode(allow_non_fake_inputs=True) as mode:
    try:
        (made,) = torch.autograd.grad(output, network.weight_hh_l0, mode.from_tensor(torch.ones(7, 3, 5)))
        assert made.shape == (5, 5)
    except (RuntimeError, AssertionError) as error:
        print(error)
""",
    "memory counted": """
from torch.distributed._tools.mem_tracker import MemTracker
with FakeTensorMode():
    network = RNN(4, 5)
    with MemTracker():
        network(torch.empty(7, 3, 4))[0].sum().backward()
""",
    "traced by make_fx": """
from torch.fx.experimental.proxy_tensor import make_fx
network = RNN(4, 5, leak=0.5)
for mode in ("real", "fake", "symbolic"):
    def run(x, weights):
        return torch.func.functional_call(network, weights, (x,))[0]
    weights = {name: p.detach() for name, p in [*network.named_parameters(), *network.named_buffers()]}
    graph = make_fx(run, tracing_mode=mode)(x, weights)
    assert "ostinato.leaky_scan" in graph.code
    assert torch.equal(graph(2 * x, weights), network(2 * x)[0])
""",
    "functionalized": """
network = RNN(4, 5)
assert torch.equal(torch.func.functionalize(lambda x: network(x)[0])(x), network(x)[0])
""",
    "exported": """
network = RNN(4, 5, leak=0.5)
for strict in (False, True):
    exported = torch.export.export(network, (x,), strict=strict).module()
    assert torch.equal(exported(2 * x)[0], network(2 * x)[0])
""",
    "weights whose memory is gone": """
for kind in (RNN, GRU, LSTM):
    for name in ("weight_ih_l0", "weight_hh_l0"):
        network = kind(4, 5)
        getattr(network, name).data.untyped_storage().resize_(0)
        try:
            network(x)
        except RuntimeError as error:
            assert "storage" in str(error) or "allocated" in str(error), error
        else:
            raise SystemExit("no error")
network = RNN(4, 5)
output = network(x)[0]
network.weight_hh_l0.data.untyped_storage().resize_(0)
try:
    output.sum().backward()
except RuntimeError as error:
    assert "storage" in str(error) or "allocated" in str(error), error
else:
    raise SystemExit("no error")
""",
    "weights of a distributed tensor": """
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "RANK": "0", "WORLD_SIZE": "1"}
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_module, distribute_tensor
store = dist.HashStore()
dist.init_process_group("gloo", store=store, rank=0, world_size=1)
mesh = init_device_mesh("cpu", (1,))
network = distribute_module(RNN(4, 5), mesh)
for given in (x, distribute_tensor(x, mesh)):
    try:
        assert network(given)[0].shape == (7, 3, 5)
    except (RuntimeError, NotImplementedError) as error:
        assert "DTensor" in str(error) or "sharding" in str(error), error
dist.destroy_process_group()
""",
    "meta": """
network = RNN(4, 5, leak=0.5, device="meta")
assert network(torch.empty(7, 3, 4, device="meta"))[0].device.type == "meta"
""",
    "negated lazily, and zeros without memory": """
network = RNN(4, 5)
lazy = torch._neg_view(x)
assert torch.equal(network(lazy)[0], network(lazy.resolve_neg())[0])
zeros = torch._efficientzerotensor((7, 3, 4))
assert torch.equal(network(zeros)[0], network(torch.zeros(7, 3, 4))[0])
""",
}


EACH = """
import traceback
for name, program in {programs!r}.items():
    print("begun:", name, flush=True)
    try:
        exec(program, dict(globals()))
    except BaseException:
        traceback.print_exc()
    else:
        print("done:", name, flush=True)
"""


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", START + EACH.format(programs=PROGRAMS)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("case", PROGRAMS)
def test_is_right_or_an_error(case: str, ran: subprocess.CompletedProcess[str]) -> None:
    assert f"done: {case}\n" in ran.stdout, f"{ran.returncode}\n{ran.stdout}\n{ran.stderr}"


def test_the_process_lives_on(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0
    assert "data pointer" not in ran.stderr  # that of a fake tensor, read all the same
