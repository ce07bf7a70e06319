"""What the storage of a study is asked for while it is worked on: small ones.

Optuna's own answer to most of them is the list of all trials with all their epochs. A journal is in memory,
so that this costs little; of a database it is asked by SQL, on Optuna's tables.
"""

import json
import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ostinato.search.attempts import Attempt, numbered

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial


class Ledger(Protocol):
    """The questions."""

    def open(self) -> list[Attempt]:
        """The attempts at trials that have come to nothing yet."""

    def all(self) -> list[Attempt]:
        """Every attempt."""

    def ended(self, below: int) -> int:
        """How many of the trials with numbers below have come to something."""

    def create(self, below: int) -> Attempt | None:
        """Make the next trial, with the next number; None where that is not below.

        It is running where no lock of this process keeps other workers from it, else it waits.
        """

    def rivals(self, step: int) -> tuple[int, float | None]:
        """How many trials are complete; the median of their values at a step, None where none has one."""

    def details(self, attempts: list[Attempt]) -> list[dict[str, Any]]:
        """`value`, `params` and `facts` of some attempts."""


class JournalLedger:
    """Of a journal, which Optuna has in memory. Whoever creates holds the study's lock."""

    def __init__(self, study: "optuna.Study", storage: "BaseStorage") -> None:
        self._study, self._storage = study, storage

    def open(self) -> list[Attempt]:
        """See `Ledger`."""
        attempts = self.all()
        done = {attempt.trial for attempt in attempts if attempt.ended}
        return [attempt for attempt in attempts if attempt.trial not in done]

    def all(self) -> list[Attempt]:
        """See `Ledger`."""
        return numbered(self._study.get_trials(deepcopy=False))

    def ended(self, below: int) -> int:
        """See `Ledger`."""
        return len({own.trial for own in self.all() if own.ended and own.trial < below})

    def create(self, below: int) -> Attempt | None:
        """See `Ledger`."""
        from optuna.trial import TrialState, create_trial

        if len({attempt.trial for attempt in self.all()}) >= below:
            return None
        template = create_trial(state=TrialState.WAITING)
        trial_id = self._storage.create_new_trial(self._study._study_id, template_trial=template)
        return next(attempt for attempt in self.all() if attempt.trial_id == trial_id)

    def rivals(self, step: int) -> tuple[int, float | None]:
        """See `Ledger`."""
        from optuna.trial import TrialState

        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        values = [own.intermediate_values[step] for own in complete if step in own.intermediate_values]
        numbers = [value for value in values if value == value]  # NaN is no value
        return len(complete), statistics.median(numbers) if numbers else None

    def details(self, attempts: list[Attempt]) -> list[dict[str, Any]]:
        """See `Ledger`."""
        return [_details(self._storage.get_trial(attempt.trial_id)) for attempt in attempts]


def _details(own: "FrozenTrial") -> dict[str, Any]:
    value = own.value if own.values and math.isfinite(own.values[0]) else None
    return {"value": value, "params": own.params, "facts": own.user_attrs}


# The study's attempts, each with its trial's number. A trial has ended by an attempt that is complete or
# pruned, or that has failed and said so: FAIL alone is a worker's death.
_ATTEMPTS = """
with made as (
    select t.trial_id, t.number, t.state, t.datetime_start is not null as begun,
        cast(retry.value_json as integer) as root,
        case t.state
            when 'COMPLETE' then true
            when 'PRUNED' then true
            when 'FAIL' then exists (
                select from trial_user_attributes attribute
                where attribute.trial_id = t.trial_id and attribute.key = 'outcome'
                    and attribute.value_json = '"failed"')
            else false
        end as ended
    from trials t
    left join trial_system_attributes retry on retry.trial_id = t.trial_id and retry.key = 'failed_trial'
    where t.study_id = :study
),
firsts as (
    select number as root, row_number() over (order by number) - 1 as trial from made where root is null
),
attempts as (
    select made.trial_id, made.number, firsts.trial, made.state, made.ended, made.begun
    from made join firsts on firsts.root = coalesce(made.root, made.number)
)
"""

_ALL = f"{_ATTEMPTS} select * from attempts order by number"

_OPEN = f"""{_ATTEMPTS}
select trial_id, number, trial, state, ended, begun from attempts
join (select trial from attempts group by trial having not bool_or(ended)) unfinished using (trial)
order by number
"""

_ENDED = f"{_ATTEMPTS} select count(distinct trial) from attempts where ended and trial < :below"

# Whoever holds the study's row makes trials, Optuna's own workers too: so numbers follow one another.
_LOCK = "select study_id from studies where study_id = :study for update"

_COUNT = """
select count(*), count(*) - count(retry.trial_id)
from trials t
left join trial_system_attributes retry on retry.trial_id = t.trial_id and retry.key = 'failed_trial'
where t.study_id = :study
"""

