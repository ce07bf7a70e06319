"""docs/extending.md: its files, written out as they stand there, add what the page says they add."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import contract_checks as checks
from contract_rows import DATA, Row
from documented_commands import blocks, with_option
from ostinato.domains.domain import domain_named, load_data
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe import extensions
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.training.groups import parameter_groups
from ostinato.training.monitor import Interrupted

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, flags=re.M | re.S))
COMMANDS = [
    line
    for language, block in blocks(PAGE)
    if language == "sh"
    for line in block.strip().splitlines()
    if not line.startswith("export ")
]
(EXPORT,) = re.findall(r"^export (.*)$", PAGE, flags=re.M)

# As many epochs and steps as show that a command works.
SMALL = {
    "train words": {"--data": "words.txt", "--epochs": "1", "--hidden-size": "4"},
    "train series": {"--epochs": "2", "--hidden-size": "4"},
}
ROWS = [
    Row("coins", "softmax", "indrnn", "lion"),
    Row("coins", "class-softmax", "gru", "hessian-free"),
    Row("series", "laplace", "indrnn", "lion"),
    Row("series", "laplace", "lstm", "hessian-free"),
    Row("music", "bernoulli", "indrnn", "hessian-free"),
    Row("words", "softmax", "indrnn", "lion"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the page's files, outside the package."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    DATA["words"].make(folder)
    (folder / "story.txt").rename(folder / "words.txt")
    return folder


@pytest.fixture
def registered(place, monkeypatch, own_place):
    """The page's modules, imported as every process with this variable imports them; afterwards forgotten."""
    registries = (DOMAINS, OUTPUTS, CELLS, OPTIMIZERS)
    for registry in registries:
        monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv(extensions.VARIABLE, ",".join(name.removesuffix(".py") for name in FILES))
    monkeypatch.setattr(extensions, "_loaded", None)
    yield [len([*registry]) for registry in registries]
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


def environment(place: Path, **variables: str) -> dict[str, str]:
    paths = os.pathsep.join([str(place), *filter(None, sys.path)])
    return os.environ | {"PYTHONPATH": paths, "OSTINATO_CACHE": str(place / "cache")} | variables


def test_the_page_has_a_file_for_each_row_of_its_table_and_names_them_all():
    assert sorted(FILES) == ["coins.py", "indrnn.py", "laplace.py", "lion.py"]
    named = dict(word.split("=") for word in shlex.split(EXPORT))
    assert named == {"PYTHONPATH": ".", extensions.VARIABLE: "lion,indrnn,laplace,coins"}
    for text in FILES.values():
        assert len(re.findall(r"\.register\(|^register_optimizer\(", text, flags=re.M)) == 1
    assert len(re.findall(r"^\| \[", PAGE, flags=re.M)) == 4


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_what_is_added_trains_stops_resumes_and_is_scored(row, registered, place, tmp_path):
    source = DATA[row.domain].make(tmp_path) if row.domain in DATA else "coins"
    (tmp_path / "work").mkdir()
    checks.trains_stops_resumes_and_scores(row, source, tmp_path / "work")


@pytest.mark.parametrize("row", [ROWS[0], ROWS[2]], ids="-".join)
def test_what_is_added_offers_what_others_do(row, registered, place, tmp_path):
    source = DATA[row.domain].make(tmp_path) if row.domain in DATA else "coins"
    checks.carries_its_state(row, source)
    checks.has_the_explicit_curvature(row, source)
    checks.offers_what_it_declares(row, source, tmp_path)


