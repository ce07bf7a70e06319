"""The scripts that complete commands in a shell; that for bash is tried in bash."""

import shutil
import subprocess

import pytest

from ostinato.cli.main import LINES

# What bash does when somebody presses the tabulator after these words.
PRESS_TAB = """
source ./ostinato.bash
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
function=$(complete -p ostinato | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function ostinato "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


@pytest.fixture
def script(ostinato, tmp_path):
    code, out, err = ostinato("completion", "bash")
    assert (code, err) == (0, "")
    path = tmp_path / "ostinato.bash"
    path.write_text(out)
    return path


@needs_bash
def test_the_script_is_bash(script) -> None:
    subprocess.run(["bash", "-n", script], check=True)


@needs_bash
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ostinato tr", {"train"}),
        ("ostinato re", {"replay", "report", "reproduce", "rescore"}),
        ("ostinato train wo", {"words"}),
        ("ostinato train --output na", {"nade"}),
        ("ostinato train --leak", {"--leak-fraction", "--leak-low", "--leak-high"}),
        ("ostinato runs re", {"remove"}),
        ("ostinato completion z", {"zsh"}),
        ("ostinato generate my-", {"my-run"}),
    ],
)
def test_bash_completes(script, tmp_path, typed, completed) -> None:
    (tmp_path / "my-run").mkdir()
    done = subprocess.run(
        ["bash", "-c", PRESS_TAB, "bash", *typed.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_scripts_know_every_command_and_pass_their_shell(ostinato, tmp_path, shell) -> None:
    code, out, _ = ostinato("completion", shell)
    assert code == 0
    assert all(name in out for name in LINES)
    if shutil.which(shell):
        (tmp_path / "script").write_text(out)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_no_shell_or_another_one(ostinato) -> None:
    assert "expected SHELL after ostinato completion" in ostinato("completion")[2]
    assert "expected SHELL to be bash, zsh or fish, found 'csh'" in ostinato("completion", "csh")[2]
