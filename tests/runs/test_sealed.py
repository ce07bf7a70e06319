"""A run's files against damage, kills between writes, links and missing checkpoints."""

import shutil
import warnings

import pytest
import torch

from ostinato import seal
from ostinato.errors import UserError
from ostinato.runs.folder import Run
from ostinato.seal import SealError

FILES = (
    "config.toml",
    "metrics.jsonl",
    "seal.json",
    "results.json",
    "vocabulary.json",
    "learning_curve.png",
    "checkpoints/best.safetensors",
    "checkpoints/last.safetensors",
)


def train(run, epochs, begin=0):
    """What the training loop writes."""
    if begin == 0:
        run.check_not_begun()
        run.truncate_metrics(0)
        run.write_text("vocabulary.json", '{"tokens": ["cat"]}')
        run.save_checkpoint("last", {"a": torch.zeros(3)}, {"epoch": 0, "metrics": 0})
    for epoch in range(begin + 1, epochs + 1):
        run.append_metrics({"epoch": epoch, "valid": -1.0 / epoch})
        state = {"epoch": epoch, "metrics": run.metrics_offset()}
        run.save_checkpoint("best", {"a": torch.full((3,), float(epoch))}, state)
        run.save_checkpoint("last", {"a": torch.full((3,), float(epoch))}, state)


def finish(run):
    run.write_text("results.json", '{"test": -8.5}')
    run.write_bytes("learning_curve.png", b"\x89PNG")


def everything(folder):
    """What all readers say of a run, as text."""
    run = Run.open(folder)
    states = [run.load_checkpoint(name)[1] for name in ("best", "last") if run.has_checkpoint(name)]
    tables = [run.read_json(name) for name in ("results.json", "vocabulary.json") if run.holds(name)]
    picture = seal.read(folder, "learning_curve.png") if run.holds("learning_curve.png") else b""
    return repr((run.config(), run.metrics(), states, tables, picture))


@pytest.fixture
def whole(run):
    """A finished run's folder."""
    train(run, 3)
    finish(run)
    run.close()
    return run.folder


def damages(data):
    yield "cut", data[:-1]
    yield "emptied", b""
    yield "longer", data + b"\n"
    for place in {0, len(data) // 3, len(data) // 2, len(data) - 1}:
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 7)
        yield f"bit of byte {place}", bytes(changed)
    yield "removed", None


@pytest.mark.parametrize("name", FILES)
def test_damage_is_caught_or_has_no_effect(whole, name):
    before, path = everything(whole), whole / name
    data = path.read_bytes()
    for what, damaged in damages(data):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        seal._TOLD.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = everything(whole)
            except (UserError, UserWarning):  # the latter where the seal itself is gone
                continue
            finally:
                path.write_bytes(data)
        assert (name, what) == ("metrics.jsonl", "longer"), what  # a file that grows
        assert found == before or "error" in found, what
    assert everything(whole) == before


def test_every_file_of_a_finished_run_is_sealed_as_one_content(whole, contents):
    sealed = seal.load(whole)
    assert {*sealed, "seal.json"} == set(contents(whole)) == set(FILES)
    assert all(len(states) == 1 for states in sealed.values())
    assert sealed["metrics.jsonl"][0].size == (whole / "metrics.jsonl").stat().st_size


def test_killed_at_any_write_it_is_whole_and_goes_on(tmp_path, dies_at):
    """Every call by which training writes is in turn the last one that is made."""
    step, died = 0, True
    while died:
        folder = tmp_path / str(step)

        def work(folder=folder):
            run = Run.create(folder, {"data": "jsb"})
            train(run, 2)
            finish(run)
            run.close()

        died = dies_at(step, work)
        if not (folder / "config.toml").exists():
            Run.create(folder, {"data": "jsb"}).close()
        everything(folder)
        with Run.open(folder) as run:
            begin = 0
            if run.has_checkpoint("last"):
                _, state = run.load_checkpoint("last")
                begin = state["epoch"]
                run.truncate_metrics(state["metrics"])
            train(run, 3, begin)
            finish(run)
        assert [record["epoch"] for record in run.metrics()] == [1, 2, 3]
        assert all(seal.examine(folder).values())
        shutil.rmtree(folder)
        step += 1
    assert step > 60


