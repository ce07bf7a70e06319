"""The docstrings as reStructuredText: they are written to be read in a terminal, formulas and all."""

import re

SECTION = re.compile(r"(Args|Arguments|Attributes|Examples?|Raises|Returns|Yields):$")
UNDERLINE = re.compile(r"-{3,}$")
CODE = re.compile(r"(``.+?``|`[^`]+`)")


def as_rst(lines: list[str]) -> None:
    """Change a docstring's lines in place: indented formulas become literal blocks, bars and stars are text.

    Example:
        >>> lines = ["Norm |g|:", "", "    |g| = sqrt(g * g)", "", "Args:", "    g: as in `|g|`."]
        >>> as_rst(lines)
        >>> lines
        ['Norm \\\\|g\\\\|:', '', '::', '', '    |g| = sqrt(g * g)', '', 'Args:', '    g: as in `|g|`.']
    """
    done: list[str] = []
    section, literal = "", False
    for line in lines:
        indented = line.startswith("    ")
        if line and not indented:
            found = SECTION.match(line)
            section, literal = found[1] if found else "", False
        # within a section, indentation is the section's own
        elif indented and not section and not literal and done and not done[-1]:
            done += ["::", ""]
            literal = True
        verbatim = literal or section.startswith("Example") or UNDERLINE.match(line)
        done.append(line if verbatim else _escaped(line))
    lines[:] = done


def _escaped(line: str) -> str:
    parts = CODE.split(line)  # every other one is code
    parts[::2] = [re.sub(r"([|*])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)
