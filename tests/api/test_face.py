"""What `import ostinato` offers: lazily, all of it, and with types."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import ostinato

PACKAGE = Path(ostinato.__file__).parent
HOUSE = """RNN GRU LSTM CTRNN SequenceModel LanguageModel dynamics fit_readout reservoir
outputs optim Recipe load_data train open_run evaluate compare generate
score search UserError TrainedRun TrainingStopped"""


def test_all_that_a_program_needs_is_there() -> None:
    assert dir(ostinato) == sorted(HOUSE.split()) == sorted(ostinato.__all__)
    for name in dir(ostinato):
        assert getattr(ostinato, name) is not None
    with pytest.raises(AttributeError, match="module 'ostinato' has no attribute 'trian'"):
        ostinato.trian  # noqa: B018
    assert issubclass(ostinato.UserError, ValueError)
    assert issubclass(ostinato.TrainingStopped, KeyboardInterrupt)


def test_readers_and_type_checkers_see_the_same_names_from_the_same_places() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for line in checked.body:
        assert isinstance(line, ast.ImportFrom)
        for alias in line.names:
            assert alias.asname == alias.name
            module = line.module.removeprefix("ostinato").removeprefix(".")
            seen[alias.name] = module
    assert seen == ostinato._PLACES


def test_nothing_heavy_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, ostinato; dir(ostinato); print(len(sys.modules)); ostinato.UserError; "
    code += "print(*[m for m in ('torch', 'numpy', 'ostinato.api', 'rich') if m in sys.modules])"
    path = f"import sys; sys.path[:0] = [{str(PACKAGE.parent)!r}]; "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == ""


PROGRAM = """
    import numpy as np
    import torch
    from torch import Tensor, nn

    import ostinato
    from ostinato import GRU, RNN, Recipe, SequenceModel, UserError, outputs


    def main(songs: list[np.ndarray], loader: "torch.utils.data.DataLoader[tuple[Tensor, Tensor]]") -> float:
        recipe: Recipe = Recipe.parse("SGD+CRM", hidden_size=10)
        run = ostinato.train(recipe, songs, epochs=3, out="runs/a", device="cpu")
        loss: float = run.evaluate(splits=("test",)).scores["model"]["test"]["log_likelihood"].value
        piece = run.generate(songs[0], steps=8, seed=1)
        scored = run.score(songs)
        total: float = sum(one.log_prob for one in scored) + float(scored.log_probs.sum())
        folder = run.save("runs/b")
        again: ostinato.TrainedRun = ostinato.open_run(folder)
        comparison = ostinato.compare([run, again, "runs/c"], "test")
        data = ostinato.load_data("jsb")
        model = SequenceModel(RNN(88, 10), outputs.Bernoulli(10, 88))
        GRU(3, 4)
        own = ostinato.train("SGD", {"train": loader, "valid": loader}, model=nn.Linear(2, 2))
        net: nn.Module = own.model
        try:
            ostinato.train(resume=run).resume(epochs=5)
        except ostinato.TrainingStopped as stopped:
            stopped.run.resume()
        except UserError as error:
            print(error, piece, comparison.differences, data.frames("train"), model, net)
        return loss + total
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "mistakes"),
    [
        (PROGRAM, ""),
        ("import ostinato\n\nostinato.trian()\n", 'has no attribute "trian"'),
        ("import ostinato\n\nostinato.train(1.5)\n", "incompatible type"),
    ],
)
def test_a_program_is_checked_strictly(program, mistakes, tmp_path) -> None:
    pytest.importorskip("mypy")
    assert (PACKAGE / "py.typed").exists()
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    place = tmp_path / "packages"
    place.mkdir()
    (place / "ostinato").symlink_to(PACKAGE)
    # as an installed package: its own files are not what is checked, its types are
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path.parent / 'cache'}", "program.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(place), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    assert (mistakes in "\n".join(found)) if mistakes else found == [], done.stdout + done.stderr
