"""Outputs where there are no numbers to look at, or where what is computed is cast: right, or an error."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ostinato.nn.outputs.base import HasObjectives
from output_rows import DOUBLE, FRAMES, ROWS, Row, Scored, seeded, states

rows = pytest.mark.parametrize("row", ROWS, ids=str)


@rows
def test_fake_tensors_have_shapes(row: Row) -> None:
    values, hidden, layer = row.values(FRAMES), states(FRAMES), row.layer()
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    with mode:
        fake = torch.func.functional_call
        own = {f"layer.{k}": mode.from_tensor(p).requires_grad_() for k, p in layer.named_parameters()}
        own |= {f"layer.{k}": mode.from_tensor(b) for k, b in layer.named_buffers()}
        h, v = mode.from_tensor(hidden), mode.from_tensor(values)
        nll = fake(Scored(layer, "nll"), own, (h, v))
        log_prob = fake(Scored(layer, "log_prob"), own, (h, v))
        parameters = [x for x in own.values() if x.requires_grad]
        gradients = torch.autograd.grad(nll, parameters, materialize_grads=True)
        assert (nll.shape, log_prob.shape) == ((), (FRAMES,))
        assert [g.shape for g in gradients] == [p.shape for p in parameters]
        assert {nll.dtype, log_prob.dtype} == {DOUBLE}


@rows
def test_tensors_without_numbers_have_shapes(row: Row) -> None:
    layer = row.layer().to("meta")
    hidden, values = states(FRAMES).to("meta"), row.values(FRAMES).to("meta")
    nll = layer.nll(hidden, values)
    nll.backward()
    assert (nll.shape, layer(hidden).log_prob(values).shape) == ((), (FRAMES,))
    assert all(p.grad is not None and p.grad.is_meta for p in layer.parameters())


@rows
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_under_autocast_a_likelihood_is_as_precise_as_the_weights(row: Row, half: torch.dtype) -> None:
    layer, values = row.layer().float(), row.values(FRAMES)
    hidden = states(FRAMES).to(half).float().requires_grad_()

    def gradients(objective: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(objective, [hidden, *layer.parameters()], materialize_grads=True))

    nll = layer.nll(hidden, values)
    wanted = gradients(nll)
    with torch.autocast("cpu", dtype=half):
        found = layer.nll(hidden.to(half), values)
        scored = -layer(hidden).log_prob(values).sum()
    for one in (found, scored):
        assert one.dtype is torch.float32
        torch.testing.assert_close(one, nll, rtol=0.02, atol=0.0)
        for mine, theirs in zip(gradients(one), wanted, strict=True):
            assert mine.dtype is torch.float32
            assert float((mine - theirs).norm()) <= 0.1 * float(theirs.norm())


@rows
def test_under_autocast_an_objective_of_its_own_is_what_it_is_without(row: Row) -> None:
    layer, values = row.layer().float(), row.values(FRAMES)
    if not isinstance(layer, HasObjectives):
        return
    for objective in layer.objectives:
        hidden = states(FRAMES).bfloat16().float()
        wanted = objective.cost(hidden, values, seeded(0))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = objective.cost(hidden.bfloat16(), values, seeded(0))
        assert found.loss.dtype is torch.float32
        torch.testing.assert_close(found.nll, wanted.nll, rtol=0.05, atol=0.0)


@rows
def test_a_recorded_program_goes_on_as_the_layer_does(row: Row) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    scored = Scored(row.layer(), "log_prob")
    own = {name: x.detach() for name, x in scored.named_parameters()}
    own |= {name: x.detach() for name, x in scored.named_buffers()}

    def program(values: torch.Tensor, hidden: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        given = dict(zip(own, parameters, strict=True))
        return torch.func.functional_call(scored, given, (hidden, values))

    point = states(2), *own.values()
    for kind in ("real", "fake"):
        graph = make_fx(program, tracing_mode=kind)(row.values(2), *point)
        others = row.values(2, seed=8), *(0.5 * x if x.is_floating_point() else x for x in point)
        torch.testing.assert_close(graph(*others), program(*others))
