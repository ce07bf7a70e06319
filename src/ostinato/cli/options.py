"""Options, and groups of them, that several commands have."""

from typing import Annotated

from cyclopts import Group, Parameter

# The settings and other options that most people need.
MOST_USED = Group("Most used", sort_key=0)
OPTIONS = Group("Options", sort_key=1)

Quiet = Annotated[bool, Parameter(alias="-q")]
