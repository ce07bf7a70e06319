"""Random search, or TPE, over the settings of a run: one machine by default, many through a shared database.

space.py      what settings are drawn from
settings.py   what a study is
study.py      its folder, and taking trials from it
opening.py    making one, joining one, reading one
worker.py     training them, and the end of a study
attempts.py   which of Optuna's trials are attempts at the same one
ledger.py     what a journal, or a database, is asked
sampling.py   what a trial's settings are, and when it is hopeless
claims.py     whether a worker still lives
storage.py    journal, database, locks
"""

from ostinato.search.opening import create_study, join_study, read_settings, read_study
from ostinato.search.settings import StudySettings
from ostinato.search.space import Choices, Interval, Space, builtin_space, check_fits
from ostinato.search.study import Study
from ostinato.search.worker import Worker, choose, finish

__all__ = [
    "Choices",
    "Interval",
    "Space",
    "Study",
    "StudySettings",
    "Worker",
    "builtin_space",
    "check_fits",
    "choose",
    "create_study",
    "finish",
    "join_study",
    "read_settings",
    "read_study",
]