def test_the_laplace_distribution_is_right(registered):
    from laplace import Laplace, LaplaceValues

    mean, scale = torch.tensor([0.3, -1.0], dtype=torch.double), torch.tensor([0.5, 2.0], dtype=torch.double)
    ours, torchs = LaplaceValues(mean, scale), torch.distributions.Laplace(mean, scale)
    values = torch.tensor([[0.1, 2.0], [4.0, -3.0], [0.3, -1.0]], dtype=torch.double)
    torch.testing.assert_close(ours.value_log_probs(values), torchs.log_prob(values))
    torch.testing.assert_close(ours.cdf(values), torchs.cdf(values))
    missing = values.clone()
    missing[0, 1] = torch.nan
    torch.testing.assert_close(ours.log_prob(missing)[0], torchs.log_prob(values)[0, 0])
    # the integral that defines it: of (F(x) - [x >= y])^2
    grid = torch.linspace(-60, 60, 240_001, dtype=torch.double).unsqueeze(1)
    steps = (grid >= values[0]).double()
    integral = torch.trapezoid((torchs.cdf(grid) - steps).square(), grid, dim=0)
    torch.testing.assert_close(ours.crps(values[0]), integral, atol=1e-3, rtol=0)
    drawn = ours.sample((200_000,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((drawn - mean).abs().mean(0), scale, rtol=0.02, atol=0)
    # its curvature is the mean of the squared gradients of -log p by what is affine in the state
    output = Laplace(1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    hidden = torch.ones(100_000, 1, dtype=torch.double)
    raw = (hidden @ output.weight.T + output.bias).detach().requires_grad_()
    draws = output(hidden).sample(generator=torch.Generator().manual_seed(1))
    scales = output.smallest_scale + torch.nn.functional.softplus(raw[:, 1:])
    (slopes,) = torch.autograd.grad(
        -torch.distributions.Laplace(raw[:, :1], scales).log_prob(draws).sum(), raw
    )
    fisher = slopes.T @ slopes / len(slopes)
    columns = output.linearize(hidden[:1], draws[:1]).hessian
    found = torch.stack([columns(unit.unsqueeze(0))[0] for unit in torch.eye(2, dtype=torch.double)])
    torch.testing.assert_close(found.detach(), fisher, rtol=0.03, atol=0.01)


def test_an_output_s_own_pretraining_comes_first_and_resumes(registered, tmp_path):
    row = ROWS[2]
    source = DATA["series"].make(tmp_path)
    recipe = row.recipe(source, pretrain_medians=1, epochs=3, optimizer="sgd", weight_decay=0.0)
    data = load_data(recipe, progress=False)
    train_in(tmp_path / "whole", recipe, data)
    with Run.open(tmp_path / "whole") as run:
        whole = run.metrics()
    assert [record.get("stage") for record in whole] == ["medians", None, None]
    assert not whole[0]["best"]
    assert whole[1]["best"]
    # a stop in the middle of pre-training, and one after it
    for stop in (2, 5):
        with pytest.raises(Interrupted):
            train_in(tmp_path / "parts", recipe, data, stop_requested=checks.stopping_after(stop))
    train_in(tmp_path / "parts", recipe, data)
    assert checks.tensors(tmp_path / "whole", "last")[0] == checks.tensors(tmp_path / "parts", "last")[0]
    # medians alone have no use for scales, which stay as they were drawn
    only = recipe.replace(epochs=1)
    train_in(tmp_path / "only", only, data)
    domain, (trained, _) = domain_named("series"), Run.open(tmp_path / "only").load_checkpoint("last")
    drawn = domain.model(only, domain.identity(data), data).output.weight
    (means, scales), (old_means, old_scales) = trained["model.output.weight"].chunk(2), drawn.chunk(2)
    assert torch.equal(scales, old_scales)
    assert not torch.equal(means, old_means)
    with pytest.raises(UserError, match="pretrain_medians 1 does not go with HF; leave it out"):
        ROWS[3].recipe(source, pretrain_medians=1)


def test_a_cell_s_own_rates_and_what_no_decay_is_for_reach_the_optimizer(registered, tmp_path):
    recipe = ROWS[2].recipe(DATA["series"].make(tmp_path), memory_rate=3.0, learning_rate=0.01)
    data, domain = load_data(recipe, progress=False), domain_named("series")
    model = domain.model(recipe, domain.identity(data), data)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {
        (group["lr"], group.get("weight_decay")): {names[id(p)] for p in group["params"]}
        for group in parameter_groups(recipe, model)
    }
    assert groups == {
        (0.01, None): {"rnn.weight_0", "output.weight", "output.bias"},
        (0.03, 0.0): {"rnn.memory_0"},
        (0.01, 0.0): {"rnn.bias_0"},
    }


def test_lion_steps_by_the_sign_of_its_average(registered):
    from lion import Lion

    weight = torch.tensor([1.0, 1.0, 1.0], requires_grad=True)
    optimizer = Lion([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.tensor([2.0, -3.0, 0.0])
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.85, 1.05, 0.95]))
    torch.testing.assert_close(optimizer.state[weight]["average"], torch.tensor([0.02, -0.03, 0.0]))


# One process for all of the page's commands: most of the time of each is that of its imports.
RUN_ALL = """
import contextlib, io, json, sys
from ostinato.cli.main import run
done = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(words)
        except SystemExit as stopped:
            code = stopped.code
    done.append((words, code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""


def small(line: str) -> list[str]:
    words = shlex.split(line)[1:]
    for name, value in SMALL.get(" ".join(words[:2]), {}).items():
        words = with_option(words, name, value)
    return words


def test_every_command_of_the_page_runs(place):
    assert all(line.startswith("ostinato ") for line in COMMANDS)
    wanted = [small(line) for line in COMMANDS]
    more = [["generate", "runs/coins-2", "--flips", "20"], ["train", "coins", "--help"], ["doctor"]]
    more += [["evaluate", "runs/coins-1", "--json"], ["train", "series", "--output", "laplace", "--help"]]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps(wanted + more)],
        cwd=place,
        env=environment(place, **{extensions.VARIABLE: "lion,indrnn,laplace,coins"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    printed = {" ".join(words): (code, out, err) for words, code, out, err in json.loads(done.stdout)}
    for line, (code, out, err) in printed.items():
        assert code == 0, f"ostinato {line}\n{err}"
        assert out
    assert "fair coin" in printed["evaluate runs/coins-2"][1]
    flips = printed["generate runs/coins-2 --flips 20"][1].strip()
    assert re.fullmatch("[HT]{20}", flips)
    assert "--stays" in printed["train coins --help"][1]
    assert "--smallest-scale" in printed["train series --output laplace --help"][1]
    assert "coins: OSTINATO_EXTENSIONS" in printed["doctor"][1]
    page = (place / "report.html").read_text()
    assert re.search(r"ostinato generate \S*runs/coins-2 --seed 0", page)
    assert re.search("[HT]{40}", page)
    # 60 epochs have learned much of 0.5004 nats: the entropy of a coin that stays with 0.8
    scores = json.loads(printed["evaluate runs/coins-1 --json"][1])["results"]["model"]["test"]
    assert -0.56 < scores["log_likelihood"]["value"] < -0.45
    assert Path(place, "runs/coins-2/results.json").exists()


def test_an_installed_package_is_found_by_its_entry_point(place, tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.M | re.S)
    group = re.search(r'entry-points\."(.*)"', block)[1]
    info = tmp_path / "many_coins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: many-coins\nVersion: 1.0\n")
    lines = block.split("\n", 1)[1].replace('"', "")
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    env = environment(place)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    code = (
        "from ostinato.recipe.recipe import Recipe\nfrom ostinato.recipe.extensions import load_extensions\n"
    )
    code += "print(Recipe.parse(None, domain='coins').stays, load_extensions()['coins'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0.8 an entry point of many-coins"


def test_coins_stay_as_often_as_is_said(registered):
    from coins import coin

    flips = np.concatenate([np.diff(coin(seed, 0.8, 1000).values) == 0 for seed in range(20)])
    assert flips.mean() == pytest.approx(0.8, abs=0.01)
