"""`ostinato completion`: a script that completes commands, options and files in a shell."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that completes commands, options, their choices and files in your shell.

    In bash: ostinato completion bash > ~/.local/share/bash-completion/completions/ostinato

    In zsh: ostinato completion zsh > DIRECTORY/_ostinato, where DIRECTORY is one of $fpath

    In fish: ostinato completion fish > ~/.config/fish/completions/ostinato.fish

    It works in shells that are started afterwards.

    Parameters
    ----------
    shell
        The shell that the script is for.
    """
    from ostinato.cli.main import app

    print(app.generate_completion(shell=shell), end="")
    return 0