def test_a_cut_that_is_killed_leaves_a_whole_run(whole, tmp_path, dies_at):
    """Metrics are sealed further than the checkpoint that is gone back to knows of them."""
    step, died = 0, True
    line = (whole / "metrics.jsonl").read_bytes().index(b"\n") + 1
    while died:
        folder = tmp_path / f"copy{step}"
        shutil.copytree(whole, folder)
        run = Run.open(folder)
        died = dies_at(step, lambda run=run: run.truncate_metrics(line))
        run._release()
        everything(folder)
        with Run.open(folder) as again:
            again.truncate_metrics(line)
            assert len(again.metrics()) == 1
        step += 1
    assert step > 4


def test_metrics_beyond_the_last_checkpoint_are_read_and_those_before_it_checked(run):
    train(run, 1)
    run.append_metrics({"epoch": 2})
    path = run.folder / "metrics.jsonl"
    data = path.read_bytes()
    assert len(Run.open(run.folder).metrics()) == 2
    path.write_bytes(data.replace(b'"epoch": 1', b'"epoch": 3'))
    with pytest.raises(SealError):
        Run.open(run.folder).metrics()
    run.close()
    with pytest.raises(SealError), Run.open(run.folder) as later:
        later.append_metrics({"epoch": 3})
    assert path.read_bytes() == data.replace(b'"epoch": 1', b'"epoch": 3')


def test_a_run_whose_last_checkpoint_is_gone_does_not_start_anew(whole):
    best = (whole / "checkpoints" / "best.safetensors").read_bytes()
    (whole / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(SealError, match=r"last\.safetensors as it was written, found none"):
        Run.open(whole).has_checkpoint("last")
    with pytest.raises(SealError):
        train(Run.open(whole), 1)
    # nor one of before there were seals
    (whole / "seal.json").unlink()
    with seal.telling(lambda _: None), Run.open(whole) as old:
        assert not old.has_checkpoint("last")
        with pytest.raises(
            UserError, match=r"expected the checkpoint last .* found none, but a checkpoint best and results"
        ):
            train(old, 1)
    assert (whole / "checkpoints" / "best.safetensors").read_bytes() == best
    assert len((whole / "metrics.jsonl").read_bytes().splitlines()) == 3


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "config.toml", "checkpoints"])
def test_links_in_a_foreign_run_lead_nowhere(whole, tmp_path, name):
    target = tmp_path / "precious"
    if name == "checkpoints":
        shutil.move(whole / name, target)
        before = {path.name: path.read_bytes() for path in target.iterdir()}
    else:
        target.write_text("precious")
    if (whole / name).exists():
        (whole / name).unlink()
    (whole / name).symlink_to(target)
    run = Run.open(whole)
    refused = []
    for write in (
        lambda: run.append_metrics({}),
        lambda: run.write_text("config.toml", ""),
        lambda: run.save_checkpoint("last", {}, {}),
    ):
        try:
            write()
        except UserError as error:
            refused.append("found a link" in str(error))
    assert refused
    assert all(refused)
    if name == "checkpoints":
        assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    else:
        assert target.read_text() == "precious"


def test_a_run_of_before_there_were_seals_opens_with_a_notice_and_is_sealed_as_it_goes_on(whole):
    before = everything(whole)
    (whole / "seal.json").unlink()
    seal._TOLD.clear()
    with pytest.warns(UserWarning, match=r"has no seal\.json"):
        assert everything(whole) == before
    with Run.open(whole) as run:
        assert not (whole / "seal.json").exists()
        train(run, 4, 3)
    assert set(seal.load(whole)) == set(FILES) - {"seal.json"}
    assert all(seal.examine(whole).values())