# Running, and with its first sign of life: no other worker can come between.
_CREATE = """
with made as (
    insert into trials (study_id, number, state, datetime_start)
    values (:study, :number, 'RUNNING', now() at time zone 'utc')
    returning trial_id
)
insert into trial_heartbeats (trial_id, heartbeat) select trial_id, current_timestamp from made
returning trial_id
"""

# NaN is no value, and stands as null, as Optuna keeps it. Lateral and limit: one look into the index for each
# complete trial, not a pass over all epochs of all trials.
_RIVALS = """
select count(*), percentile_cont(0.5) within group (order by
    case own.intermediate_value_type
        when 'FINITE' then own.intermediate_value
        when 'INF_POS' then cast('infinity' as double precision)
        when 'INF_NEG' then cast('-infinity' as double precision)
    end)
from trials t
left join lateral (
    select * from trial_intermediate_values one where one.trial_id = t.trial_id and one.step = :step limit 1
) own on true
where t.study_id = :study and t.state = 'COMPLETE'
"""

_VALUES = "select trial_id, value from trial_values where trial_id = any(:trials) and value_type = 'FINITE'"
_PARAMS = """
select trial_id, param_name, param_value, distribution_json from trial_params
where trial_id = any(:trials) order by param_id
"""
_FACTS = "select trial_id, key, value_json from trial_user_attributes where trial_id = any(:trials)"

# The settings that are kept with the study; their number of trials only grows, whoever else is at it.
_GROW = """
update study_user_attributes set value_json = :settings
where study_id = :study and key = :key
    and cast(cast(value_json as json) -> 'study' ->> 'trials' as integer) < :trials
"""


class DatabaseLedger:
    """Of a PostgreSQL database, by SQL on Optuna's tables."""

    def __init__(self, study: "optuna.Study", storage: "RDBStorage") -> None:
        self._study_id, self._storage = study._study_id, storage

    def open(self) -> list[Attempt]:
        """See `Ledger`."""
        return self._attempts(_OPEN)

    def all(self) -> list[Attempt]:
        """See `Ledger`."""
        return self._attempts(_ALL)

    def ended(self, below: int) -> int:
        """See `Ledger`."""
        return int(self._ask(_ENDED, below=below)[0][0])

    def create(self, below: int) -> Attempt | None:
        """See `Ledger`."""
        import sqlalchemy
        from optuna.trial import TrialState

        study = {"study": self._study_id}
        with self._storage.engine.begin() as connection:
            connection.execute(sqlalchemy.text(_LOCK), study)
            made, trials = connection.execute(sqlalchemy.text(_COUNT), study).one()
            if trials >= below:
                return None
            (trial_id,) = connection.execute(sqlalchemy.text(_CREATE), study | {"number": made}).one()
        return Attempt(trial_id, made, trials, TrialState.RUNNING, False, True)

    def rivals(self, step: int) -> tuple[int, float | None]:
        """See `Ledger`."""
        ((complete, median),) = self._ask(_RIVALS, step=step)
        return complete, median

    def details(self, attempts: list[Attempt]) -> list[dict[str, Any]]:
        """See `Ledger`."""
        found: dict[int, dict[str, Any]] = {
            own.trial_id: {"value": None, "params": {}, "facts": {}} for own in attempts
        }
        if not found:
            return []
        ids = list(found)
        for trial_id, value in self._ask(_VALUES, trials=ids):
            found[trial_id]["value"] = value
        for trial_id, name, value, distribution in self._ask(_PARAMS, trials=ids):
            found[trial_id]["params"][name] = _distribution(distribution).to_external_repr(value)
        for trial_id, key, value in self._ask(_FACTS, trials=ids):
            found[trial_id]["facts"][key] = json.loads(value)
        return list(found.values())

    def grow(self, key: str, settings: dict[str, Any]) -> None:
        """Put these settings in place of those kept under the key, if those have fewer trials."""
        import sqlalchemy

        values = {"study": self._study_id, "key": key, "trials": settings["study"]["trials"]}
        with self._storage.engine.begin() as connection:
            connection.execute(sqlalchemy.text(_GROW), values | {"settings": json.dumps(settings)})

    def _attempts(self, query: str) -> list[Attempt]:
        from optuna.trial import TrialState

        states = TrialState.__members__
        return [
            Attempt(trial_id, number, trial, states[state], ended, begun)
            for trial_id, number, trial, state, ended, begun in self._ask(query)
        ]

    def _ask(self, query: str, **values: Any) -> Sequence[Any]:
        import sqlalchemy

        with self._storage.engine.connect() as connection:
            return connection.execute(sqlalchemy.text(query), {"study": self._study_id} | values).all()


@lru_cache(maxsize=256)
def _distribution(text: str) -> "BaseDistribution":
    from optuna.distributions import json_to_distribution

    return json_to_distribution(text)
