"""The kinds of data by name, with the settings of each; nothing here imports PyTorch.

To add one: a folder with its declaration, and a line here, or a call of `DOMAINS.register` from elsewhere.
"""

from ostinato.domains.declared import DomainDeclared
from ostinato.domains.delays.declared import DELAYS
from ostinato.domains.music.declared import MUSIC
from ostinato.domains.pairs.declared import MODULE, PAIRS
from ostinato.domains.series.declared import SERIES
from ostinato.domains.text.declared import CHARS, WORDS
from ostinato.recipe.declared import Registry

DOMAINS: Registry[DomainDeclared] = Registry("domain")
DOMAINS.register(MUSIC)
DOMAINS.register(WORDS)
DOMAINS.register(CHARS)
DOMAINS.register(DELAYS, aliases=("task",))
DOMAINS.register(SERIES)
# what a program alone has
for declared in (*PAIRS, MODULE):
    DOMAINS.register(declared, listed=False)
