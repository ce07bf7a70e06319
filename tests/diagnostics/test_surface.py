"""Cliffs: against the closed form of one unit, a dense curvature, and the model's own loss."""

import json

import pytest
import torch

from ostinato import UserError
from ostinato.cli.main import run as command
from ostinato.diagnostics.surface import OneUnit, derivatives, loss_surface
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import RBM, Bernoulli


def of_one_unit(example):
    """The loss of the example by the package's own cell, as a function of (w, b)."""

    def loss(theta):
        cell = RNN(1, 1, nonlinearity="sigmoid", dtype=torch.float64)
        with torch.no_grad():
            cell.weight_hh_l0.copy_(theta[0].view(1, 1))
            cell.bias_ih_l0.copy_(theta[1].view(1))
            cell.bias_hh_l0.zero_()
        start = torch.full((1, 1, 1), example.start, dtype=torch.float64)
        out, _ = cell(torch.zeros(example.steps, 1, 1, dtype=torch.float64), start)
        off = (out[-1] - example.target).square().sum()
        of_w, of_b = torch.autograd.grad(off, [cell.weight_hh_l0, cell.bias_ih_l0])
        return float(off.detach()), torch.cat([of_w.flatten(), of_b])

    return loss


# With w = 5 > 4 the unit has two stable points until b falls to logit(h) - 5 h = -2.656, h (1 - h) = 1/5
CLIFF = (OneUnit(steps=50, start=0.9, target=0.1), 5.0)


@pytest.mark.parametrize("w", [1.0, 4.0, 5.0])
def test_the_derivatives_of_one_unit_are_the_closed_form(w):
    example = CLIFF[0]
    at = torch.linspace(-3.3, -1.0, 24, dtype=torch.float64)
    origin = torch.tensor([w, 0.0], dtype=torch.float64)
    line = derivatives(of_one_unit(example), origin, torch.tensor([0.0, 1.0]).double(), at)
    expected = torch.tensor([example.closed_form(w, b) for b in at.tolist()], dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(line.loss).double(), expected[:, 0], rtol=1e-6, atol=1e-9)
    found = torch.tensor([line.first, line.second], dtype=torch.float64).T
    torch.testing.assert_close(found, expected[:, 1:], rtol=1e-4, atol=1e-6)


def test_the_derivatives_grow_together_across_the_cliff():
    example, w = CLIFF
    at = torch.linspace(-2.685, -2.655, 61, dtype=torch.float64)
    origin = torch.tensor([w, 0.0], dtype=torch.float64)
    line = derivatives(of_one_unit(example), origin, torch.tensor([0.0, 1.0]).double(), at)
    first, second = (torch.tensor(x).abs() for x in (line.first, line.second))
    assert first.max() > 100 * first.min()
    assert second.max() > 100 * second.min()
    assert line.together > 0.8
    assert abs(int(first.argmax()) - int(second.argmax())) <= 4


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = SequenceModel(RNN(3, 4), Bernoulli(4, 3))
    frames = (torch.rand(8, 2, 3) < 0.5).to(torch.uint8)
    return model, frames


def test_the_plane_is_the_loss_itself(small):
    model, frames = small
    before = {name: x.clone() for name, x in model.state_dict().items()}
    found = loss_surface(model, frames, frames, learning_rate=2.0, threshold=1e-2, points=5)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    twin = model.double()
    own = twin.loss(frames, frames).objective
    assert found.loss[2][2] == pytest.approx(float(own.detach()), rel=1e-9)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(own, list(twin.parameters()))])
    assert found.norm == pytest.approx(float(gradient.norm()), rel=1e-9)
    assert found.line.first[2] == pytest.approx(found.norm, rel=1e-9)
    assert found.step == (pytest.approx(-2.0 * found.norm), 0.0)
    assert found.clipped == (pytest.approx(-0.02), 0.0)
    # one corner by hand: first row and column
    operator = GaussNewton(twin, frames, frames)
    dense = _dense(operator)
    assert found.curvature == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-2)
    origin = torch.cat([p.detach().flatten() for p in twin.parameters()])
    u = gradient / gradient.norm()
    place = origin + found.along[0] * u
    with torch.no_grad():
        sizes = [p.numel() for p in twin.parameters()]
        for p, part in zip(twin.parameters(), place.split(sizes), strict=True):
            p.copy_(part.view_as(p))
    assert found.loss[2][0] == pytest.approx(float(twin.loss(frames, frames).objective.detach()), rel=1e-9)


def _dense(operator):
    size = len(operator.gradient())
    return torch.stack([operator.curvature(row) for row in torch.eye(size, dtype=torch.float64)])


def test_the_second_derivative_is_that_of_the_loss(small):
    model, frames = small
    found = loss_surface(model, frames, frames, reach=0.5, points=5)
    twin = model.double()
    parameters = list(twin.parameters())
    gradients = torch.autograd.grad(twin.loss(frames, frames).objective, parameters, create_graph=True)
    flat = torch.cat([g.flatten() for g in gradients])
    u = (flat / flat.norm()).detach()
    product = torch.cat([g.flatten() for g in torch.autograd.grad(flat @ u, parameters)])
    assert found.line.second[2] == pytest.approx(float(product @ u), rel=1e-4)


def test_what_has_no_curvature_is_refused():
    model = SequenceModel(RNN(3, 4), RBM(4, 3))
    frames = torch.ones(4, 1, 3, dtype=torch.uint8)
    with pytest.raises(UserError, match="curvature"):
        loss_surface(model, frames, frames)
    with pytest.raises(UserError, match="points"):
        loss_surface(SequenceModel(RNN(3, 4), Bernoulli(4, 3)), frames, frames, points=2)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--length", "12", "--hidden-size", "6", "--epochs", "1", "--epoch-sequences", "40", "--quiet"]
    assert (
        command(["train", "delays", "--data", "temporal-order", *options, "--recipe", "SGD", "--run", "run"])
        == 0
    )
    capsys.readouterr()
    assert command(["diagnose", "run", "--surface", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["surface"]["loss"]) == 21
    assert found["surface"]["step"][0] < 0
    assert (tmp_path / "diagnosis.png").read_bytes()[1:4] == b"PNG"
