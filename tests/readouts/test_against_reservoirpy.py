"""reservoirpy's states and predictions, with the weights copied."""

import numpy as np
import pytest
import torch

import ostinato

nodes = pytest.importorskip("reservoirpy.nodes", reason="reservoirpy is not installed")


def pair(units=60, leak_rate=0.3, radius=0.9):
    draws = torch.Generator().manual_seed(0)
    cell = ostinato.reservoir(
        2,
        units,
        spectral_radius=radius,
        leak=1 - leak_rate,
        bias_scaling=0.3,
        generator=draws,
        dtype=torch.float64,
    )
    own = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    node = nodes.Reservoir(
        lr=leak_rate, W=own["weight_hh_l0"], Win=own["weight_ih_l0"], bias=own["bias_ih_l0"]
    )
    x = torch.rand(400, 5, 2, generator=draws, dtype=torch.float64) - 0.5
    y = torch.stack([x[..., 0].roll(2, 0), x[..., 0] * x[..., 1]], -1)
    return cell, node, x, y


def series(tensor):
    return [tensor[:, stream].numpy() for stream in range(tensor.shape[1])]


def restarted(node, data):
    node.initialize(data)
    return np.stack(node.run(data), 1)


@pytest.mark.parametrize("leak_rate", [1.0, 0.3])
def test_states(leak_rate):
    cell, node, x, _ = pair(leak_rate=leak_rate)
    with torch.no_grad():
        states = cell(x)[0].numpy()
    assert np.abs(states - restarted(node, series(x))).max() < 1e-12


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 10.0])
@pytest.mark.parametrize("bias", [True, False])
def test_predictions(ridge, bias):
    cell, node, x, y = pair()
    train = series(x[:300])
    readout = ostinato.fit_readout(cell, x[:300], y[:300], ridge=ridge, washout=50, bias=bias)
    theirs = nodes.Ridge(ridge=ridge, fit_bias=bias)
    theirs.fit(list(np.moveaxis(restarted(node, train), 1, 0)), series(y[:300]), warmup=50)
    expected = restarted(node, series(x[300:])) @ theirs.Wout + theirs.bias
    with torch.no_grad():
        predicted = readout(x[300:])[0].numpy()
    assert np.abs(predicted - expected).max() < 1e-9
    assert np.abs(expected).max() > 0.05


def test_inputs_that_are_read_too():
    cell, node, x, y = pair()
    features = np.concatenate([restarted(node, series(x)), x.numpy()], -1)
    theirs = nodes.Ridge(ridge=1e-4)
    theirs.fit(list(np.moveaxis(features, 1, 0)), series(y), warmup=20)
    readout = ostinato.fit_readout(cell, x, y, ridge=1e-4, washout=20, direct=True)
    with torch.no_grad():
        predicted = readout(x)[0].numpy()
    assert np.abs(predicted - (features @ theirs.Wout + theirs.bias)).max() < 1e-9
