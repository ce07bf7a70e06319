import pytest

from ostinato.cli.kinds import with_kind


@pytest.mark.parametrize("task", ["music", "words", "chars"])
@pytest.mark.parametrize("command", ["generate", "score"])
def test_the_run_decides_the_form_of_the_command(tmp_path, task, command) -> None:
    (tmp_path / "config.toml").write_text(f'task = "{task}"\n')
    form = command if task == "music" else f"{command}-text"
    assert with_kind([command, str(tmp_path), "x"]) == [form, str(tmp_path), "x"]
    assert with_kind([command, "--seed", "3", str(tmp_path)]) == [form, "--seed", "3", str(tmp_path)]


def test_what_is_no_run_is_left_to_the_command_itself(tmp_path, ostinato) -> None:
    (tmp_path / "config.toml").write_text("= damaged")
    for arguments in ([], ["train"], ["score"], ["score", "nowhere"], ["generate", str(tmp_path)]):
        assert with_kind(arguments) == arguments
    code, _, err = ostinato("generate", "nowhere")
    assert code == 2
    assert "expected a run folder at nowhere" in err


def test_text_can_be_generated_and_scored_by_the_common_commands(tmp_path, ostinato) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\nthe dog sat on the log\n" * 60)
    quick = ("--hidden-size", 8, "--epochs", 1, "--threads", 1, "--classes", 3)
    code, _, err = ostinato("train", "words", "--data", text, "--run", tmp_path / "run", *quick)
    assert code == 0, err
    code, out, _ = ostinato("generate", tmp_path / "run", "--tokens", 12, "--json")
    assert code == 0
    assert '"tokens": 12' in out
    code, out, _ = ostinato("score", tmp_path / "run", text)
    assert code == 0
    assert "perplexity" in out
