"""FixedPointFinder (Golub & Sussillo 2018) on our networks as they are: the same points and Jacobians.

It is no package: OSTINATO_FIXED_POINT_FINDER names a clone of github.com/mattgolub/fixed-point-finder, and
without it one is made where the network allows it. It runs in a process of its own, on whose path the clone
is.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import clean_environments as clean

pytestmark = pytest.mark.long

SOURCE = "https://github.com/mattgolub/fixed-point-finder"

# Prints, for each network and form, how the two sets of points and their Jacobians differ.
PROGRAM = """
import json
import numpy as np
import torch
from FixedPointFinderTorch import FixedPointFinderTorch
from ostinato import CTRNN, GRU, RNN
from ostinato.dynamics import fixed_points, sample_states

def memory(form, draws):  # two groups of tanh units that read twice their own mean: 9 points, 4 stable
    half = torch.block_diag(torch.full((4, 4), 0.5), torch.full((4, 4), 0.5)).double()
    rnn = CTRNN(2, 8, form=form, tau=2.0, dale=1.0, connectivity=half > 0, bias=False, dtype=torch.float64)
    rnn.assign_recurrent_(half)
    starts = 2 * torch.rand(64, 2, generator=draws, dtype=torch.float64) - 1
    return rnn.eval(), starts.repeat_interleave(4, 1) * (2 if form == "preactivation" else 1), torch.zeros(2)

def drawn(form, draws):
    rnn = CTRNN(
        3, 12, form=form, tau=torch.linspace(2, 5, 12), initialization="echo-state", spectral_radius=2.5,
        dale=0.75, dtype=torch.float64, noise=0.1, generator=torch.Generator().manual_seed(1),
    ).eval()
    drive = 2 * torch.randn(60, 16, 3, generator=draws, dtype=torch.float64)
    starts = sample_states(rnn, drive, 64, noise=0.3, generator=draws)
    return rnn, starts, torch.tensor([0.2, -0.1, 0.3])

def plain(name, draws):
    cell = {"RNN": RNN, "GRU": GRU}[name](3, 8, dtype=torch.float64, generator=draws)
    starts = torch.randn(64, 8, generator=draws, dtype=torch.float64)
    return cell.eval(), starts, torch.tensor([0.2, -0.1, 0.3])

found = {}
forms = ("outside", "inside", "preactivation")
for make, names in ((memory, forms), (drawn, forms), (plain, ("RNN", "GRU"))):
    for form in names:
        rnn, starts, u = make(form, torch.Generator().manual_seed(2))
        u = u.double()
        ours = fixed_points(rnn, u, starts=starts)
        finder = FixedPointFinderTorch(
            rnn, dtype="float64", tol_q=1e-24, tol_dq=0.0, lr_init=0.1, max_iters=3000, tol_unique=1e-4,
            verbose=False, do_exclude_distance_outliers=False,
        )
        theirs = finder.find_fixed_points(starts.numpy(), u.numpy()[None])[0]
        good = theirs.qstar < 1e-20  # the others are minima of q that are no fixed points
        apart = torch.cdist(torch.from_numpy(theirs.xstar[good]), ours.states, p=float("inf"))
        near = apart.argmin(1)
        jacobians = torch.from_numpy(theirs.J_xstar[good]) - ours.jacobian[near]
        found[f"{make.__name__} {form}"] = {
            "ours": len(ours), "theirs": int(good.sum()), "stable": int(ours.stable.sum()),
            "apart": apart.amin(1).max().item(), "jacobians": jacobians.abs().max().item(),
            "same stability": theirs.is_stable[good].tolist() == ours.stable[near].tolist(),
        }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    if named := os.environ.get("OSTINATO_FIXED_POINT_FINDER"):
        return Path(named)
    folder = tmp_path_factory.mktemp("finder") / "fixed-point-finder"
    command = ["git", "clone", "--quiet", "--depth", "1", SOURCE, str(folder)]
    quiet = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        pytest.skip(f"OSTINATO_FIXED_POINT_FINDER is not set, and no clone: {done.stderr.strip()}")
    return folder


def test_the_same_points(clone, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([clean.SOURCE, str(clone)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 8
    for name, each in found.items():
        assert each["apart"] < 1e-10, (name, each)
        assert each["jacobians"] < 1e-10, (name, each)
        assert each["same stability"], (name, each)
        assert each["theirs"] >= 1
        if name.startswith("memory"):
            assert (each["ours"], each["theirs"], each["stable"]) == (9, 9, 4), (name, each)
        else:  # each search finds what its starts lead to; none of theirs is missing here
            assert each["ours"] >= each["theirs"], (name, each)
