import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ostinato.nn.kernels import cpu, definition, unrolled
from ostinato.nn.kernels.nonlinearities import NONLINEARITIES

pytestmark = pytest.mark.skipif(
    not cpu.available(), reason=cpu.why_unavailable() or "native kernel available"
)

SETS = cpu.instruction_sets()
sizes = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 100, 127, 200, 257]))


class Problem:
    """Inputs of all three scans in float64; `of` gives them in another type."""

    def __init__(self, steps: int, streams: int, hidden: int, leak: bool, starts: bool, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            # representable in float32, so that the inputs are the same numbers in both types
            return torch.randn(*shape, generator=draw).double()

        self.drive, self.force = normal(steps, streams, hidden), normal(steps, streams, hidden)
        self.weight = (normal(hidden, hidden) / hidden**0.5).float().double()
        self.leak = torch.rand(hidden, generator=draw).mul_(0.9).double() if leak else None
        self.h0 = normal(streams, hidden)
        self.starts = torch.rand(steps, streams, generator=draw) < 0.3 if starts else None
        self.slopes = torch.rand(steps, streams, hidden, generator=draw).double()

    def run(self, kernel, dtype: torch.dtype, nonlinearity: str) -> dict[str, Tensor]:
        def of(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(dtype)

        weight, leak, slopes, force = of(self.weight), of(self.leak), of(self.slopes), of(self.force)
        states, phi_slopes = kernel.forward(
            of(self.drive), weight, leak, of(self.h0), self.starts, nonlinearity
        )
        delta, grad_h0, total = kernel.adjoint(
            force, slopes, weight, leak, self.starts, want_adjoint_states=True
        )
        tangents = kernel.tangent(force, slopes, weight, leak, of(self.h0), self.starts)
        found = {"states": states, "delta": delta, "grad_h0": grad_h0, "total": total, "tangents": tangents}
        if nonlinearity != "relu":  # next to the kink, rounding decides
            found["slopes"] = phi_slopes
        return found


def error(found: Tensor, expected: Tensor) -> float:
    """Largest deviation over the largest entry."""
    return float((found.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


# A square grows beyond all numbers within a few steps of random weights.
STEADY = [*(name for name in NONLINEARITIES if name != "power"), "elu(0.3)", "leaky_relu(0.2)"]

problems = st.builds(
    Problem,
    st.integers(1, 12),
    sizes.map(lambda n: n % 45 + 1),
    sizes,
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)


@pytest.mark.parametrize("instruction_set", SETS)
@settings(max_examples=30, deadline=None)
@given(problem=problems, nonlinearity=st.sampled_from(STEADY), threads=st.sampled_from([1, 2, 3]))
def test_every_instruction_set_is_as_accurate_as_torch(
    instruction_set: str, problem: Problem, nonlinearity: str, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        kernel = cpu.Kernel(instruction_set)
        expected = problem.run(definition, torch.float64, nonlinearity)
        peer = problem.run(unrolled, torch.float32, nonlinearity)
        # a slope 1.1 z^0.1 rises so steeply at 0 that it shows the last bit of z
        factor = 20 if nonlinearity.startswith("power") else 4
        for name, found in problem.run(kernel, torch.float32, nonlinearity).items():
            assert error(found, expected[name]) <= factor * (error(peer[name], expected[name]) + 2.5e-7), name
        for name, found in problem.run(kernel, torch.float64, nonlinearity).items():
            assert error(found, expected[name]) <= 1e-12, name
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nonlinearities_over_their_whole_range(instruction_set: str, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).eps
    z = torch.cat([torch.linspace(-30, 30, 20000), torch.logspace(-30, 3, 500), -torch.logspace(-30, 3, 500)])
    drive = z.to(dtype).view(1, -1, 25)
    nothing = torch.zeros(drive.shape[2], drive.shape[2], dtype=dtype)
    for nonlinearity, reference in (("tanh", torch.tanh), ("sigmoid", torch.sigmoid)):
        value, slope = cpu.Kernel(instruction_set).forward(
            drive, nothing, None, torch.zeros_like(drive[0]), None, nonlinearity
        )
        exact = reference(drive.double())
        derivative = 1 - exact**2 if nonlinearity == "tanh" else exact * (1 - exact)
        relative = (
            (value.double() - exact) / exact.clamp(max=-1e-37).where(exact < 0, exact.clamp(1e-37))
        ).abs()
        assert relative[drive.abs() < 80].max() < 6 * tiny, nonlinearity
        assert (slope.double() - derivative).abs().max() < 4 * tiny, nonlinearity


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_nan_and_infinity_pass_as_in_the_definition(
    instruction_set: str, dtype: torch.dtype, nonlinearity: str
) -> None:
    drive = torch.tensor([0.5, float("nan"), float("inf"), -float("inf")] * 5, dtype=dtype).view(1, 4, 5)
    drive = torch.cat([torch.zeros_like(drive), drive, torch.zeros_like(drive)])
    weight = torch.eye(5, dtype=dtype)
    starts = torch.zeros(3, 4, dtype=torch.bool)
    starts[2, 1:3] = True  # what came before a start is gone, even a NaN
    arguments = (drive, weight, torch.full((5,), 0.25, dtype=dtype), torch.zeros(4, 5, dtype=dtype), starts)
    states, slopes = cpu.Kernel(instruction_set).forward(*arguments, nonlinearity)
    expected, expected_slopes = definition.forward(*arguments, nonlinearity)
    torch.testing.assert_close(states, expected, equal_nan=True, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(slopes, expected_slopes, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_changes_no_bit() -> None:
    problem = Problem(5, 19, 101, True, True, 0)
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(problem.run(cpu, torch.float32, "tanh"))
    torch.set_num_threads(before)
    for name, value in found[0].items():
        assert all(torch.equal(value, other[name]) for other in found[1:]), name


def test_inputs_need_not_be_dense() -> None:
    problem = Problem(4, 6, 33, True, True, 1)
    expected = problem.run(cpu, torch.float64, "tanh")
    for name in ("drive", "force", "slopes"):
        setattr(problem, name, getattr(problem, name).transpose(0, 2).contiguous().transpose(0, 2))
    problem.weight = problem.weight.T.contiguous().T
    problem.h0 = problem.h0.T.contiguous().T
    problem.starts = problem.starts.T.contiguous().T
    for name, found in problem.run(cpu, torch.float64, "tanh").items():
        assert torch.equal(found, expected[name]), name
    ones = torch.ones((), dtype=torch.float64).expand(4, 6, 33)
    found = cpu.adjoint(ones, problem.slopes, problem.weight, problem.leak, problem.starts)[0]
    assert torch.equal(
        found, cpu.adjoint(ones.clone(), problem.slopes, problem.weight, problem.leak, problem.starts)[0]
    )


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
def test_empty_shapes(shape: tuple[int, int, int]) -> None:
    empty, weight = torch.zeros(shape), torch.zeros(shape[2], shape[2])
    states, slopes = cpu.forward(empty, weight, None, empty.new_zeros(shape[1:]), None, "tanh")
    delta, grad_h0, _ = cpu.adjoint(states, slopes, weight, None, None)
    assert states.shape == slopes.shape == delta.shape == shape
    assert torch.equal(grad_h0, torch.zeros(shape[1:]))


def test_wrong_inputs_are_refused() -> None:
    drive, weight, h0 = torch.zeros(2, 3, 4), torch.zeros(4, 4), torch.zeros(3, 4)
    for bad in (
        (drive.half(), weight.half(), None, h0.half(), None, "tanh"),
        (drive, weight.double(), None, h0, None, "tanh"),
        (drive, torch.zeros(4, 5), None, h0, None, "tanh"),
        (drive, weight, torch.zeros(3), h0, None, "tanh"),
        (drive, weight, None, torch.zeros(4, 3), None, "tanh"),
        (drive, weight, None, h0, torch.zeros(2, 3), "tanh"),
        (drive, weight, None, h0, torch.zeros(3, 2, dtype=torch.bool), "tanh"),
        (drive, weight, None, h0, None, "softsign"),
        (drive.to("meta"), weight, None, h0, None, "tanh"),
    ):
        with pytest.raises(ValueError, match=r"must (be|have)|expected"):
            cpu.forward(*bad)


def test_denormals_are_flushed_inside_only() -> None:
    tiny = torch.full((100_000,), 1e-40)  # long enough for torch to use its whole pool
    problem = Problem(3, 64, 32, False, False, 3)
    problem.run(cpu, torch.float32, "tanh")
    assert bool((tiny * 1.0 > 0).all())
    states, _ = cpu.forward(
        torch.full((1, 1, 1), 1e-40), torch.zeros(1, 1), None, torch.zeros(1, 1), None, "tanh"
    )
    assert states.item() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_one_openmp_runtime_is_loaded_and_it_is_torchs() -> None:
    program = (
        "import torch\nfrom ostinato.nn.kernels import cpu\n"
        "cpu.forward(torch.zeros(9, 9, 9), torch.zeros(9, 9), None, torch.zeros(9, 9), None, 'tanh')\n"
        "torch.zeros(999, 999) @ torch.zeros(999, 999)\n"
        "print(cpu.thread_pool())\n"
        "print(*{line.split()[-1] for line in open('/proc/self/maps') if 'omp' in line.rsplit('/', 1)[-1]})\n"
    )
    pool, loaded = _python(program).splitlines()
    assert [os.path.realpath(path) for path in loaded.split()] == [os.path.realpath(pool)]


def _python(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _work() -> Tensor:
    return Problem(6, 16, 50, True, False, 4).run(cpu, torch.float32, "tanh")["states"]


def _work_in_child(results) -> None:  # type: ignore[no-untyped-def]
    results.put(_work().tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_works() -> None:
    """The pool's threads do not survive a fork: a child that waited for them would hang."""
    expected = _work()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_work_in_child, args=(results,))
    child.start()
    child.join(60)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive
    assert torch.equal(torch.tensor(results.get()), expected)


def test_python_threads_run_side_by_side() -> None:
    """Calls share nothing but the scratch memory they leave behind."""
    problems = [Problem(20, 5, 60 + i, True, True, i) for i in range(4)]
    expected = [problem.run(cpu, torch.float32, "tanh") for problem in problems]
    wrong: list[str] = []

    def check(i: int) -> None:
        for _ in range(20):
            for name, found in problems[i].run(cpu, torch.float32, "tanh").items():
                if not torch.equal(found, expected[i][name]):
                    wrong.append(name)

    threads = [threading.Thread(target=check, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


SHOW = (
    "from ostinato.nn.kernels import cpu\n"
    "print(cpu.available(), cpu.instruction_set(), cpu.why_unavailable())"
)


@pytest.mark.parametrize("name", SETS)
def test_the_variable_forces_an_instruction_set(name: str) -> None:
    assert _python(SHOW, OSTINATO_KERNEL=name).split() == ["True", name]


def test_the_variable_can_turn_the_kernels_off() -> None:
    assert _python(SHOW, OSTINATO_KERNEL="torch").split() == ["False", "torch", "OSTINATO_KERNEL=torch"]


def test_an_unknown_name_is_one_clear_error() -> None:
    printed = _python(SHOW, OSTINATO_KERNEL="avx3")
    assert printed.startswith("ostinato.errors.UserError: OSTINATO_KERNEL must be one of")
    assert "got 'avx3'" in printed


def test_without_the_extension_torch_takes_over() -> None:
    program = "import sys; sys.modules['ostinato.nn.kernels._native'] = None\n" + SHOW
    assert _python(program).startswith("False torch the extension is not built:")


def test_scratch_memory_is_nobody_elses_while_a_tensor_or_a_view_lives() -> None:
    views, alive = [], []
    for number in range(40):
        tensor = cpu.scratch(1000 + number % 3, torch.float64 if number % 2 else torch.float32)
        assert len(tensor) == 1000 + number % 3
        tensor.fill_(number)
        views.append(tensor[10:20])
        if number % 4 == 0:
            alive.append((number, tensor))
        if number % 5 == 0:
            views.clear()
        for expected, kept in alive:
            assert (kept == expected).all()
        for view in views:
            assert view.min() == view.max()
